"""A user's classifier on the command line: FILE.py:NAME, MODULE:NAME or FILE.onnx."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import twinlatent as tl
from twinlatent.cells import OURS
from twinlatent.cli.options import classifier_named, say_aside
from twinlatent.errors import TwinlatentError

if TYPE_CHECKING:
    from twinlatent.data import Split
    from twinlatent.method.calibrated import CalibratedDetector

Guards = Annotated[
    str | None,
    typer.Option("--classifier", help="What MODEL guards: FILE.py:NAME, MODULE:NAME, FILE.onnx or a training folder."),
]
GuardedBy = Annotated[
    str | None,
    typer.Option(
        "--classifier", help="Classifier to guard: FILE.py:NAME, MODULE:NAME, FILE.onnx or a training folder."
    ),
]
Rejecting = Annotated[
    bool,
    typer.Option("--rejecting", help="MODEL is a classifier (.py:NAME, MODULE:NAME, .onnx): judge log-odds rejection."),
]


def name_of(text: str) -> str | None:
    """What records call it: the object, or the file without its ending; a training folder says so itself."""
    if Path(text).is_dir():
        return None
    return text.rpartition(":")[2] if ":" in Path(text).name else Path(text).stem


def fit_of(text: str | None, method: str, label_rule: str | None) -> "Callable[..., CalibratedDetector]":
    """What trains: `fit_split`, or `guard` where a classifier is named.

    Raises:
        TwinlatentError: as `classifier_named`; or what was asked for has no meaning beside a classifier.
    """
    classifier = classifier_named(text)
    if text is None or classifier is None:
        return tl.fit_split
    if method != OURS:
        raise TwinlatentError(f"{method} has a classifier of its own; leave --classifier out, or --method")
    if label_rule is not None:
        raise TwinlatentError(f"the label is that of the classifier {text}; leave --label-rule out")
    return partial(tl.guard, classifier, name=name_of(text), say=say_aside)


def rejecting_of(
    text: str, data: str | None, reading: Mapping[str, Any], *, progress: bool
) -> "tuple[tl.Guarded, Split]":
    """The classifier with log-odds rejection, and the images that it is calibrated and judged on.

    Args:
        text: names the classifier.
        data: names the images.
        reading: size, channels and background, as `data.load` takes them, for `folder:PATH`.
        progress: whether to show bars.

    Raises:
        TwinlatentError: there is no such classifier or data set, or no data set is named; or as `rejecting`.
    """
    given = classifier_named(text)
    if data is None or given is None:
        raise TwinlatentError(f"{text} does not say which images it is for; name the data set: evaluate {text} DATA")
    split = tl.data.load(data, **reading, progress=progress)
    return tl.rejecting(given, split, name=name_of(text), say=say_aside), split
