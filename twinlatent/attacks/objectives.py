"""What an attack raises: functions of `Outputs` and labels, one number an image."""

from collections.abc import Callable

import torch
from torch import Tensor

from twinlatent.outputs import Outputs, at_label

Objective = Callable[[Outputs, Tensor], Tensor]
"""(outputs of n images, labels (n,)) → (n,); attacks go up."""


def cross_entropy(outputs: Outputs, labels: Tensor) -> Tensor:
    """log(e^CE − 1) = log Σ_{j≠y} e^{z_j} − z_y, CE the cross-entropy: raising it is untargeted misclassification.

    Its gradient has the direction of the cross-entropy's, so FGSM, PGD and MIM take the same steps in exact arithmetic.
    In float32 the cross-entropy itself is 0, with no gradient, wherever logits differ by more than about 17, and a
    detector's, which are differences of log-densities, do.
    """
    true = at_label(outputs.logits, labels)
    others = outputs.logits.scatter(1, labels[:, None], -torch.inf)
    return others.logsumexp(1) - true
