"""What trained encoders say of benign images: their means by class, and their log-densities under every label rule.

Letters: n images, C classes, Z latents, ŷ the predicted label, μ_r the encoders' robust means.
"""

from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from twinlatent.data import LabelledImages
from twinlatent.method.calibrated import CHUNK, chunks
from twinlatent.method.class_vaes import ClassEncoders
from twinlatent.method.densities import log_standard_normal
from twinlatent.method.scores import LabelRule, label_logits
from twinlatent.outputs import at_label


@dataclass(frozen=True)
class BenignTable:
    """Calibration images under one label rule.

    Attributes:
        labels: int64 (n,), predicted.
        robust: float32 (n,), log P_r^ŷ.
        vulnerable: float32 (n,), log P_v^ŷ, with what a binary detector adds.
    """

    labels: Tensor
    robust: Tensor
    vulnerable: Tensor


@torch.no_grad()
def benign_tables(encoders: ClassEncoders, class_means: Tensor, images: Tensor) -> dict[LabelRule, BenignTable]:
    """Benign images under every label rule.

    Args:
        encoders: trained.
        class_means: m_c, (C, Z).
        images: (n, channels, H, W) in [0, 1].
    """
    robust, vulnerable, means, added = _encode(encoders, images, class_means.device)
    tables: dict[LabelRule, BenignTable] = {}
    for rule in get_args(LabelRule):
        labels = label_logits(rule, robust, vulnerable, means, class_means.cpu()).argmax(1)
        tables[rule] = BenignTable(labels, at_label(robust, labels), at_label(vulnerable, labels) + added)
    return tables


def _encode(encoders: ClassEncoders, images: Tensor, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """log P_r (n, C), log P_v (n, C), μ_r (C, n, Z) and what is added to log P_v (n,) of images, on the CPU, computed
    exactly as `detect` does."""
    robust, vulnerable, means, added = [], [], [], []
    for n, chunk in chunks(images):
        latents = encoders(chunk.to(device))
        robust.append(log_standard_normal(latents.robust.mean).T[:n].cpu())
        vulnerable.append(log_standard_normal(latents.vulnerable.mean).T[:n].cpu())
        means.append(latents.robust.mean[:, :n].cpu())
        added.append(encoders.attacked(chunk.to(device))[:n].cpu())
    return torch.cat(robust), torch.cat(vulnerable), torch.cat(means, 1), torch.cat(added)


def class_means_of(encoders: ClassEncoders, train: LabelledImages) -> Tensor:
    """m_c, (C, Z): mean of μ_r^c over the training images of class c."""
    classes = encoders.classes
    device = next(encoders.parameters()).device
    sums, counts = torch.zeros(classes, encoders.robust_size, device=device), torch.zeros(classes, device=device)
    for images, labels in zip(train.images.split(8 * CHUNK), train.labels.split(8 * CHUNK), strict=True):
        own, mine = labels.to(device), encoders(images.to(device)).robust.mean
        sums.index_add_(0, own, mine[own, torch.arange(len(own), device=device)])
        counts.index_add_(0, own, torch.ones_like(own, dtype=counts.dtype))
    return sums / counts.clamp_min(1)[:, None]
