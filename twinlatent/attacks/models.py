"""What may be attacked: anything that answers images with `Outputs`, or with logits alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from twinlatent.outputs import Model, Outputs

Attackable = Callable[[Tensor], Outputs] | Callable[[Tensor], Tensor]
"""Images (n, channels, H, W) → `Outputs`, or → logits (n, C); an `nn.Module` or a plain function."""


def as_model(attackable: Attackable) -> Model:
    """Make logits into `Outputs` whose suspicion is zero; leave `Outputs` as they are."""

    def model(images: Tensor) -> Outputs:
        answer = attackable(images)
        return answer if isinstance(answer, Outputs) else Outputs(answer, torch.zeros_like(answer))

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
