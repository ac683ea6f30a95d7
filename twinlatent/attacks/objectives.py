"""What an attack raises: functions of `Outputs` and labels, one number an image."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from twinlatent.outputs import Outputs

Objective = Callable[[Outputs, Tensor], Tensor]
"""(outputs of n images, labels (n,)) → (n,); attacks go up."""


def cross_entropy(outputs: Outputs, labels: Tensor) -> Tensor:
    """Cross-entropy of the logits against the labels: raising it is untargeted misclassification."""
    return F.cross_entropy(outputs.logits, labels, reduction="none")
