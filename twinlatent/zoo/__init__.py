"""Trained detectors that ship with the package, each with its card."""

import difflib
from pathlib import Path

from twinlatent.arguments import file_path
from twinlatent.baselines.baseline import KIND, Baseline
from twinlatent.errors import TwinlatentError
from twinlatent.method.calibrated import DETECTOR_FILE, CalibratedDetector
from twinlatent.method.checkpoints import kind_of
from twinlatent.method.detector import Detector
from twinlatent.method.training import STATE_FILE

FOLDER = Path(__file__).parent
SUFFIX = ".safetensors"
ZOO = "zoo:"
"""Before a name: the shipped detector, whatever lies here."""


def names() -> tuple[str, ...]:
    """Names of the shipped detectors, sorted."""
    return tuple(sorted(path.name.removesuffix(SUFFIX) for path in FOLDER.glob(f"*{SUFFIX}")))


def card(name: str) -> str:
    """The model card of a shipped detector, in Markdown."""
    return (FOLDER / f"{_shipped(name)}.md").read_text(encoding="utf-8")


def load(model: str | Path) -> CalibratedDetector:
    """Load a detector, ours or a baseline, by its name in the zoo or by the path of its file or training folder.

    Args:
        model: see `locate`.

    Raises:
        TwinlatentError: neither, or both; or the file is damaged.
    """
    path = locate(model)
    return Baseline.load(path) if kind_of(path) == KIND else Detector.load(path)


def locate(model: str | Path) -> Path:
    """The detector file that is meant.

    Args:
        model: `zoo:NAME` or NAME of a shipped detector; text with a slash in it, or any `Path`, is the path of a
            detector file or a training folder, and so is all other text that names no shipped detector.

    Raises:
        TwinlatentError: neither; or text that names a shipped detector and, here, a training folder or detector file.
    """
    path = file_path("model", model)
    text = model if isinstance(model, str) else ""
    if text.startswith(ZOO):
        return FOLDER / f"{_shipped(text)}{SUFFIX}"
    if text in names():
        if _is_made_here(path):
            raise TwinlatentError(f"{text!r} is a shipped detector, and one of yours here; say {ZOO}{text} or ./{text}")
        return FOLDER / f"{text}{SUFFIX}"
    if path.is_dir():
        return path / DETECTOR_FILE
    if not path.is_file():
        raise _unknown(str(model))
    return path


def _is_made_here(path: Path) -> bool:
    """Whether it is a detector file, or the folder of a training, finished or not."""
    if path.is_dir():
        return (path / DETECTOR_FILE).exists() or any(path.glob(STATE_FILE)) or any(path.glob(f"*/{STATE_FILE}"))
    return kind_of(path) in (KIND, "detector")


def _shipped(name: str) -> str:
    """The name of a shipped detector, without what may stand before it."""
    bare = name.removeprefix(ZOO)
    if bare not in names():
        raise _unknown(name)
    return bare


def _unknown(name: str) -> TwinlatentError:
    near = difflib.get_close_matches(name.removeprefix(ZOO).lower(), names(), n=1)
    meant = f"; did you mean {ZOO}{near[0]}?" if near else ""
    known = ", ".join(names()) or "none"
    return TwinlatentError(
        f"{name!r} is no detector file, training folder or shipped detector{meant} (shipped: {known})"
    )
