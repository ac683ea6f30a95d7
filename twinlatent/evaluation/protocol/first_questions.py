"""What a stranger's model gets wrong first, found by a few questions before any work; each in a line with its mend."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from twinlatent.attacks.guides import NO_GRADIENT
from twinlatent.attacks.hooks import ExpectationOverTransformation
from twinlatent.attacks.models import no_probabilities
from twinlatent.data import LabelledImages, Split
from twinlatent.errors import TwinlatentError, brief
from twinlatent.evaluation.protocol.answering import Answering, each_part, verb_of
from twinlatent.evaluation.protocol.input_forms import of_range, other_form
from twinlatent.outputs import Outputs
from twinlatent.torch_state import fresh_torch, own_random_state

Say = Callable[[str], None]
"""Takes a line that people should see."""
ASKED_FIRST = 8
"""So many calibration images a model answers before any work."""
COMPARED = 64
"""So many images show what a mode changes."""
SAME, OTHER = 1e-4, 1e-2
"""Relative difference of two answers that rounding makes; what rounding cannot make."""


@dataclass(frozen=True)
class AsGiven:
    """What a module answered in the mode it was given in.

    Attributes:
        images: calibration images that were asked.
        outputs: the answers; None where it was in evaluation mode or could not answer.
    """

    images: LabelledImages
    outputs: Outputs | None


@fresh_torch()
@torch.no_grad()
def as_given(answering: Answering, split: Split) -> AsGiven:
    """Ask a model before it is put into evaluation mode; running statistics and random state are put back."""
    few = split.calibration.subset(slice(COMPARED))
    if not any(module.training for whole in answering.modules for module in whole.modules()):
        return AsGiven(few, None)
    before = [(held, held.clone()) for held in answering.held]
    try:
        with own_random_state(answering.device, 0):
            outputs = answering(few.images.to(answering.device))
            fits = outputs.logits.shape == outputs.suspicion.shape == (len(few), split.classes)
            return AsGiven(few, outputs if fits else None)
    except Exception:  # what is wrong will be said of evaluation mode
        return AsGiven(few, None)
    finally:
        for held, value in before:
            held.copy_(value)


@fresh_torch()
def ask_first(answering: Answering, split: Split, given: AsGiven, *, attacked: bool, say: Say) -> None:
    """A few images together, again, and one alone, so that what does not fit is found before any work.

    Args:
        answering: the model, in evaluation mode.
        split: its calibration images are asked, the first `ASKED_FIRST`, and more where it errs often.
        given: what it said before it was put into evaluation mode.
        attacked: whether attacks will need gradients.
        say: gets a line on what is no fault for certain: chance, a mode, a range, gradients that are zero.

    Raises:
        TwinlatentError: the model cannot be judged.
    """
    few, lines = split.calibration.images[:ASKED_FIRST].to(answering.device), list[str]()
    with own_random_state(answering.device, 0):
        batch, found = _asked(answering, few, split.classes, attacked)
        alone, _ = _asked(answering, few[:1], split.classes, attacked)
        lines += found
        with named(answering.name, few), torch.no_grad():
            again = answering(few)
            if not isinstance(answering.model, ExpectationOverTransformation):
                lines += _of_chance(answering, batch, again) or _of_mode(answering, given)
            _check_alone(answering, batch, again, alone)
            lines += of_range(answering, split) + _of_suspicion(again)
    for line in lines:
        say(f"{answering.name}: {line}")


@contextmanager
def named(name: str, images: Tensor) -> Iterator[None]:
    """Whatever goes wrong within the block is said in a line that begins with the model's name."""
    try:
        yield
    except TwinlatentError as error:
        raise TwinlatentError(f"{name}: {error}") from error
    except Exception as error:
        said = brief(f"{type(error).__name__}: {error}", most=160)
        hints = {"when training": "call eval() on the module within", "same dtype": "call float() on all of it"}
        hint = next((f"; {mend}" for sign, mend in hints.items() if sign in str(error)), "")
        raise TwinlatentError(f"{name} cannot answer images {tuple(images.shape)}: {said}{hint}") from error


