"""A detector of somebody else's: anything that answers images with `Outputs`, calibrated as ours are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from twinlatent.attacks.guides import NO_GRADIENT
from twinlatent.attacks.models import frozen, no_probabilities
from twinlatent.baselines.methods import METHODS
from twinlatent.cells import OURS
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError, brief
from twinlatent.evaluation.results import checked_label
from twinlatent.method.calibrated import BenignAnswers, CalibratedDetector, Scored, chunks, unknown_score
from twinlatent.outputs import Outputs, at_label
from twinlatent.torch_state import CPU, Device, check_device, fresh_torch, own_random_state

Judgeable = CalibratedDetector | Callable[[Tensor], Outputs]
"""A detector of ours, or a module or function: images (n, channels, H, W) in [0, 1] → `Outputs`."""
ASKED_FIRST = 8
"""So many calibration images a model answers before any work."""


@dataclass(frozen=True, eq=False)
class Answering:
    """A user's model as it is asked: on its device, in its precision, with a copy of the images."""

    model: Callable[[Tensor], Outputs]
    name: str

    def __call__(self, images: Tensor) -> Outputs:
        """Images (n, channels, H, W) on its device → answers like the images; `TwinlatentError` if they are none."""
        dtypes = [part.dtype for part in self.held if part.is_floating_point()]
        answer: object = self.model(images.to(dtypes[0] if dtypes else images.dtype, copy=True))
        if not isinstance(answer, Outputs):
            hint = ", which lack a suspicion" if isinstance(answer, Tensor) else ""
            raise TwinlatentError(f"it answers images with a {type(answer).__name__}{hint}; return "
                                  "twinlatent.Outputs(logits, suspicion)")  # fmt: skip
        parts = {"logits": answer.logits, "suspicion": answer.suspicion}
        wrong = next((part for part, values in parts.items() if not isinstance(values, Tensor)), None)
        if wrong is not None:
            raise TwinlatentError(f"its {wrong} are a {type(parts[wrong]).__name__}; give a tensor (n, C)")
        return _each(answer, lambda part: part.to(images))

    @property
    def held(self) -> list[Tensor]:
        """Parameters and buffers of a module; of a function none."""
        return [*self.model.parameters(), *self.model.buffers()] if isinstance(self.model, nn.Module) else []

    @property
    def device(self) -> torch.device:
        """Where the module's tensors are; the CPU for a function."""
        return self.held[0].device if self.held else CPU


@final
class Foreign(CalibratedDetector):
    """A user's model with a calibration; made by `detector_of`, which freezes it as long as it is asked.

    Whoever asks it gets numbers or a `TwinlatentError`: NaN passes no criterion, so it would count as a defence.
    """

    @fresh_torch()
    def __init__(self, answering: Answering, split: Split) -> None:
        self._answering = answering
        super().__init__(split.class_names, split.image_shape, _benign(answering, split.calibration.images), {}, None)

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
        return type(self._answering.model).__name__

    @property
    def parameters(self) -> int:
        return sum(part.numel() for part in self._answering.held if isinstance(part, nn.Parameter))

    @property
    def _decisive(self) -> tuple[Any, ...]:
        model = self._answering.model
        return self.method, model if isinstance(model, nn.Module) else None, vars(self._answers)

    def __call__(self, images: Tensor) -> Outputs:
        """As attacks ask it."""
        return self._numbers(self.outputs(images))

    def outputs(self, images: Tensor) -> Outputs:
        return self._answering(images)

    def outputs_by_score(self, images: Tensor) -> dict[str, Outputs]:
        return {self.score: self.outputs(images)}

    def _said(self, answers: Outputs, n: int) -> Scored:
        self._numbers(_each(answers, lambda part: part[:n]))  # beyond are the black images of `chunks`
        return super()._said(answers, n)

    def _numbers(self, answers: Outputs) -> Outputs:
        """The answers; `TwinlatentError` if one is NaN."""
        for part, values in _parts(answers):
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
    model: Judgeable, split: Split, name: str | None = None, *, attacked: bool = True
) -> Iterator[CalibratedDetector]:
    """A detector that can be judged: the model itself, or a user's model calibrated on `split.calibration`.

    Within the block a user's module is in evaluation mode and its parameters ask for no gradients; it is put back then.

    Args:
        model: a detector of ours, or what answers images with `Outputs`.
        split: whose calibration images a user's model is calibrated on.
        name: of a user's model in records and reports; None: that of its class or function.
        attacked: whether attacks will need gradients of its answers.

    Raises:
        TwinlatentError: a model that cannot answer the split's images; or with another shape, number of classes or
            type, with NaN, with probabilities instead of logits, or without gradients where they are needed; a name
            that a detector of this package has; and within the block, whenever the model answers an image with NaN.
    """
    if isinstance(model, CalibratedDetector):
        if name is not None:
            raise TwinlatentError(f"name {name!r}: a detector of this package is called {model.method}; leave name out")
        yield model
        return
    given: object = model
    if not callable(given):
        hint = f"twinlatent.load({given!r})" if isinstance(given, str) else "a module or function"
        raise TwinlatentError(f"the model is a {type(given).__name__}, which answers no images; give {hint}")
    own = getattr(model, "__name__", type(model).__name__).strip("<>")
    answering = Answering(model, _free_name(own if name is None else name))
    with frozen(model):
        _check_first(answering, split, attacked)
        yield Foreign(answering, split)


