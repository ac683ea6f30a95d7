"""A detector of somebody else's: anything that answers images with `Outputs`, calibrated as ours are."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from twinlatent.baselines.methods import METHODS
from twinlatent.cells import OURS
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.protocol.answering import Answering, Judgeable, checked_model, each_part, no_score
from twinlatent.evaluation.protocol.first_questions import Say, as_given, ask_first, check_answer, decisive, named
from twinlatent.evaluation.results import checked_label
from twinlatent.method.calibrated import BenignAnswers, CalibratedDetector, Scored, chunks, unknown_score
from twinlatent.outputs import Outputs, at_label
from twinlatent.torch_state import Device, check_device, fresh_torch, own_random_state


@final
class Foreign(CalibratedDetector):
    """A user's model with a calibration; whoever makes it asks it within `Answering.as_used`.

    Whoever asks it gets numbers or a `TwinlatentError`: NaN passes no criterion, so it would count as a defence.
    """

    @fresh_torch()
    def __init__(self, answering: Answering, benign: Tensor, class_names: tuple[str, ...] | None = None) -> None:
        """Calibrate it on benign images (n, channels, H, W), n at least 1; classes without names are numbered."""
        self._answering = answering
        answers, classes = _benign(answering, benign)
        names = class_names or tuple(map(str, range(classes)))
        super().__init__(names, tuple(benign.shape[1:]), answers, {}, None)

    @property
    def as_used(self) -> Callable[[], AbstractContextManager[None]]:
        """See `Answering.as_used`."""
        return self._answering.as_used

    @property
    def method(self) -> str:
        return self._answering.name

    @property
    def trained_with(self) -> str:
        return "none"

    @property
    def score(self) -> str:
        return "suspicion"

    @property
    def scores(self) -> tuple[str, ...]:
        return (self.score,)

    @property
    def label_rule(self) -> str:
        return "argmax"

    @property
    def device(self) -> torch.device:
        return self._answering.device

    @property
    def network(self) -> str:
        return " and ".join(type(part).__name__ for part in self._answering.parts)

    @property
    def parameters(self) -> int:
        return sum(part.numel() for part in self._answering.held if isinstance(part, nn.Parameter))

    @property
    def _decisive(self) -> tuple[Any, ...]:
        modules = tuple(part if isinstance(part, nn.Module) else None for part in self._answering.parts)
        return self.method, modules[0] if len(modules) == 1 else modules, vars(self._answers)

    def __call__(self, images: Tensor) -> Outputs:
        """As attacks ask it."""
        return self._numbers(self.outputs(images))

    def outputs(self, images: Tensor) -> Outputs:
        return self._answering(images)

    def outputs_by_score(self, images: Tensor) -> dict[str, Outputs]:
        return {self.score: self.outputs(images)}

    def _said(self, answers: Outputs, n: int) -> Scored:
        self._numbers(each_part(answers, lambda part: part[:n]))  # beyond are the black images of `chunks`
        return super()._said(answers, n)

    def _numbers(self, answers: Outputs) -> Outputs:
        """The answers; `TwinlatentError` if one is NaN."""
        for part, values in decisive(answers):
            bad = values.isnan().any(1)
            if bool(bad.any()):
                raise TwinlatentError(f"{self.method}: its {part} is NaN for {int(bad.sum())} of {len(bad)} test or "
                                      "attacked images, and NaN is no defence; answer every image in [0, 1] with "
                                      "numbers, one to refuse with a high suspicion")  # fmt: skip
        return answers

    def with_score(self, score: str) -> "Foreign":
        if score != self.score:
            raise unknown_score(score, self.scores)
        return self

    def to(self, device: Device) -> "Foreign":
        """Itself, if it computes there; a model of the user's is the user's to move."""
        if check_device(device) != self.device:
            raise TwinlatentError(f"{self.method} computes on {self.device}; move the model to {device} beforehand")
        return self

    def save(self, path: str | Path) -> None:
        """Refused: only its maker knows what belongs to it."""
        raise TwinlatentError(f"{self.method} is no detector of this package and has no file here ({path}); save the "
                              "model itself")  # fmt: skip


@contextmanager
def detector_of(
    model: Judgeable, split: Split, name: str | None = None, *, attacked: bool = True, say: Say = warnings.warn
) -> Iterator[CalibratedDetector]:
    """A detector that can be judged: the model itself, or a user's model calibrated on `split.calibration`.

    Within the block a user's module is in evaluation mode and its parameters ask for no gradients; it is put back then.

    Args:
        model: a detector of ours; what answers images with `Outputs`; or a pair of functions, logits and suspicion.
        split: whose calibration images a user's model is calibrated on.
        name: of a user's model in records and reports; None: that of its class or function.
        attacked: whether attacks will need gradients of its answers.
        say: gets a line on what looks wrong and need not be; see `ask_first`.

    Raises:
        TwinlatentError: a model that cannot answer the split's images; or with another shape, number of classes or
            type, with NaN, with probabilities instead of logits, with a verdict instead of a suspicion, with what
            depends on the other images, or without gradients where they are needed; one that expects images in another
            form or range; a name that a detector of this package has; and within the block, whenever the model answers
            an image with NaN.
    """
    if isinstance(model, CalibratedDetector):
        if name is not None:
            raise TwinlatentError(f"name {name!r}: a detector of this package is called {model.method}; leave name out")
        yield model
        return
    asked = checked_model(model)
    answering = Answering(asked, _free_name(_own_name(asked) if name is None else name))
    given = as_given(answering, split)
    with answering.as_used():
        ask_first(answering, split, given, attacked=attacked, say=say)
        yield Foreign(answering, split.calibration.images, split.class_names)


def _own_name(model: object) -> str:
    """Of a class or function, or of both of a pair."""
    if isinstance(model, tuple):
        return " and ".join(map(_own_name, model))[:80]
    return str(getattr(model, "__name__", type(model).__name__)).strip("<>")


def _free_name(name: str) -> str:
    """The name, if records can have it and no detector of this package does."""
    if checked_label("name", name).strip().lower() in (OURS, *METHODS):
        raise TwinlatentError(f"name {name!r}: records call a detector of this package so; give another with name=")
    return name


@torch.no_grad()
def _benign(answering: Answering, images: Tensor) -> tuple[BenignAnswers, int]:
    """What a model says of benign images, asked as `detect` asks it, and of how many classes."""
    found: list[Outputs] = []
    with named(answering.name, images), own_random_state(answering.device, 0):
        for n, chunk in chunks(images):
            answer = each_part(answering(chunk.to(answering.device)), lambda part, n=n: part[:n].cpu())  # type: ignore[misc]
            check_answer(answer, (n, answer.logits.shape[-1]))
            found.append(answer)
        suspicion = torch.cat([o.suspicion_of_label for o in found])
        if suspicion.unique().tolist() == [0, 1]:
            raise no_score("suspicion")
    labels = torch.cat([o.labels for o in found])
    robust = [at_label(o.robust, o.labels) for o in found if o.robust is not None]
    return BenignAnswers(labels, suspicion, torch.cat(robust) if robust else None), found[0].logits.shape[1]
