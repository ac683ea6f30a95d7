"""Gradients where an image has none: averaged over points on the ways from an iterate to corners of its ball."""

from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from twinlatent.arguments import understood, whole
from twinlatent.attacks.attack import Attack, Found, seed_list
from twinlatent.attacks.balls import Ball, generator_of
from twinlatent.attacks.guides import Ascent, Guide
from twinlatent.attacks.steps import Step, accumulated
from twinlatent.criteria import Aim, Criterion
from twinlatent.outputs import Model

PARTS = (14, 9, 7, 5, 3)
"""A corner's sign is the same on squares of so many parts of the longer side; one after the other."""
CELLS = max(PARTS) + 1
"""Squares that may meet a row of an image."""
FAR = 1e3
"""A change that leads beyond any ball, to be projected on its edge."""


@dataclass(frozen=True)
class Probing(Attack):
    """Projected steps along the mean of normalised gradients at an iterate and at random points around it.

    Such a point lies on the way from the iterate to a corner of the ball, ±ε with one sign on every square of a random
    board. Where a model is flat at an image, because small changes are cut off or no unit is awake, it seldom is all
    the way to a corner, and single pixels of noise would wake nothing. Points that meet the criterion count, too; an
    image is left alone after that. Steps shrink linearly to nothing.

    Args:
        ball: where the perturbed images may lie.
        step: how gradients become steps.
        steps: how many, at least 1.
        probes: gradients of each, that of the iterate being the first, at least 1.
        guide: where to go.

    Raises:
        TwinlatentError: less than one step or probe.
    """

    ball: Ball
    step: Step
    steps: int
    probes: int = 4
    guide: Guide = Ascent()

    def __post_init__(self) -> None:
        understood(self, steps=whole("steps", self.steps), probes=whole("probes", self.probes))

    def __call__(self, model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> Found:
        found, rows = Found.nothing(images), torch.arange(len(images), device=images.device)
        around = self.probes - 1
        boards = _Boards.drawn(aim, images, self.steps * around)
        centre, x, momentum = images, images, torch.zeros_like(images)
        for number in range(self.steps):
            total = torch.zeros_like(x)
            for probe in range(self.probes):
                at = x
                if probe:
                    signs, share = boards.board(number * around + probe - 1)
                    at = torch.lerp(x, self.ball.project(centre + FAR * signs[rows], centre), share[rows])
                    at = self.ball.project(at, centre)
                at = at.detach().requires_grad_()
                outputs = model(at)
                rank, gradient = self.guide.gradient(at, outputs, aim)
                gradient = gradient.nan_to_num(0, 0, 0)
                found = found.merged(Found.iterate(at, criterion(outputs, aim), rank, gradient), rows)
                total = accumulated(gradient, total, 1.0)
            left = ~found.success[rows]
            rows, x, centre, momentum, total = (part[left] for part in (rows, x, centre, momentum, total))
            aim = aim[left]
            if not len(rows):
                return found
            direction, momentum = self.step.direction(total, momentum)
            x = self.ball.project(torch.add(x, direction, alpha=1 - number / self.steps), centre)
        outputs = model(x)
        return found.merged(Found.iterate(x, criterion(outputs, aim), self.guide.rank(outputs, aim)), rows)


@dataclass(frozen=True, eq=False)
class _Boards:
    """Random boards of signs for n images, and how far the way to each goes.

    Attributes:
        cells: (n, count, channels, CELLS, CELLS), the sign of each square.
        places: (n, count, 3) in [0, 1): where a board begins, as a share of a square; how far to go.
        height, width: of the images.
    """

    cells: Tensor
    places: Tensor
    height: int
    width: int

    @classmethod
    def drawn(cls, aim: Aim, images: Tensor, count: int) -> "_Boards":
        """From each image's own seed."""
        channels, height, width = images.shape[1:]
        drawn = []
        for generator in map(generator_of, seed_list(aim)):
            cells = torch.rand(count, channels, CELLS, CELLS, generator=generator, dtype=torch.float32)
            drawn.append(((cells - 0.5).sign(), torch.rand(count, 3, generator=generator, dtype=torch.float32)))
        cells, places = (torch.stack(parts).to(images) for parts in zip(*drawn, strict=True))
        return cls(cells, places, height, width)

    def board(self, number: int) -> tuple[Tensor, Tensor]:
        """±1 for each pixel (n, channels, height, width), and how far to go (n, 1, 1, 1)."""
        side = ceil(max(self.height, self.width) / PARTS[number % len(PARTS)])
        cells, (top, left, share) = self.cells[:, number], self.places[:, number].T
        row, column = (
            (torch.arange(size, device=cells.device) + (start * side).floor()[:, None]).long() // side
            for start, size in ((top, self.height), (left, self.width))
        )
        image = torch.arange(len(cells), device=cells.device)[:, None, None]
        signs = cells.transpose(1, 2).transpose(2, 3)[image, row[:, :, None], column[:, None, :]]
        return signs.movedim(-1, 1), share[:, None, None, None]
