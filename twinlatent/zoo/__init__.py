"""Trained detectors that ship with the package, each with its card."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from twinlatent.errors import TwinlatentError
from twinlatent.loading import names_object
from twinlatent.method.file_header import read_header, trained_with

if TYPE_CHECKING:
    from twinlatent.guards.classifier import Classifier
    from twinlatent.method.calibrated import CalibratedDetector

FOLDER = Path(__file__).parent
SUFFIX = ".safetensors"
ALIAS = ".alias"
"""Ends a file that holds the name of the detector that is meant: one network may have two names."""
ZOO = "zoo:"
"""Before a name: the shipped detector, whatever lies here."""
RETIRED = {
    "cats-dogs-cw": "twinlatent train cats-dogs --attack cw --out runs/cats-dogs-cw",
    "fashion-mnist5-cw": "twinlatent train fashion-mnist5 --attack cw --out runs/fashion-mnist5-cw",
}
"""Detectors that were shipped before version 0.2.0, and how each is trained anew, as its file of experiments/ says."""


@dataclass(frozen=True)
class Shipped:
    """What a list says of a shipped detector.

    Attributes:
        name: in the zoo.
        data: name of the data set it was trained on.
        classes: C.
        trained_with: the training attack, "none" where there was none.
    """

    name: str
    data: str
    classes: int
    trained_with: str


def names() -> tuple[str, ...]:
    """Names of the shipped detectors, sorted."""
    return tuple(sorted(path.stem for ending in (SUFFIX, ALIAS) for path in FOLDER.glob(f"*{ending}")))


def listing() -> tuple[Shipped, ...]:
    """All shipped detectors by what their files say of themselves; none is loaded."""
    rows = []
    for name in names():
        about = read_header(_file(name)).description
        card, classes = about["card"], about["class_names"]
        rows.append(Shipped(name, card["data"]["name"], len(classes), trained_with(card)))
    return tuple(rows)


def card(name: str) -> str:
    """The model card of a shipped detector, in Markdown."""
    return _file(_shipped(name)).with_suffix(".md").read_text(encoding="utf-8")


def load(model: str | Path, classifier: "Classifier | None" = None) -> "CalibratedDetector":
    """Load a detector, ours or a baseline, by its name in the zoo or by the path of its file or training folder.

    Args:
        model: see `locate`.
        classifier: of a file of `guard` or `rejecting`, which does not hold it: the one that was guarded.

    Raises:
        TwinlatentError: neither, or both; the file is damaged; or the classifier is missing, another one, or not asked
            for.
    """
    from twinlatent.baselines import baseline  # slow to import, as all of torch
    from twinlatent.guards import guarded
    from twinlatent.method.detector import Detector

    path = locate(model)
    if path.suffix.lower() == ".onnx":
        raise TwinlatentError(f"{model} is an ONNX file, which gives verdicts alone, by twinlatent detect or "
                              "OnnxDetector; load the detector that it was exported from; of a classifier judge "
                              "rejection, --rejecting or twinlatent.rejecting")  # fmt: skip
    kind = _kind_of(path)
    if kind == guarded.KIND:
        return guarded.Guarded.load(path, classifier)
    if classifier is not None:
        raise TwinlatentError(f"{model} guards no classifier, it has its own; leave the classifier out, or guard it: "
                              "twinlatent.guard, train --classifier")  # fmt: skip
    return baseline.Baseline.load(path) if kind == baseline.KIND else Detector.load(path)


def locate(model: str | Path) -> Path:
    """The detector file that is meant.

    Args:
        model: `zoo:NAME` or NAME of a shipped detector; text with a slash in it, or any `Path`, is the path of a
            detector file or a training folder, and so is all other text that names no shipped detector.

    Raises:
        TwinlatentError: neither; or text that names a shipped detector and, here, a training folder or detector file.
    """
    from twinlatent.arguments import file_path
    from twinlatent.method.calibrated import DETECTOR_FILE

    path = file_path("model", model)
    text = model if isinstance(model, str) else ""
    if text.startswith(ZOO):
        return _file(_shipped(text))
    if text in names():
        if _is_made_here(path):
            raise TwinlatentError(f"{text!r} is a shipped detector, and one of yours here; say {ZOO}{text} or ./{text}")
        return _file(text)
    if path.is_dir():
        return path / DETECTOR_FILE
    if not path.is_file():
        raise _unknown(str(model))
    return path


def _is_made_here(path: Path) -> bool:
    """Whether it is a detector file, or the folder of a training, finished or not."""
    from twinlatent.baselines import baseline
    from twinlatent.guards import guarded
    from twinlatent.method.calibrated import DETECTOR_FILE
    from twinlatent.method.training import STATE_FILE

    if path.is_dir():
        return (path / DETECTOR_FILE).exists() or any(path.glob(STATE_FILE)) or any(path.glob(f"*/{STATE_FILE}"))
    return _kind_of(path) in (baseline.KIND, guarded.KIND, "detector")


def _kind_of(path: Path) -> str:
    """What kind of file it is; "" for one that is none of ours, which loading will refuse."""
    try:
        return read_header(path).kind
    except TwinlatentError:
        return ""


def _file(name: str) -> Path:
    """The file of a shipped detector, by either of its names."""
    alias = FOLDER / f"{name}{ALIAS}"
    own = alias.read_text(encoding="utf-8").strip() if alias.is_file() else name
    return FOLDER / f"{own}{SUFFIX}"


def _shipped(name: str) -> str:
    """The name of a shipped detector, without what may stand before it."""
    bare = name.removeprefix(ZOO)
    if bare not in names():
        raise _unknown(name)
    return bare


def _unknown(name: str) -> TwinlatentError:
    bare = name.removeprefix(ZOO)
    if bare in RETIRED:
        return TwinlatentError(f"{bare!r} is shipped no more since version 0.2.0; train it anew: {RETIRED[bare]}")
    if names_object(bare):
        return TwinlatentError(f"{name!r} names an object of your own code; give a detector file, training folder or "
                               f"shipped detector ({', '.join(names())})")  # fmt: skip
    near = difflib.get_close_matches(bare.lower(), names(), n=1)
    meant = f"; did you mean {ZOO}{near[0]}?" if near else ""
    known = ", ".join(names()) or "none"
    return TwinlatentError(
        f"{name!r} is no detector file, training folder or shipped detector{meant} (shipped: {known})"
    )
