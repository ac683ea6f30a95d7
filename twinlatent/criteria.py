"""What counts as a success: criteria over `Outputs`, one verdict an image, joined by `&`.

A criterion is computed on the final, clipped images, whatever an attack says of itself. ŷ is the predicted label.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from math import isclose
from typing import Any, Self

import torch
from torch import Tensor

from twinlatent.arguments import real, understood
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Bounds, Outputs


@dataclass(frozen=True)
class Aim:
    """What is wanted of n images, one row an image; `aim[rows]` is that of some of them.

    Attributes:
        labels: int64 (n,), true labels.
        targets: int64 (n,), the class each image shall be taken for; None: any wrong one.
        gamma: float (n,), weight γ of the bypass term; None: 1.
        seeds: int64 (n,), what an image's random draws are made from; None: 0.
        rows: int64 (n,), places of the images among those that the attack was given; None: nobody asked.
    """

    labels: Tensor
    targets: Tensor | None = None
    gamma: Tensor | None = None
    seeds: Tensor | None = None
    rows: Tensor | None = None

    def __getitem__(self, rows: Tensor | slice) -> Self:
        """The aim of some of the images."""
        parts: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        picked: dict[str, Any] = {name: None if part is None else part[rows] for name, part in parts.items()}
        return type(self)(**picked)

    def __len__(self) -> int:
        """Return n."""
        return len(self.labels)


class Criterion(ABC):
    """(outputs of n images, aim) → bool (n,); `a & b` holds where both do."""

    @abstractmethod
    def __call__(self, outputs: Outputs, aim: Aim) -> Tensor:
        """Whether each image is a success."""

    def __and__(self, other: "Criterion") -> "All":
        """Both."""
        return All((self, other))


@dataclass(frozen=True)
class All(Criterion):
    """Every one of several criteria."""

    criteria: tuple[Criterion, ...]

    def __call__(self, outputs: Outputs, aim: Aim) -> Tensor:
        return torch.stack([criterion(outputs, aim) for criterion in self.criteria]).all(0)


@dataclass(frozen=True)
class Misclassified(Criterion):
    """ŷ ≠ y, whatever the target; NaN logits are no success."""

    def __call__(self, outputs: Outputs, aim: Aim) -> Tensor:
        return (outputs.labels != aim.labels) & ~outputs.logits.isnan().any(1)


@dataclass(frozen=True)
class HitsTarget(Criterion):
    """ŷ is the target; an error where there is none."""

    def __call__(self, outputs: Outputs, aim: Aim) -> Tensor:
        if aim.targets is None:
            raise TwinlatentError("criterion HitsTarget needs targets; give targets=, or use Misclassified")
        return (outputs.labels == aim.targets) & ~outputs.logits.isnan().any(1)


@dataclass(frozen=True)
class C1(Criterion):
    """The suspicion of ŷ is below its benign mean (paper, section 5.2: log P_v^ŷ, under the score `vulnerable`)."""

    bounds: Bounds

    def __call__(self, outputs: Outputs, aim: Aim) -> Tensor:
        return outputs.suspicion_of_label < self.bounds.suspicion_mean.to(outputs.labels.device)[outputs.labels]


@dataclass(frozen=True)
class C2(Criterion):
    """log P_r^ŷ is above its benign mean (paper, section 5.2)."""

    bounds: Bounds

    def __call__(self, outputs: Outputs, aim: Aim) -> Tensor:
        if outputs.robust is None or self.bounds.robust_mean is None:
            raise TwinlatentError("criterion C2 needs a robust log-density, and this model has none; leave it out")
        robust = outputs.robust.gather(1, outputs.labels[:, None])[:, 0]
        return robust > self.bounds.robust_mean.to(outputs.labels.device)[outputs.labels]


@dataclass(frozen=True)
class Undetected(Criterion):
    """The detector does not flag the image at a false-positive rate: the suspicion of ŷ is within its threshold.

    Args:
        bounds: with the threshold of that rate.
        fpr: the rate, in (0, 1).

    Raises:
        TwinlatentError: the bounds have no threshold for that rate.
    """

    bounds: Bounds
    fpr: float = 0.05

    def __post_init__(self) -> None:
        asked, known = real("fpr", self.fpr, above=0, below=1), sorted(self.bounds.thresholds)
        same = [rate for rate in known if isclose(rate, asked, rel_tol=1e-6)]  # 0.3 is meant by 0.1 + 0.2, too
        if not same:
            have = ", ".join(f"{rate:g}" for rate in known) or "none"
            raise TwinlatentError(f"the bounds have no threshold at {asked:g} (they have {have}); "
                                  f"make them with detector.bounds({asked:g})")  # fmt: skip
        understood(self, fpr=asked if asked in same else same[0])

    def __call__(self, outputs: Outputs, aim: Aim) -> Tensor:
        threshold = self.bounds.thresholds[self.fpr].to(outputs.labels.device)
        return outputs.suspicion_of_label <= threshold[outputs.labels]
