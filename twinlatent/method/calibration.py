"""Operating points: quantiles and conformal p-values of benign suspicion, by predicted class or of all together.

Letters: C classes, n_c benign scores of the predicted class c, N of all classes together, a a false-positive rate.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from twinlatent.errors import TwinlatentError


@dataclass(frozen=True, eq=False)
class Calibration:
    """Benign suspicion by predicted class, held out from training.

    Where all classes are judged together, there is one threshold, and P(flagged) ≤ a of all images, whatever is
    predicted. Else each class has its own. A class tells the rate a by its own scores if it has enough of them, 1 /
    (n_c + 1) ≤ a. Of a class that does not, an image is flagged if it is more suspicious than all scores of the class
    and, among the scores of all classes, has p ≤ a. So thresholds never fall when the rate does: what is flagged at a
    rate is flagged at every larger one.

    What that promises of a benign image that is exchangeable with the calibration images (Vovk et al. 2005): of a class
    that tells a, P(flagged | ŷ = c) ≤ a. Of one that does not, only P(flagged | ŷ = c) ≤ 1 / (n_c + 1), which is more
    than a, but of all of these together P(flagged and ŷ is one of them) ≤ min(a, C / (N + 1)). Of all images: at most a
    where every class tells a or none does, otherwise less than 2a. Under the score `joint`, whose scale is measured on
    the same images, all of it holds approximately.

    Attributes:
        scores: one ascending float32 (n_c,) a class, n_c at least 0.
        together: whether suspicion is compared with that of all classes.
    """

    scores: Sequence[Tensor]
    together: bool = False

    @cached_property
    def pooled(self) -> Tensor:
        """The scores of all classes together, ascending float32 (N,)."""
        return torch.cat(tuple(self.scores)).sort().values

    def p_values(self, suspicion: Tensor, labels: Tensor, fpr: float) -> Tensor:
        """Conformal p-value of each image, in (0, 1], which is at most `fpr` where the image is flagged and only there.

        It is (1 + #{scores of ŷ ≥ s}) / (n_ŷ + 1), or of all classes together the same of all scores. Where ŷ does not
        tell `fpr` by its own scores and all of them are smaller than s, it is the smaller of that, 1 / (n_ŷ + 1), and
        the p-value among the scores of all classes. So it depends on `fpr` in one way: below 1 / (n_ŷ + 1) it goes on
        only if a finer rate is asked.

        P(p ≤ a) is at most what `Calibration` promises of P(flagged) at the rate a.

        Args:
            suspicion: (n,), at the predicted label.
            labels: int64 (n,), predicted.
            fpr: the rate that is asked.

        Raises:
            TwinlatentError: as `check`.
        """
        self.check(fpr)
        if self.together:
            return _p_values(self.pooled, suspicion)
        p = torch.ones_like(suspicion, dtype=torch.float32)
        for label, scores in enumerate(self.scores):
            mine = labels == label
            own = _p_values(scores, suspicion[mine])
            if not _tells(scores, fpr):
                beyond = _at_least(scores, suspicion[mine]) == 0
                own = torch.where(beyond, torch.minimum(own, _p_values(self.pooled, suspicion[mine])), own)
            p[mine] = own
        return p

    def equal(self, suspicion: Tensor, labels: Tensor) -> Tensor:
        """How many of the scores that `p_values` counts, of ŷ or of all classes, are the very suspicion, int64 (n,)."""
        found = torch.zeros_like(labels)
        for label, own in enumerate(self.scores):
            mine = labels == label
            scores, asked = self.pooled if self.together else own, suspicion[mine]
            found[mine] = torch.searchsorted(scores, asked, right=True) - torch.searchsorted(scores, asked)
        return found

    def telling(self, fpr: float) -> Tensor:
        """Which classes tell the rate by their own scores, bool (C,)."""
        return torch.tensor([_tells(scores, fpr) for scores in self.scores])

    def thresholds(self, fpr: float) -> Tensor:
        """Suspicion above which an image predicted as c has p ≤ fpr, float32 (C,).

        Raises:
            TwinlatentError: as `check`.
        """
        self.check(fpr)
        return torch.stack([self._threshold(scores, fpr) for scores in self.scores])

    def _threshold(self, scores: Tensor, fpr: float) -> Tensor:
        if self.together:
            return _quantile(self.pooled, fpr)
        if _tells(scores, fpr):
            return _quantile(scores, fpr)
        return torch.cat([scores[-1:], _quantile(self.pooled, fpr)[None]]).max()

    def check(self, fpr: float) -> None:
        """Raise `TwinlatentError` unless `fpr` is in (0, 1) and all scores together can tell it."""
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
        """The smallest false-positive rate that can be asked for, 1 / (N + 1)."""
        return 1 / (1 + len(self.pooled))


def calibration_of(suspicion: Tensor, labels: Tensor, classes: int, *, together: bool = False) -> Calibration:
    """Sort benign suspicion by predicted class.

    Args:
        suspicion: float (n,), at the predicted label, n at least 1.
        labels: int64 (n,), predicted.
        classes: C.
        together: see `Calibration`.
    """
    if not len(suspicion):
        raise TwinlatentError("0 calibration images; give benign images that were held out from training")
    own = [suspicion[labels == label].float().cpu().sort().values for label in range(classes)]
    return Calibration(own, together)


def _allowed(scores: Tensor, fpr: float) -> int:
    """How many of the scores and a new one, n + 1 in all, may be flagged."""
    return int(fpr * (len(scores) + 1) + 1e-9)


def _tells(scores: Tensor, fpr: float) -> bool:
    return _allowed(scores, fpr) >= 1


def _quantile(scores: Tensor, fpr: float) -> Tensor:
    """The score above which p ≤ fpr among these scores, which can tell it."""
    return scores[max(len(scores) - _allowed(scores, fpr), 0)]


def _at_least(scores: Tensor, suspicion: Tensor) -> Tensor:
    """How many of the scores are at least as suspicious, int64 (n,); none as NaN."""
    return len(scores) - torch.searchsorted(scores, suspicion.contiguous(), right=False)


def _p_values(scores: Tensor, suspicion: Tensor) -> Tensor:
    return (1 + _at_least(scores, suspicion)).float() / (len(scores) + 1)
