"""Defences that only look strong: each deceives attacks of one kind and falls to others."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from twinlatent.data.split import seeded
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Bounds, Outputs
from twinlatent.testing.closed_form import FPR
from twinlatent.torch_state import fresh_torch


class TradeOffDetector(nn.Module):
    """Two classes, and a detector that sign steps pass only with a weight γ of the bypass term in a known range.

    A and B are the mean changes of the left and right half from grey, 0.5. The log-odds of class 1 are high·(A + B − m)
    and the suspicion, of either class, is q·A + B, q = high / low, with benign mean 0 and threshold (q + 1)·m/4. So A
    pays for γ < low and B for γ < high. Steps of sign(∇(log-odds − γ·max(0, suspicion))) from `samples` in the L∞ ball
    of radius `epsilon`, m = epsilon·(1 − 1/q)/2, lead

    * for γ < low to the corner A = B = epsilon: misclassified, flagged ever since,
    * for low < γ < high to B = epsilon, A ≈ −epsilon/q: misclassified, not flagged,
    * for γ > high to A ≈ B ≈ 0: not misclassified.

    Args:
        low: least γ that works, above 0.
        high: largest γ that works, above `low`.
        epsilon: radius, in (0, 0.4]; steps should be a twentieth or less.

    Raises:
        TwinlatentError: one of them is out of its range.
    """

    def __init__(self, low: float = 20.0, high: float = 60.0, epsilon: float = 0.2) -> None:
        super().__init__()
        if not (0 < low < high and 0 < epsilon <= 0.4):
            raise TwinlatentError(f"γ from {low} to {high} and epsilon {epsilon}: give 0 < low < high and an epsilon "
                                  "of 0.4 at most")  # fmt: skip
        self.low, self.high, self.epsilon = low, high, epsilon

    @fresh_torch()
    def samples(self, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Images (count, 1, 4, 4) with A = B = 0, and their labels, 0 all."""
        noise = 0.1 * torch.rand(count, 1, 4, 2, 2, generator=seeded(seed))  # ..., half, column
        noise = noise - noise.mean((2, 4), keepdim=True)
        return (0.5 + noise).flatten(3), torch.zeros(count, dtype=torch.int64)

    def forward(self, images: Tensor) -> Outputs:
        """Outputs for images (n, channels, H, W) of even width."""
        left, right = ((half - 0.5).mean((1, 2, 3)) for half in images.chunk(2, 3))
        odds = self.high * (left + right - self._needed)
        suspicion = self.high / self.low * left + right
        return Outputs(torch.stack([torch.zeros_like(odds), odds], 1), suspicion[:, None].expand(-1, 2))

    @fresh_torch()
    def bounds(self) -> Bounds:
        """The benign mean 0, and the threshold (q + 1)·m/4 under the rate 0.05."""
        threshold = (self.high / self.low + 1) * self._needed / 4
        return Bounds(torch.zeros(2), None, {FPR: torch.full((2,), threshold)})

    @property
    def _needed(self) -> float:
        return self.epsilon * (1 - self.low / self.high) / 2


class Honeypot(nn.Module):
    """Two classes, and a decoy: a way to be misclassified that gradients lead to, and that is flagged.

    A and B are the mean changes of the left and right half from grey, 0.5. The log-odds of class 1 are
    4·max(|A| − 0.3 ε, B − 0.4 ε); the suspicion, of either class, is |A|, with the threshold 0.15 ε. Where |A| leads,
    B − |A| < 0.1 ε, the log-odds do not depend on B: gradients lead along A alone, and misclassified is flagged
    there. Yet a bright right half is misclassified and not flagged. A search without gradients finds it, and so do
    some of the random starts, which begin where B leads.

    Args:
        epsilon: radius of the L∞ ball for which that is so, in (0, 0.4].

    Raises:
        TwinlatentError: it is out of its range.
    """

    def __init__(self, epsilon: float = 0.2) -> None:
        super().__init__()
        if not 0 < epsilon <= 0.4:
            raise TwinlatentError(f"epsilon is {epsilon}; give a number above 0, of 0.4 at most")
        self.epsilon = epsilon

    @fresh_torch()
    def samples(self, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Images (count, 1, 4, 4) with A and B within ±0.05 ε, and their labels, 0 all."""
        noise = 0.1 * self.epsilon * (torch.rand(count, 1, 4, 4, generator=seeded(seed)) - 0.5)
        return 0.5 + noise, torch.zeros(count, dtype=torch.int64)

    def forward(self, images: Tensor) -> Outputs:
        """Outputs for images (n, channels, H, W) of even width."""
        left, right = ((half - 0.5).mean((1, 2, 3)) for half in images.chunk(2, 3))
        odds = 4 * torch.maximum(left.abs() - 0.3 * self.epsilon, right - 0.4 * self.epsilon)
        return Outputs(torch.stack([torch.zeros_like(odds), odds], 1), left.abs()[:, None].expand(-1, 2))

    @fresh_torch()
    def bounds(self) -> Bounds:
        """The threshold 0.15 ε under the rate 0.05; half of it stands for the benign mean."""
        threshold = torch.full((2,), 0.15 * self.epsilon)
        return Bounds(threshold / 2, None, {FPR: threshold})


class Quantised(nn.Module):
    """A model that sees images rounded to a few grey levels: its gradient is zero everywhere, its answers are not.

    Args:
        model: images → logits or `Outputs`.
        levels: how many, at least 2.

    Raises:
        TwinlatentError: fewer than 2 levels.
    """

    def __init__(self, model: Callable[[Tensor], Tensor | Outputs], levels: int = 32) -> None:
        super().__init__()
        if levels < 2:
            raise TwinlatentError(f"levels is {levels}; give at least 2")
        self.model, self.levels = model, levels

    def rounded(self, images: Tensor) -> Tensor:
        """What the model sees."""
        return (images * (self.levels - 1)).round() / (self.levels - 1)

    def forward(self, images: Tensor) -> Tensor | Outputs:
        """Answers for rounded images."""
        return self.model(self.rounded(images))


class Noisy(nn.Module):
    """A model that sees images with normal noise, drawn anew at each call from torch's global random state.

    Args:
        model: images → logits or `Outputs`.
        deviation: of the noise, at least 0.

    Raises:
        TwinlatentError: a negative deviation.
    """

    def __init__(self, model: Callable[[Tensor], Tensor | Outputs], deviation: float = 0.1) -> None:
        super().__init__()
        if not deviation >= 0:
            raise TwinlatentError(f"deviation is {deviation}; give at least 0")
        self.model, self.deviation = model, deviation

    def forward(self, images: Tensor) -> Tensor | Outputs:
        """Answers for noisy images."""
        return self.model(images + self.deviation * torch.randn_like(images))