def check_answer(answer: Outputs, shape: tuple[int, int]) -> None:
    """Raise `TwinlatentError` unless all parts are finite and a column a class."""
    for part, values in decisive(answer):
        if tuple(values.shape) != shape:
            hint = _hint(part, values, shape, answer)
            raise TwinlatentError(f"it answers {shape[0]} images of {shape[1]} classes with {part} of shape "
                                  f"{tuple(values.shape)}; {shape} is expected{hint}")  # fmt: skip
        bad = ~values.isfinite().all(1)
        if bool(bad.any()):
            raise TwinlatentError(f"its {part} {verb_of(part)} not finite for {int(bad.sum())} of {len(bad)} "
                                  "calibration images; answer every image in [0, 1] with finite numbers")  # fmt: skip


def decisive(answer: Outputs) -> list[tuple[str, Tensor]]:
    """What decides on success, by name."""
    parts = (("logits", answer.logits), ("suspicion", answer.suspicion), ("robust", answer.robust))
    return [(name, part) for name, part in parts if part is not None]


def _asked(answering: Answering, images: Tensor, classes: int, attacked: bool) -> tuple[Outputs, list[str]]:
    """The answers, checked, without their graph; and what is to be said of their gradients."""
    x = images.clone().requires_grad_(attacked)
    with named(answering.name, x):
        try:
            answer = no_probabilities(answering)(x)
        except TwinlatentError:
            raise
        except Exception as error:
            raise _explained(answering, images, classes, error) from error
        check_answer(answer, (len(x), classes))
        lines = _of_gradients(answer, x) if attacked else []
    return each_part(answer, Tensor.detach), lines


def _explained(answering: Answering, images: Tensor, classes: int, error: Exception) -> Exception:
    """What is the matter, if the images in another form are answered; else the error itself."""
    with torch.no_grad():
        if "numpy" in str(error).lower() and other_form(answering, images, classes, detached=True):
            return TwinlatentError("it computes in NumPy, where gradients end; compute in torch, put what needs NumPy "
                                   "behind attacks.bpda, or leave the white box out with suite none")  # fmt: skip
        form = other_form(answering, images, classes)
    if form is None:
        return error
    return TwinlatentError(f"it cannot answer images {tuple(images.shape)}, as (n, channels, height, width), but "
                           f"{form.words}; judge lambda images: model({form.code}) instead")  # fmt: skip


def _of_gradients(answer: Outputs, images: Tensor) -> list[str]:
    """What is to be said of gradients that are zero or NaN for most images; `TwinlatentError` where there are none."""
    parts = {"logits": answer.logits, "suspicion": answer.suspicion}
    without = [part for part, values in parts.items() if not values.requires_grad]
    if without:
        raise TwinlatentError(f"{NO_GRADIENT}; or leave the white box out with suite none (without one: "
                              f"{' and '.join(without)})")  # fmt: skip
    lines = []
    for part, value in (("logits", _confidence(answer)), ("suspicion", answer.suspicion_of_label)):
        (gradient,) = torch.autograd.grad(value.sum(), images, retain_graph=True, allow_unused=True)
        slope = torch.zeros(len(images)) if gradient is None else gradient.flatten(1).abs().sum(1)
        dead = int((~(slope > 0)).sum())  # NaN, too
        if 2 * dead > len(images) and bool((value != value[0]).any()):
            lines.append(f"the gradient of its {part} is zero or NaN for {dead} of {len(images)} calibration images; "
                         "if rounding, a comparison or the root of 0 does that, give it a differentiable stand-in "
                         "with attacks.bpda")  # fmt: skip
    return lines


def _confidence(answer: Outputs) -> Tensor:
    return answer.logits.amax(1) - answer.logits.mean(1)


def _of_suspicion(answer: Outputs) -> list[str]:
    """What is to be said of a suspicion that is the same whatever the image."""
    if len(answer.suspicion) < 2 or bool((answer.suspicion != answer.suspicion[0]).any()):
        return []
    return [f"its suspicion is the same for all of {len(answer.suspicion)} calibration images; nothing can be told by "
            "it, and nothing will be flagged"]  # fmt: skip


