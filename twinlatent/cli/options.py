"""Options that several commands share, and what they do with them."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinlatent.claims import holds_work
from twinlatent.errors import TwinlatentError
from twinlatent.failures import INTERRUPTED, fail
from twinlatent.memory import keep_freed_memory

if TYPE_CHECKING:
    from twinlatent.guards.classifier import Classifier
    from twinlatent.method.calibrated import CalibratedDetector

Progress = Annotated[bool, typer.Option(help="Show progress.")]
Norm = Annotated[str, typer.Option(help="linf bounds each pixel's change, l2 the root of the summed squares.")]
Seed = Annotated[int, typer.Option(help="Seed of every random choice.", min=0)]
Threads = Annotated[int | None, typer.Option(help="CPU threads; default: PyTorch's.", min=1)]
Model = Annotated[str, typer.Argument(help="Name in the zoo (or zoo:NAME), detector file, or training folder.")]
AnyModel = Annotated[
    str,
    typer.Argument(
        help="Name in the zoo (or zoo:NAME), detector file, training folder; or your own: FILE.py:NAME, MODULE:NAME."
    ),
]
DataName = Annotated[str | None, typer.Argument(help="Data set; default: the one it was trained on.")]
Data = Annotated[str | None, typer.Option("--data", help="The same, as an option.")]
Name = Annotated[str | None, typer.Option(help="What results call a detector of your own; default: FILE:NAME.")]
Device = Annotated[str, typer.Option(help="Where to compute, such as cpu or cuda.")]
Size = Annotated[
    int | None, typer.Option(help="Pixels a side, for folder:PATH; default: the detector's, else 28.", min=4)
]
CertifiedImages = Annotated[
    int | None, typer.Option(help="Test images to certify at the main radius; default: 10,000, or all.", min=1)
]
ShiftImages = Annotated[
    int | None, typer.Option(help="Test images to change mildly; default: 1,000, or all; 0: none.", min=0)
]
Channels = Annotated[
    int | None, typer.Option(help="1 for grey, 3 for colour, for folder:PATH; default: the detector's, else 1.")
]
Background = Annotated[str, typer.Option(help="Colour behind transparent parts, a name or #rrggbb, for folder:PATH.")]
Steps = Annotated[int | None, typer.Option(help="Steps of each gradient attack; default: the suite's.", min=1)]
LabelRule = Annotated[
    str | None,
    typer.Option(help="Rule for the label: nearest_mean, density or ratio, instead of the detector's own."),
]
Score = Annotated[
    str | None, typer.Option(help="Suspicion score: vulnerable, joint or ratio, instead of the detector's own.")
]
Thresholds = Annotated[
    str | None,
    typer.Option(help="One threshold for each_class, or for all together, instead of the detector's own."),
]
Few = Annotated[int | None, typer.Option("--few", help="Former name of --subset.", min=1, hidden=True)]
Recipe = Annotated[
    str | None, typer.Option(help="Recipe for radius, substitutes and judges; default: the detector's own.")
]
OwnAttacks = Annotated[
    str | None, typer.Option(help="Dict of attacks of your own that join the suite: FILE.py:NAME or MODULE:NAME.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]
Change = Annotated[
    list[str] | None, typer.Option("--set", help="Change a setting, such as rounds=500; may be repeated.")
]


def set_threads(threads: int | None) -> None:
    """Let PyTorch use so many threads, None leaves that to it; and keep memory that is freed for the next tensor."""
    keep_freed_memory()
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def loaded(
    model: str,
    label_rule: str | None,
    score: str | None,
    thresholds: str | None = None,
    classifier: str | None = None,
) -> "CalibratedDetector":
    """The detector, beside what it guards, under another label rule, score or kind of thresholds if that is asked."""
    import twinlatent as tl

    detector = tl.load(model, classifier_named(classifier))
    if not isinstance(detector, tl.Detector):
        if label_rule is not None:
            raise TwinlatentError(f"label rule {label_rule!r}: {model} has the rule {detector.label_rule} alone")
        if thresholds is not None:
            raise TwinlatentError(f"thresholds {thresholds!r}: {model} has thresholds of its own; leave them out")
    else:
        detector = detector.using(label_rule=label_rule, thresholds=thresholds)  # type: ignore[arg-type]
    return detector if score is None else detector.with_score(score)


def own_attacks(text: str | None) -> Any:
    """The object that text names; what is no dict of attacks is refused where it is used."""
    from twinlatent.loading import load_object

    return {} if text is None else load_object(text)


def classifier_named(text: str | None) -> "Classifier | None":
    """The classifier that text names, None for none; a class or a function without arguments is called.

    Raises:
        TwinlatentError: text of another form, or what `load_object` and `built` say.
    """
    from twinlatent.baselines.baseline import Baseline
    from twinlatent.guards.onnx_file import ONNX
    from twinlatent.loading import built, load_object, names_object
    from twinlatent.zoo import load

    if text is None or text.lower().endswith(ONNX):
        return text
    if Path(text).is_dir():
        found = load(text)
        if not isinstance(found, Baseline):
            raise TwinlatentError(f"{text} holds a detector and no classifier; give the folder of `train DATA --method "
                                  "plain`")  # fmt: skip
        return found
    if not names_object(text):
        raise TwinlatentError(f"{text!r} names no classifier; give FILE.py:NAME, MODULE:NAME, FILE{ONNX}, or the "
                              "folder of `train DATA --method plain`")  # fmt: skip
    return built(load_object(text), text)  # type: ignore[return-value]


def refuse_records(path: Path | None, force: bool) -> None:
    """Make the folder of a file of records, before any work; refuse a file that is there unless it may be overwritten.

    Raises:
        TwinlatentError: there is such a file.
    """
    if path is None:
        return
    if path.exists() and not (force and path.is_file()):
        raise TwinlatentError(f"{path} is there already; remove it or write the records elsewhere")
    path.parent.mkdir(parents=True, exist_ok=True)


def say_aside(line: str) -> None:
    """Say it on standard error, where it is no part of the answer."""
    print(line, file=sys.stderr)


@contextmanager
def resumable(kept: str = "finished batches are kept", places: Sequence[Path | None] = ()) -> Iterator[None]:
    """Within the block Ctrl-C ends the program with a line that says what is kept, and how to resume.

    Args:
        kept: what is kept.
        places: folders that would keep it; where none does, nothing was done yet. None given: something is kept.
    """
    try:
        yield
    except KeyboardInterrupt:
        if places and not any(place is not None and holds_work(place) for place in places):
            fail("stopped; nothing was done yet", INTERRUPTED)
        fail("; ".join(filter(None, ("stopped", kept, "the same command resumes"))), INTERRUPTED)
