"""What `evaluate` and `attack` judge: a detector that has a file, or an object of the user's own code."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinlatent import zoo
from twinlatent.cli.classifier import rejecting_of
from twinlatent.cli.options import loaded, say_aside
from twinlatent.errors import TwinlatentError
from twinlatent.loading import SUFFIX, built, load_object, names_object

if TYPE_CHECKING:
    from twinlatent.data import Split
    from twinlatent.evaluation.protocol import Judgeable
    from twinlatent.method.calibrated import CalibratedDetector


def is_own(model: str) -> bool:
    """Whether the text names an object of the user's code, and no detector of the zoo, file or folder."""
    return names_object(model) and not model.startswith(zoo.ZOO) and not Path(model).exists()


def judged(
    model: str,
    data: str | None,
    overruled: Mapping[str, str | None],
    reading: Mapping[str, Any],
    rejecting: bool = False,
    *,
    device: str,
    progress: bool,
) -> "tuple[Judgeable, Split, str | None]":
    """What is judged, on which images, and its name in records; None where it has one of its own.

    Args:
        model: as `zoo.load` takes it, or as `load_object` does.
        data: name of the data; None for those the detector was trained on.
        overruled: `loaded`'s label rule, score and thresholds, instead of the detector's own, and the classifier.
        reading: size, channels and background, as `data.load` takes them, for `folder:PATH`.
        rejecting: whether the model is a classifier, of which log-odds rejection is judged.
        device: where to compute.
        progress: whether to show bars.

    Raises:
        TwinlatentError: there is no such thing or device, it fails, or an option does not go with it.
    """
    import twinlatent as tl
    from twinlatent.guards.onnx_file import ONNX
    from twinlatent.method.calibrated import CalibratedDetector
    from twinlatent.torch_state import check_device

    check_device(device)
    if not (is_own(model) or rejecting):
        if model.lower().endswith(ONNX) and not Path(model).exists():
            raise TwinlatentError(f"{model} is not there; name a file, and with --rejecting if it is a classifier's")
        if model.endswith((SUFFIX, f"{SUFFIX}:")):
            model = model.removesuffix(":")
            raise TwinlatentError(f"{model} names no object; say which of the file: {model}:build")
        detector = loaded(model, **overruled).to(device)
        return detector, _split_of(detector, data, reading, progress), None
    for name, value in overruled.items():
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            raise TwinlatentError(f"{option} {value}: {model} has one of its own; leave {option} out")
    if rejecting:
        detector, split = rejecting_of(model, data, reading, progress=progress)
        return detector.to(device), split, None
    if data is None:
        raise TwinlatentError(f"say on which images to judge {model}: --data NAME, or --data folder:PATH")
    found, split = load_object(model), tl.data.load(data, **reading, progress=progress)
    own = built(found, model)
    if isinstance(own, CalibratedDetector):
        own = own.to(device)
        return own, _split_of(own, data, reading, progress), None
    home, _, name = model.rpartition(":")
    return _moved(own, device), split, f"{Path(home).stem if home.endswith(SUFFIX) else home}:{name}"


def _split_of(detector: "CalibratedDetector", data: str | None, reading: Mapping[str, Any], progress: bool) -> "Split":
    """The images a detector of this package is judged on, with as many channels as it takes."""
    from twinlatent.evaluation.protocol.which_split import split_of

    own = {**reading}
    channels = own.pop("channels")
    if channels not in (None, detector.image_shape[0]):
        raise TwinlatentError(f"--channels {channels}: the detector takes images of {detector.image_shape[0]}; leave "
                              "--channels out")  # fmt: skip
    return split_of(detector, data, **own, progress=progress, say=say_aside)


def data_of(data: str | None, named: str | None) -> str | None:
    """The data that were named, in either way; `TwinlatentError` if in both, and not the same."""
    if data is not None and named is not None and data != named:
        raise TwinlatentError(f"the data are {data} and --data {named}; name one")
    return data if named is None else named


def _moved(model: object, device: str) -> "Judgeable":
    """A module, or both of a pair, on the device; where a function computes only its author knows."""
    from torch import nn

    if isinstance(model, tuple | list):
        return tuple(_moved(part, device) for part in model)  # type: ignore[return-value]
    return model.to(device) if isinstance(model, nn.Module) else model  # type: ignore[return-value]