def _of_chance(answering: Answering, first: Outputs, again: Outputs) -> list[str]:
    """What is to be said of answers that are others when asked again, by chance that the model does not average."""
    if (apart := _apart(first, again, slice(None))) <= SAME:
        return []
    within = _modes_within(answering)
    mend = f"{within}: call eval() on it, or if" if within else "if"
    return [f"it answers the same images differently each time, up to {apart:.2g} apart; {mend} chance is part of the "
            "defence, judge attacks.expectation(model), whose gradients are means over draws"]  # fmt: skip


def _check_alone(answering: Answering, batch: Outputs, again: Outputs, alone: Outputs) -> None:
    """Raise `TwinlatentError` if the answer for an image depends on the others; where chance plays, none can tell."""
    apart = _apart(batch, alone, slice(1))
    if apart > OTHER and _apart(batch, again, slice(None)) <= SAME:
        within = _modes_within(answering) or "if a batch norm within it is in training mode"
        raise TwinlatentError(f"its answer for an image depends on the other images of the batch, {apart:.2g} apart; "
                              f"{within}, call eval() on that; else reduce over pixels, never over the "
                              "batch")  # fmt: skip


def _apart(one: Outputs, two: Outputs, rows: slice) -> float:
    """The largest relative difference of two answers."""
    pairs = ((one.logits, two.logits), (one.suspicion, two.suspicion))
    return max(float(((a[rows] - b[rows]).abs() / (1 + a[rows].abs())).max()) for a, b in pairs)


def _of_mode(answering: Answering, given: AsGiven) -> list[str]:
    """What evaluation mode changes, of a module that was given in training mode."""
    if given.outputs is None:
        return []
    outputs = answering(given.images.images.to(answering.device))
    if _apart(given.outputs, outputs, slice(None)) <= SAME:
        return []
    labels = given.images.labels
    before, now = (int((one.labels.cpu() == labels).sum()) for one in (given.outputs, outputs))
    lost = "; its running statistics do not fit these images" if now < before - len(labels) // 10 else ""
    return [f"it was in training mode, in which it classifies {before} of {len(labels)} calibration images correctly; "
            f"it is judged in evaluation mode, with {now}{lost}; call eval() on it beforehand"]  # fmt: skip


def _modes_within(answering: Answering) -> str:
    """That a function uses a module in training mode, as far as can be seen; else nothing."""
    found = sorted({name for part in answering.parts for name in _training_within(part)})
    return f"{' and '.join(found)} within it is in training mode" if found else ""


def _training_within(part: Callable[[Tensor], Any]) -> list[str]:
    """Names by which a function, or an object's attributes, know modules in training mode."""
    if isinstance(part, nn.Module):
        return []
    known = dict(getattr(part, "__dict__", {})) | dict(getattr(getattr(part, "__self__", None), "__dict__", {}))
    code = inspect.unwrap(part) if inspect.isroutine(part) else type(part).__call__
    code = getattr(code, "__func__", code)  # of a method
    with suppress(ValueError):  # names that have no value yet
        if inspect.isfunction(code):
            seen = inspect.getclosurevars(code)
            known |= {**seen.nonlocals, **seen.globals}
    return [name for name, held in known.items() if isinstance(held, nn.Module) and held.training]


def _hint(part: str, values: Tensor, shape: tuple[int, int], answer: Outputs) -> str:
    """How answers of a common wrong shape become right ones."""
    if part == "logits" and values.ndim == 1 and tuple(answer.suspicion.shape) == shape:
        return "; logits come first, then the suspicion"
    if part == "logits" and values.ndim == 2 and values.shape[1] == shape[1] + 1:
        return ("; if one column is a class of adversarial images, cut it off and give it as the suspicion; else a "
                "column a class of the data, in the order of split.class_names")  # fmt: skip
    if part == "logits" and values.numel() == shape[0] and shape[1] == 2:
        return "; of one log-odds z make torch.stack([-z / 2, z / 2], 1)"
    if part == "logits" and values.ndim == 2 and values.shape[1] != shape[1]:
        return "; a column a class of the data, in the order of split.class_names"
    return "; give a number an image, (n,), or a column a class" if part == "suspicion" else ""