def _free_name(name: str) -> str:
    """The name, if records can have it and no detector of this package does."""
    if checked_label("name", name).strip().lower() in (OURS, *METHODS):
        raise TwinlatentError(f"name {name!r}: records call a detector of this package so; give another with name=")
    return name


@fresh_torch()
def _check_first(answering: Answering, split: Split, attacked: bool) -> None:
    """A few images, and one alone, so that what does not fit is found before any work."""
    for count in (ASKED_FIRST, 1):
        x = split.calibration.images[:count].to(answering.device, copy=True).requires_grad_(attacked)
        with _named(answering.name, x), own_random_state(answering.device, 0):
            answer = no_probabilities(answering)(x)
            _check(answer, (len(x), split.classes))
            if attacked and not (answer.logits.requires_grad and answer.suspicion.requires_grad):
                raise TwinlatentError(f"{NO_GRADIENT}; or leave the white box out with suite none")


@contextmanager
def _named(name: str, images: Tensor) -> Iterator[None]:
    """Whatever goes wrong within the block is said in a line that begins with the model's name."""
    try:
        yield
    except TwinlatentError as error:
        raise TwinlatentError(f"{name}: {error}") from error
    except Exception as error:
        said = brief(f"{type(error).__name__}: {error}", most=160)
        raise TwinlatentError(f"{name} cannot answer images {tuple(images.shape)}: {said}") from error


def _check(answer: Outputs, shape: tuple[int, int]) -> None:
    """Raise `TwinlatentError` unless all parts are finite and a column a class."""
    for part, values in _parts(answer):
        if tuple(values.shape) != shape:
            hint = "; for one number an image give value[:, None].expand_as(logits)" if part != "logits" else ""
            raise TwinlatentError(f"it answers {shape[0]} images of {shape[1]} classes with {part} of shape "
                                  f"{tuple(values.shape)}; {shape} is expected{hint}")  # fmt: skip
        bad = ~values.isfinite().all(1)
        if bool(bad.any()):
            raise TwinlatentError(f"its {part} are not finite for {int(bad.sum())} of {len(bad)} calibration images; "
                                  "answer every image in [0, 1] with finite numbers")  # fmt: skip


@torch.no_grad()
def _benign(answering: Answering, images: Tensor) -> BenignAnswers:
    """What a model says of benign images, asked as `detect` asks it."""
    found: list[Outputs] = []
    with _named(answering.name, images), own_random_state(answering.device, 0):
        for n, chunk in chunks(images):
            answer = _each(answering(chunk.to(answering.device)), lambda part, n=n: part[:n].cpu())  # type: ignore[misc]
            _check(answer, (n, answer.logits.shape[-1]))
            found.append(answer)
    labels, suspicion = torch.cat([o.labels for o in found]), torch.cat([o.suspicion_of_label for o in found])
    robust = [at_label(o.robust, o.labels) for o in found if o.robust is not None]
    return BenignAnswers(labels, suspicion, torch.cat(robust) if robust else None)


def _parts(answer: Outputs) -> list[tuple[str, Tensor]]:
    """What decides on success, by name."""
    named = (("logits", answer.logits), ("suspicion", answer.suspicion), ("robust", answer.robust))
    return [(name, part) for name, part in named if part is not None]


def _each(answer: Outputs, change: Callable[[Tensor], Tensor]) -> Outputs:
    parts = (answer.logits, answer.suspicion, answer.robust, answer.latents)
    return Outputs(*(None if part is None else change(part) for part in parts))  # type: ignore[arg-type]
