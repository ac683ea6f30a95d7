"""The detectors that a server has, by name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from twinlatent import zoo
from twinlatent.errors import TwinlatentError
from twinlatent.method.file_header import read_header

if TYPE_CHECKING:
    from twinlatent.guards.classifier import Classifier
    from twinlatent.method.calibrated import CalibratedDetector

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Wanted:
    """A detector that is to be served.

    Attributes:
        name: in addresses.
        model: as `zoo.load` takes it.
    """

    name: str
    model: str


def wanted(text: str) -> Wanted:
    """What MODEL or NAME=MODEL asks for: MODEL is what `zoo.load` takes, its file's or folder's name is the default.

    Raises:
        TwinlatentError: a name that does not fit into an address.

    Example:
        >>> wanted("mnist-mim"), wanted("runs/photos"), wanted("photos=runs/3/detector.safetensors")
        (Wanted(name='mnist-mim', model='mnist-mim'), Wanted(name='photos', model='runs/photos'), \
Wanted(name='photos', model='runs/3/detector.safetensors'))
    """
    name, equals, model = text.partition("=")
    if not equals or not NAME.fullmatch(name):
        model = text
        path = Path(text.removeprefix(zoo.ZOO))
        name = path.name.removesuffix(zoo.SUFFIX)
    if not NAME.fullmatch(name):
        raise TwinlatentError(f"{text}: {name!r} cannot be part of an address; name it, as NAME={model}")
    return Wanted(name, model)


def load_models(
    texts: Sequence[str], classifier: "Classifier | None" = None, device: str = "cpu"
) -> "dict[str, CalibratedDetector]":
    """The detectors that texts ask for, by name, on the device.

    Args:
        texts: each as `wanted` takes it.
        classifier: what those guard that are files of `guard` or `rejecting`.
        device: where to compute.

    Raises:
        TwinlatentError: a name twice, a classifier that none guards; or as `wanted` and `zoo.load`.
    """
    from twinlatent.guards.guarded import Guarded

    found: dict[str, CalibratedDetector] = {}
    for one in map(wanted, texts):
        if one.name in found:
            raise TwinlatentError(f"two models are called {one.name}; name one of them, as OTHER={one.model}")
        own = classifier if _guards(one.model) else None
        found[one.name] = zoo.load(one.model, own).to(device)
    if not found:
        raise TwinlatentError("no model is given; name at least one, such as mnist-mim")
    if classifier is not None and not any(isinstance(one, Guarded) for one in found.values()):
        raise TwinlatentError(f"a classifier is given, and {', '.join(found)} guards none; leave the classifier out")
    return found


def _guards(model: str) -> bool:
    """Whether it is a file that holds no classifier, but needs one."""
    from twinlatent.guards.guarded import KIND

    path = zoo.locate(model)
    return path.suffix.lower() != ".onnx" and read_header(path).kind == KIND  # which `zoo.load` refuses in its words
