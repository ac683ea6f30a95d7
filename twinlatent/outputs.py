"""What anything that can be attacked answers, and the benign levels its answers are compared with.

An attacked model, ours or a baseline, is a differentiable function images → `Outputs`. Objectives and success
criteria read these alone. Letters: n images, C classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from twinlatent.arguments import real
from twinlatent.errors import TwinlatentError


@dataclass(frozen=True)
class Outputs:
    """Answers for n images, one row an image, differentiable with respect to the images.

    Attributes:
        logits: (n, C), any real numbers; the predicted label is their argmax.
        suspicion: (n, C), any real numbers, higher is more suspicious; column c holds if c is the prediction.
        robust: (n, C), log-density of the image under each class's robust features; None where there is none.
        latents: (n, C, Z), features of the image as each class sees it; None where there are none.
    """

    logits: Tensor
    suspicion: Tensor
    robust: Tensor | None = None
    latents: Tensor | None = None

    @property
    def labels(self) -> Tensor:
        """Predicted labels ŷ, int64 (n,)."""
        return self.logits.argmax(1)

    @property
    def suspicion_of_label(self) -> Tensor:
        """Suspicion at the predicted label, (n,)."""
        return at_label(self.suspicion, self.labels)


Model = Callable[[Tensor], Outputs]
"""Images (n, channels, H, W) in [0, 1] → `Outputs`."""


@dataclass(frozen=True)
class Bounds:
    """Benign levels of one model, by predicted class, fixed on held-out benign images before any attack.

    Attributes:
        suspicion_mean: (C,), benign mean of the suspicion (condition C1 of the paper).
        robust_mean: (C,), benign mean of the robust log-density (condition C2); None where there is none.
        thresholds: false-positive rate in (0, 1) → (C,), suspicion above which an image is flagged.

    Raises:
        TwinlatentError: one of them is no tensor of that shape.
    """

    suspicion_mean: Tensor
    robust_mean: Tensor | None
    thresholds: dict[float, Tensor]

    def __post_init__(self) -> None:
        rates = {real("fpr", fpr, above=0, below=1): level for fpr, level in self.thresholds.items()}
        object.__setattr__(self, "thresholds", rates)
        levels = {"suspicion_mean": self.suspicion_mean, "robust_mean": self.robust_mean}
        levels |= {f"threshold at {fpr:g}": level for fpr, level in self.thresholds.items()}
        for name, level in levels.items():
            if level is not None and (not isinstance(level, Tensor) or level.shape != (len(self.suspicion_mean),)):
                found = f"a tensor {tuple(level.shape)}" if isinstance(level, Tensor) else repr(level)
                raise TwinlatentError(f"{name} is {found}; give a tensor with a number a class")


def at_label(values: Tensor, labels: Tensor) -> Tensor:
    """Pick column `labels[i]` of row i: (n, C), (n,) → (n,)."""
    return values.gather(1, labels[:, None])[:, 0]
