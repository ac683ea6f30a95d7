"""What may be attacked: anything that answers images with `Outputs`, or with logits alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Model, Outputs

Attackable = Callable[[Tensor], Outputs] | Callable[[Tensor], Tensor]
"""Images (n, channels, H, W) → `Outputs`, or → logits (n, C); an `nn.Module` or a plain function."""


def as_model(attackable: Attackable) -> Model:
    """Make logits into `Outputs` whose suspicion is zero; leave `Outputs` as they are.

    A model that changes its input in place changes a copy.

    Raises:
        TwinlatentError: when called, an answer that is neither.
    """

    def model(images: Tensor) -> Outputs:
        answer = attackable(images.clone())
        if isinstance(answer, Outputs):
            return answer
        if not isinstance(answer, Tensor):
            raise TwinlatentError(f"the model answers with a {type(answer).__name__}; wrap it in a function that "
                                  "returns logits (n, C) or Outputs")  # fmt: skip
        return Outputs(answer, torch.zeros_like(answer))

    return model


@contextmanager
def frozen(model: object) -> Iterator[None]:
    """Within the block a module is in evaluation mode and no parameter asks for a gradient; both are put back.

    Attacks need gradients of images alone, of the network as it is used afterwards. Anything that is no module is
    left as it is.
    """
    if not isinstance(model, nn.Module):
        yield
        return
    parameters, modules = list(model.parameters()), list(model.modules())
    asked, modes = [p.requires_grad for p in parameters], [m.training for m in modules]
    model.requires_grad_(False).eval()
    try:
        yield
    finally:
        for parameter, ask in zip(parameters, asked, strict=True):
            parameter.requires_grad_(ask)
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
