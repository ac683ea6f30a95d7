"""How latents become a label and a suspicion (paper, sections 4.2 and 4.3, and ours).

Letters: n images, C classes, ŷ the predicted label, μ_r and μ_v the encoders' means, log P = log N(μ | 0, I).
"""

from typing import Literal

import torch
from torch import Tensor

from twinlatent.method.calibrated import mean_by_label

LabelRule = Literal["nearest_mean", "density", "ratio"]
Score = Literal["vulnerable", "joint", "ratio"]
Thresholds = Literal["each_class", "together"]


def label_logits(rule: LabelRule, robust: Tensor, vulnerable: Tensor, means: Tensor, class_means: Tensor) -> Tensor:
    """Logits (n, C) of a label rule.

    Args:
        robust: log P_r^c, (n, C).
        vulnerable: log P_v^c, (n, C).
        means: μ_r^c, (C, n, Z).
        class_means: m_c, (C, Z).
    """
    match rule:
        case "nearest_mean":
            return -(means - class_means[:, None]).square().sum(-1).T
        case "density":
            return robust
        case "ratio":
            return robust - vulnerable


def suspicion_of(score: Score, robust: Tensor, vulnerable: Tensor, levels: Tensor) -> Tensor:
    """Suspicion of any shape from log-densities of that shape and `levels_of` that broadcast to it."""
    match score:
        case "vulnerable":
            return vulnerable
        case "ratio":
            return vulnerable - robust
        case "joint":
            mean_r, std_r, mean_v, std_v = levels
            return torch.maximum((vulnerable - mean_v) / std_v, (mean_r - robust) / std_r)


def levels_of(robust: Tensor, vulnerable: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Benign mean and standard deviation of log P_r^ŷ, then of log P_v^ŷ, by predicted class: (4, C).

    Args:
        robust: log P_r^ŷ of benign images, (n,).
        vulnerable: log P_v^ŷ, (n,).
        labels: ŷ, int64 (n,).
        classes: C.
    """
    rows = []
    for values in (robust, vulnerable):
        mean = mean_by_label(values, labels, classes)
        spread = mean_by_label((values - mean[labels]).square(), labels, classes).sqrt()
        rows += [mean, spread.clamp_min(1e-3)]
    return torch.stack(rows)


def log_odds_against(logits: Tensor) -> Tensor:
    """log((1 − p_c) / p_c) for each class c, p being the softmax of the logits: (n, C) → (n, C).

    The suspicion of log-odds rejection. It orders images as p_ŷ does (Hendrycks and Gimpel 2017), and has a gradient
    where p_ŷ is near 1, too.

    Example:
        >>> print(log_odds_against(torch.tensor([[0.0, 0.0, 0.0]])).exp())
        tensor([[2., 2., 2.]])
    """
    return of_others(logits).logsumexp(-1) - logits


def of_others(logits: Tensor) -> Tensor:
    """For each class c the logits of the classes other than c: (n, C) → (n, C, C−1)."""
    return torch.stack([torch.cat([logits[:, :c], logits[:, c + 1 :]], 1) for c in range(logits.shape[1])], 1)
