"""A user's model as it is asked: a module, a function or a pair of functions, which then answers with `Outputs`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from twinlatent.attacks.models import frozen
from twinlatent.errors import TwinlatentError
from twinlatent.loading import names_object
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.outputs import Outputs
from twinlatent.torch_state import CPU

Pair = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
"""Images → logits (n, C), and images → suspicion (n,) or (n, C)."""
Judgeable = CalibratedDetector | Callable[[Tensor], Outputs] | Pair
"""A detector of ours; or a module or function, images (n, channels, H, W) in [0, 1] → `Outputs`; or a `Pair`.

The suspicion may be (n,), a number an image whatever the prediction.
"""
RETURN = "return twinlatent.Outputs(logits, suspicion)"


@dataclass(frozen=True, eq=False)
class Answering:
    """A user's model as it is asked: on its device, in its precision, with a copy of the images.

    Attributes:
        model: one of `Judgeable`, and none of ours.
        name: in records and errors.
    """

    model: Callable[[Tensor], Outputs] | Pair
    name: str

    def __call__(self, images: Tensor) -> Outputs:
        """Images (n, channels, H, W) on its device → answers like the images; `TwinlatentError` if they are none."""
        return each_part(adapted(self.raw(images)), lambda part: part.to(images))

    def raw(self, images: Tensor) -> object:
        """What the model itself answers; of a pair, both answers as `Outputs`."""
        dtypes = [part.dtype for part in self.held if part.is_floating_point()]
        found: list[Any] = [part(images.to(dtypes[0] if dtypes else images.dtype, copy=True)) for part in self.parts]
        return found[0] if len(found) == 1 else Outputs(*found)

    @property
    def parts(self) -> tuple[Callable[[Tensor], Any], ...]:
        """The model, or both functions of a pair."""
        return self.model if isinstance(self.model, tuple) else (self.model,)

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """Those of its parts that are modules."""
        return tuple(part for part in self.parts if isinstance(part, nn.Module))

    @property
    def held(self) -> list[Tensor]:
        """Parameters and buffers of its modules, each once; of functions none."""
        every = [*(p for m in self.modules for p in m.parameters()), *(b for m in self.modules for b in m.buffers())]
        return list({id(tensor): tensor for tensor in every}.values())

    @contextmanager
    def as_used(self) -> Iterator[None]:
        """Within the block its modules are in evaluation mode and ask for no gradients of parameters."""
        with ExitStack() as stack:
            for part in self.parts:
                stack.enter_context(frozen(part))
            yield

    @property
    def device(self) -> torch.device:
        """Where its tensors are; the CPU for functions."""
        return self.held[0].device if self.held else CPU


def checked_model(model: object) -> Callable[[Tensor], Outputs] | Pair:
    """The model, a pair as a tuple; `TwinlatentError` if it cannot be asked."""
    if isinstance(model, tuple | list):
        if len(model) != 2 or not all(map(callable, model)):
            said = ", ".join(type(part).__name__ for part in model[:4])
            raise TwinlatentError(f"the model is a {type(model).__name__} of {len(model)} ({said}); a pair is two "
                                  "functions: images → logits, images → suspicion")  # fmt: skip
        return model[0], model[1]
    if isinstance(model, type):
        raise TwinlatentError(f"the model is the class {model.__name__}; give an object of it, {model.__name__}(...)")
    if not callable(model):
        hint = "a module, a function or a pair of them"
        if isinstance(model, str):
            hint = "what it names, imported" if names_object(model) else f"twinlatent.load({model!r})"
        raise TwinlatentError(f"the model is a {type(model).__name__}, which answers no images; give {hint}")
    return model


def adapted(answer: object) -> Outputs:
    """The answer, one suspicion an image becoming the same for every class.

    Raises:
        TwinlatentError: it is no `Outputs` of tensors, or a suspicion that is true or false.
    """
    if not isinstance(answer, Outputs):
        hint = ", which lacks a suspicion" if isinstance(answer, Tensor) else ""
        also = ", or give a pair of functions (logits, suspicion)" if isinstance(answer, Tensor) else ""
        also += "; for a classifier alone there is twinlatent.rejecting, or --rejecting" if also else ""
        if callable(answer) and not isinstance(answer, Tensor):
            raise TwinlatentError(f"it answers images with {_described(answer)}, a model itself; what makes a model "
                                  "needs no argument: give what it returns, or a function without arguments that "
                                  "makes it")  # fmt: skip
        raise TwinlatentError(f"it answers images with {_described(answer)}{hint}; {RETURN}{also}")
    for part, values in (("logits", answer.logits), ("suspicion", answer.suspicion)):
        given: object = values
        if isinstance(given, np.ndarray | np.generic):
            raise TwinlatentError(f"its {part} {verb_of(part)} a NumPy array, where gradients end; compute it in "
                                  "torch, or put what needs NumPy behind attacks.bpda; with suite none "
                                  "torch.from_numpy will do")  # fmt: skip
        if not isinstance(given, Tensor):
            raise TwinlatentError(f"its {part} {verb_of(part)} a {type(given).__name__}; give a tensor (n, C)")
        if given.dtype == torch.bool:
            raise no_score(part)
    logits, suspicion = answer.logits, answer.suspicion
    if logits.ndim == 2 and suspicion.shape in ((len(logits),), (len(logits), 1)):
        suspicion = suspicion.reshape(-1, 1).expand_as(logits)
    return Outputs(logits, suspicion, answer.robust, answer.latents)


def verb_of(part: str) -> str:
    """The verb that goes with the name."""
    return "are" if part == "logits" else "is"


def no_score(part: str) -> TwinlatentError:
    """The error of a suspicion that is a verdict already."""
    return TwinlatentError(f"its {part} {verb_of(part)} true or false, without a gradient and with no threshold left "
                           "to choose; give the score that it compares with one, higher being more "
                           "suspicious")  # fmt: skip


def each_part(answer: Outputs, change: Callable[[Tensor], Tensor]) -> Outputs:
    """The answer with each of its tensors changed."""
    parts = (answer.logits, answer.suspicion, answer.robust, answer.latents)
    return Outputs(*(None if part is None else change(part) for part in parts))  # type: ignore[arg-type]


def _described(answer: object) -> str:
    if not isinstance(answer, tuple | list):
        return f"a {type(answer).__name__}"
    parts = (str(tuple(part.shape)) if isinstance(part, Tensor) else type(part).__name__ for part in answer[:4])
    return f"a {type(answer).__name__} of {len(answer)} ({', '.join(parts)})"
