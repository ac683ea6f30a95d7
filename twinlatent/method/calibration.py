"""Operating points: quantiles and conformal p-values of benign suspicion, by predicted class."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from twinlatent.errors import TwinlatentError

POOLED_BELOW = 20
"""A predicted class with fewer benign scores than this is compared with those of all classes together."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Benign suspicion by predicted class, held out from training.

    Attributes:
        scores: one ascending float32 (n_c,) a class, n_c at least 1.
    """

    scores: Sequence[Tensor]

    def p_values(self, suspicion: Tensor, labels: Tensor) -> Tensor:
        """Conformal p-value (1 + #{benign scores of ŷ ≥ s}) / (n_ŷ + 1) of each image, in (0, 1].

        For a benign image, exchangeable with the calibration images of its predicted class, P(p ≤ a) ≤ a
        (Vovk et al. 2005). Two exceptions: a class that was pooled (see `calibrate`) only has this on average over
        classes, and under the score `joint`, whose scale is measured on the same images, it holds approximately.

        Args:
            suspicion: (n,), at the predicted label.
            labels: int64 (n,), predicted.
        """
        p = torch.ones_like(suspicion, dtype=torch.float32)
        for label, scores in enumerate(self.scores):
            mine = labels == label
            below = torch.searchsorted(scores, suspicion[mine].contiguous(), right=False)
            p[mine] = (1 + len(scores) - below).float() / (len(scores) + 1)
        return p

    def thresholds(self, fpr: float) -> Tensor:
        """Suspicion above which an image predicted as c has p ≤ fpr, float32 (C,).

        Raises:
            TwinlatentError: fpr is not in (0, 1), or finer than a class's number of scores can tell.
        """
        self.check(fpr)
        ranks = [max(len(scores) - int(fpr * (len(scores) + 1) + 1e-9), 0) for scores in self.scores]
        return torch.stack([scores[rank] for scores, rank in zip(self.scores, ranks, strict=True)])

    def check(self, fpr: float) -> None:
        """Raise `TwinlatentError` unless every class can tell a false-positive rate of `fpr`."""
        if not 0 < fpr < 1:
            raise TwinlatentError(f"fpr is {fpr}; give a rate between 0 and 1, such as 0.05")
        finest = self.finest_fpr
        if fpr < finest:
            rounded_up = math.ceil(finest * 1e6) / 1e6
            raise TwinlatentError(
                f"fpr {fpr} is finer than the calibration images can tell; give at least {rounded_up}, "
                "or calibrate on more"
            )

    @property
    def finest_fpr(self) -> float:
        """The smallest false-positive rate that every class can tell, 1 / (1 + the fewest scores of a class)."""
        return 1 / (1 + min(len(scores) for scores in self.scores))


def calibrate(suspicion: Tensor, labels: Tensor, classes: int) -> Calibration:
    """Sort benign suspicion by predicted class.

    A class with fewer than 20 scores of its own is pooled: it gets those of all classes together.

    Args:
        suspicion: float (n,), at the predicted label, n at least 1.
        labels: int64 (n,), predicted.
        classes: C.
    """
    if not len(suspicion):
        raise TwinlatentError("0 calibration images; give benign images that were held out from training")
    pooled = suspicion.float().cpu().sort().values
    mine = [suspicion[labels == label].float().cpu().sort().values for label in range(classes)]
    return Calibration([scores if len(scores) >= POOLED_BELOW else pooled for scores in mine])
