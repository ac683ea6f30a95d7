"""A classifier and a detector whose least successful perturbation is known in closed form."""

from math import log, pi, prod
from typing import Literal, Self

import torch
from torch import Tensor, nn

from twinlatent.data.split import seeded
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Bounds, Outputs
from twinlatent.torch_state import fresh_torch

Shape = tuple[int, int, int]
"""(channels, H, W) of one image."""
Norm = Literal["linf", "l2"]
LOG_2PI = log(2 * pi)
FPR = 0.05
"""Under this rate the toy detectors' thresholds are kept; none of their own samples exceeds them."""


class LinearClassifier(nn.Module):
    """Logits W·x + b; the least perturbation that changes the label y has norm min_j (z_y − z_j) / ‖w_y − w_j‖*.

    ‖·‖* is the dual norm: ‖·‖₁ for L∞, ‖·‖₂ for L2.

    Args:
        weight: (C, pixels), W, pixels being channels · H · W.
        bias: (C,), b.
        shape: (channels, H, W) of the images.

    Raises:
        TwinlatentError: the shapes do not go together.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, shape: Shape = (1, 8, 8)) -> None:
        super().__init__()
        if weight.ndim != 2 or weight.shape[1] != prod(shape) or bias.shape != weight.shape[:1]:
            raise TwinlatentError(f"weight {tuple(weight.shape)} and bias {tuple(bias.shape)} do not go with images of "
                                  f"shape {shape}; give (C, {prod(shape)}) and (C,)")  # fmt: skip
        self.weight, self.bias, self.shape = nn.Parameter(weight), nn.Parameter(bias), shape

    @classmethod
    @fresh_torch()
    def random(cls, shape: Shape = (1, 8, 8), classes: int = 2, seed: int = 0) -> Self:
        """Orthogonal rows of length 10, and a bias that makes the grey image 0.5 a tie.

        Raises:
            TwinlatentError: fewer than 2 classes, or more than pixels.
        """
        if not 2 <= classes <= prod(shape):
            raise TwinlatentError(f"classes is {classes}; give 2 to {prod(shape)}, the number of pixels")
        weight = 10 * torch.linalg.qr(torch.randn(prod(shape), classes, generator=seeded(seed)))[0].T
        return cls(weight, -weight.sum(1) / 2, shape)

    @fresh_torch()
    def samples(self, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Images (count, channels, H, W) near the middle of the box, and their labels 0, 1, ..., 0, 1, ...

        Made for a model of `random`: it reads them rightly, and the least perturbations stay inside the box.
        """
        labels = torch.arange(count) % len(self.bias)
        noise = 0.04 * (2 * torch.rand(count, prod(self.shape), generator=seeded(seed)) - 1)
        own = self.weight.detach()[labels]
        return (0.5 + noise + 0.3 * own / own.norm(dim=1, keepdim=True)).unflatten(1, self.shape), labels

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, C) of images (n, channels, H, W)."""
        return images.flatten(1) @ self.weight.T + self.bias

    @torch.no_grad()
    def optimal_radius(self, images: Tensor, labels: Tensor, norm: Norm) -> Tensor:
        """The least norm of a perturbation after which the label is a tie, (n,), the box [0, 1] being ignored.

        Args:
            images: (n, channels, H, W).
            labels: int64 (n,), the true labels; 0 is the answer for an image that is misclassified.
            norm: `linf` or `l2`.

        Raises:
            TwinlatentError: another norm.
        """
        logits, slopes = self(images), self.weight[labels][:, None] - self.weight
        gaps = logits.gather(1, labels[:, None]) - logits
        return _least(gaps / _dual(slopes, norm), labels)


class GaussianDetector(nn.Module):
    """Each class reads pixels of its own: a robust feature r_c and a vulnerable one v_c, near 0 for benign images of c.

    r_c = a_c·(x − ½) + 1 and v_c = e_c·(x − ½) + 1. Logits and robust log-densities are log N(r_c), the suspicion is
    −log N(v_c), and an image is flagged where |v_ŷ| exceeds the limit of ŷ. To be misclassified as j and not flagged
    costs

        R_j = (|r_j| − |r_y|) / ‖(a_j, a_y)‖*  and  V_j = (|v_j| − limit_j) / ‖e_j‖*,

    in different pixels, so max(R_j, V_j) in L∞ and √(R_j² + V_j²) in L2; ‖·‖* is the dual norm.

    Args:
        robust: (C, pixels), a, rows with disjoint support.
        vulnerable: (C, pixels), e, rows with disjoint support, disjoint from a's too.
        limits: (C,), above 0.
        shape: (channels, H, W) of the images.

    Raises:
        TwinlatentError: the shapes do not go together, or two features read the same pixel.
    """

    robust: Tensor
    vulnerable: Tensor
    limits: Tensor

    def __init__(self, robust: Tensor, vulnerable: Tensor, limits: Tensor, shape: Shape = (1, 8, 8)) -> None:
        super().__init__()
        if robust.shape != (len(limits), prod(shape)) or vulnerable.shape != robust.shape:
            raise TwinlatentError(f"features {tuple(robust.shape)} and {tuple(vulnerable.shape)} do not go with "
                                  f"{len(limits)} limits and images of shape {shape}")  # fmt: skip
        if int((torch.cat([robust, vulnerable]) != 0).sum(0).max()) > 1:
            raise TwinlatentError("two features read the same pixel; let each row have pixels of its own")
        self.robust, self.vulnerable, self.shape = nn.Parameter(robust), nn.Parameter(vulnerable), shape
        self.register_buffer("limits", limits)

    @classmethod
    @fresh_torch()
    def random(cls, shape: Shape = (1, 8, 8), classes: int = 2, seed: int = 0) -> Self:
        """Features with ‖a_c‖₁ = ‖e_c‖₁ = 4 over equally many pixels each, and limits between 0.3 and 0.6.

        Raises:
            TwinlatentError: fewer than 2 classes, or fewer than 4 pixels a feature.
        """
        size, generator = prod(shape) // max(2 * classes, 1), seeded(seed)
        if classes < 2 or size < 4:
            raise TwinlatentError(f"classes is {classes}; give 2 to {prod(shape) // 8} for images of shape {shape}")
        places = torch.randperm(prod(shape), generator=generator)[: 2 * classes * size].reshape(2 * classes, size)
        values = 0.5 + 0.5 * torch.rand(2 * classes, size, generator=generator)
        signs = 2.0 * torch.randint(2, values.shape, generator=generator) - 1
        features = torch.zeros(2 * classes, prod(shape))
        features.scatter_(1, places, 4 * signs * values / values.sum(1, keepdim=True))
        limits = 0.3 + 0.3 * torch.rand(classes, generator=generator)
        return cls(features[:classes], features[classes:], limits, shape)

    @fresh_torch()
    def samples(self, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Benign images (count, channels, H, W) and their labels 0, 1, ..., 0, 1, ...

        Made for a model of `random`: r_y and v_y are uniform in ±0.2, the features of all other classes about 1, none
        is misclassified or flagged, and the least perturbations stay inside the box.
        """
        labels, generator = torch.arange(count) % len(self.limits), seeded(seed)
        images = 0.5 + 0.02 * (2 * torch.rand(count, prod(self.shape), generator=generator) - 1)
        for features in (self.robust, self.vulnerable):
            own = features.detach()[labels]
            moved = 0.25 * (1 + 0.2 * (2 * torch.rand(count, 1, generator=generator) - 1))
            images = torch.where(own == 0, images, 0.5 - moved * own.sign())
        return images.unflatten(1, self.shape), labels

    def forward(self, images: Tensor) -> Outputs:
        """Outputs for images (n, channels, H, W); the latents are (r_c, v_c)."""
        centred = images.flatten(1) - 0.5
        r, v = centred @ self.robust.T + 1, centred @ self.vulnerable.T + 1
        robust, suspicion = -(r.square() + LOG_2PI) / 2, (v.square() + LOG_2PI) / 2
        return Outputs(robust, suspicion, robust, torch.stack([r, v], 2))

    @fresh_torch()
    def bounds(self) -> Bounds:
        """The exact means over `samples`, and the thresholds ½ limit² + ½ log 2π under the rate 0.05."""
        ones = torch.ones_like(self.limits)
        mean = (0.2**2 / 3 + LOG_2PI) / 2
        return Bounds(mean * ones, -mean * ones, {FPR: (self.limits.square() + LOG_2PI) / 2})

    @torch.no_grad()
    def optimal_radius(self, images: Tensor, labels: Tensor, norm: Norm) -> Tensor:
        """The least norm of a perturbation to be misclassified and not flagged, (n,), the box [0, 1] being ignored.

        Exact where no |r_k| of a third class is in the way, as for `samples`; else a lower bound.

        Args:
            images: (n, channels, H, W).
            labels: int64 (n,), the true labels.
            norm: `linf` or `l2`.

        Raises:
            TwinlatentError: another norm.
        """
        latents = self(images).latents
        assert latents is not None
        r, v = latents.abs().unbind(2)
        reach = _dual(self.robust[labels][:, None] + self.robust, norm)  # disjoint: the norm of both together
        misclassified = ((r - r.gather(1, labels[:, None])) / reach).clamp_min(0)
        passed = ((v - self.limits) / _dual(self.vulnerable, norm)).clamp_min(0)
        return _least(
            torch.maximum(misclassified, passed) if norm == "linf" else torch.hypot(misclassified, passed), labels
        )


def _dual(slopes: Tensor, norm: Norm) -> Tensor:
    """The dual norm over the last dimension."""
    orders = {"linf": 1, "l2": 2}
    if norm not in orders:
        raise TwinlatentError(f"norm {norm!r} is unknown; choose linf or l2")
    found: Tensor = torch.linalg.vector_norm(slopes, orders[norm], dim=-1)
    return found


def _least(radii: Tensor, labels: Tensor) -> Tensor:
    """The least of (n, C) over the wrong classes, at least 0."""
    return radii.scatter(1, labels[:, None], torch.inf).amin(1).clamp_min(0)
