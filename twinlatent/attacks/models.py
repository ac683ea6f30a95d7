"""What may be attacked: anything that answers images with `Outputs`, or with logits alone."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Model, Outputs

Attackable = Callable[[Tensor], Outputs] | Callable[[Tensor], Tensor]
"""Images (n, channels, H, W) → `Outputs`, or → logits (n, C); an `nn.Module` or a plain function."""
ENOUGH = 3
"""Answers from which probabilities are told from logits."""


def as_model(attackable: Attackable) -> Model:
    """Make logits into `Outputs` whose suspicion is zero; leave `Outputs` as they are.

    A model that changes its input in place changes a copy.

    Raises:
        TwinlatentError: it cannot be called; when called, an answer that is neither, or not one row an image.
    """
    if not callable(attackable):
        raise TwinlatentError(f"the model is a {type(attackable).__name__}; give a module, or a function from images "
                              "to logits (n, C) or Outputs")  # fmt: skip

    def model(images: Tensor) -> Outputs:
        answer = attackable(images.clone())
        if not isinstance(answer, Outputs | Tensor):
            raise TwinlatentError(f"the model answers with a {type(answer).__name__}; wrap it in a function that "
                                  "returns logits (n, C) or Outputs")  # fmt: skip
        outputs = answer if isinstance(answer, Outputs) else Outputs(answer, torch.zeros_like(answer))
        logits = outputs.logits
        if logits.ndim == 2 and (len(logits) != len(images) or not logits.is_floating_point()):
            raise TwinlatentError(f"the model answers {len(images)} images with {len(logits)} rows of {logits.dtype}; "
                                  "return floating logits, a row an image")  # fmt: skip
        return outputs

    return model


def no_probabilities(model: Model) -> Model:
    """The same model, which is refused if all it answers at first are probabilities.

    There is no gradient where they are near 0 or 1, and an attack would seem to fail. Logits of one image may by chance
    be like that, those of `ENOUGH` that are not all alike hardly; the first others settle it.

    Raises:
        TwinlatentError: when called.
    """
    seen: list[Tensor] = []
    settled = False

    def asked(images: Tensor) -> Outputs:
        nonlocal settled
        outputs = model(images)
        if settled:
            return outputs
        seen.append(outputs.logits.detach())
        settled = not _probabilities(seen[-1])
        rows = torch.cat(seen)
        if not settled and len(rows) >= ENOUGH and bool((rows != rows[0]).any()):
            raise TwinlatentError("the model answers with probabilities, which hide gradients; return logits (leave "
                                  "the softmax out), or attack lambda x: model(x).clamp_min(1e-30).log()")  # fmt: skip
        return outputs

    return asked


def _probabilities(logits: Tensor) -> bool:
    """Whether no entry of (n, C) is negative and all rows add up to 1, up to rounding."""
    rounding = max(1e-4, 8 * torch.finfo(logits.dtype).eps) if logits.is_floating_point() else 0.0
    return logits.ndim == 2 and bool((logits >= 0).all()) and bool(((logits.sum(1) - 1).abs() <= rounding).all())


@dataclass
class _Hold:
    """A module or parameter that is frozen, what it was like before, and by how many blocks it is held."""

    part: nn.Module | Tensor
    before: bool
    holders: int = 0


_lock = threading.RLock()
_holds: dict[int, _Hold] = {}
"""By the identity of the part, which the hold keeps alive. Two models may share parts, two threads a model."""


@contextmanager
def frozen(model: object) -> Iterator[None]:
    """Within the block a module is in evaluation mode and no parameter asks for a gradient; both are put back.

    Attacks need gradients of images alone, of the network as it is used afterwards. Blocks may nest, and several
    threads may freeze one module or modules that share parts: the last one out puts back. Anything that is no module
    is left as it is.
    """
    if not isinstance(model, nn.Module):
        yield
        return
    parameters = [p for p in model.parameters() if not p.is_inference()]  # those never get a gradient
    parts: list[nn.Module | Tensor] = [*model.modules(), *parameters]
    with _lock:
        for part in parts:
            _holds.setdefault(id(part), _Hold(part, _state(part))).holders += 1
    try:
        with _lock:
            if any(_state(module) for module in model.modules()):
                model.eval()
            for parameter in parameters:
                parameter.requires_grad_(False)
        yield
    finally:
        with _lock:
            _let_go(parts)


def _state(part: nn.Module | Tensor) -> bool:
    """Whether a module is in training mode, or a parameter asks for a gradient; a frozen TorchScript has no mode."""
    return part.requires_grad if isinstance(part, Tensor) else bool(getattr(part, "training", False))


def _let_go(parts: list[nn.Module | Tensor]) -> None:
    """Put back what nobody holds any more; a mode by the module's own `train`, which may do more than set it."""
    held = [_holds[id(part)] for part in parts]
    for hold in held:
        hold.holders -= 1
    left = [_holds.pop(id(hold.part)) for hold in held if not hold.holders]
    for hold in left:
        if hold.before and isinstance(hold.part, nn.Module) and type(hold.part).train is not nn.Module.train:
            hold.part.train()
    for hold in (*left, *(hold for hold in held if hold.holders)):
        wanted = hold.before and not hold.holders
        if isinstance(hold.part, Tensor):
            hold.part.requires_grad_(wanted)
        elif _state(hold.part) != wanted:
            hold.part.training = wanted
