"""Trained detectors that ship with the package, each with its card."""

from pathlib import Path

from twinlatent.baselines.baseline import KIND, Baseline
from twinlatent.errors import TwinlatentError
from twinlatent.method.calibrated import DETECTOR_FILE, CalibratedDetector
from twinlatent.method.checkpoints import kind_of
from twinlatent.method.detector import Detector

FOLDER = Path(__file__).parent
SUFFIX = ".safetensors"


def names() -> tuple[str, ...]:
    """Names of the shipped detectors, sorted."""
    return tuple(sorted(path.name.removesuffix(SUFFIX) for path in FOLDER.glob(f"*{SUFFIX}")))


def card(name: str) -> str:
    """The model card of a shipped detector, in Markdown."""
    _check(name)
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")


def load(model: str | Path) -> CalibratedDetector:
    """Load a detector, ours or a baseline, by its name in the zoo or by the path of its file or training folder.

    Raises:
        TwinlatentError: neither; or the file is damaged.
    """
    path = Path(model)
    if str(model) in names():
        path = FOLDER / f"{model}{SUFFIX}"
    elif path.is_dir():
        path = path / DETECTOR_FILE
    elif not path.is_file():
        _check(str(model))
    return Baseline.load(path) if kind_of(path) == KIND else Detector.load(path)


def _check(name: str) -> None:
    if name not in names():
        known = ", ".join(names()) or "none"
        raise TwinlatentError(f"{name!r} is no detector file, training folder or shipped detector (shipped: {known})")
