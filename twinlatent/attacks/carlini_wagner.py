"""CW-L2: the smallest perturbation that succeeds (Carlini and Wagner 2017, section VI-A)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Unpack

import torch
from torch import Tensor

from twinlatent.arguments import real, understood, whole
from twinlatent.attacks.attack import Attack, Found, RunOptions, run
from twinlatent.attacks.balls import IMAGE
from twinlatent.attacks.guides import gradient_of
from twinlatent.attacks.models import Attackable
from twinlatent.attacks.objectives import Margin, Objective
from twinlatent.attacks.results import AttackResult
from twinlatent.criteria import Aim, Criterion
from twinlatent.outputs import Model

BETA1, BETA2, TINY = 0.9, 0.999, 1e-8
"""Adam's, with its usual values; it is written out because images leave it one by one."""
INSIDE = 1 - 1e-6
"""What tanh may reach, so that w stays finite for black and white pixels."""
MARGIN_OF_W = 0.005
"""How far inside the box `approach` begins, in units of its width."""
NO_LIMIT = 1e10
"""c is raised tenfold until a search succeeded or it is as large as this."""
WINDOWS, STALLED = 10, 1e-4
"""With `abort_early` an image is left alone whose least loss fell by less than 0.01 % over a tenth of the steps."""


@dataclass(frozen=True)
class CarliniWagner(Attack):
    """Minimise ‖x' − x‖² − c·objective over w, x' = ½(tanh w + 1), by Adam, with c searched for each image.

    c is divided or raised as a binary search does: after a confident success it falls, else it rises. The confident
    success of least norm is kept; without any, the success of least norm; without that, the iterate of highest
    objective.

    Args:
        objective: by default −f(x') = min(max_{i≠y} Z_i − Z_y, κ).
        confidence: κ, at least 0: a success is confident if its margin is κ or more.
        steps: of Adam, for each c, at least 1.
        learning_rate: of Adam, above 0.
        initial_c: first c, above 0.
        searches: how many c are tried, at least 1.
        abort_early: leave an image alone, for this c, when its loss stops falling; faster, and now and then a little
            farther from the least norm.

    Raises:
        TwinlatentError: a setting is out of its range.
    """

    objective: Objective = Margin(0.0)
    confidence: float = 0.0
    steps: int = 200
    learning_rate: float = 0.05
    initial_c: float = 1.0
    searches: int = 6
    abort_early: bool = False

    def __post_init__(self) -> None:
        understood(
            self,
            confidence=real("confidence", self.confidence, least=0),
            steps=whole("steps", self.steps),
            learning_rate=real("learning_rate", self.learning_rate, above=0),
            initial_c=real("initial_c", self.initial_c, above=0),
            searches=whole("searches", self.searches),
        )

    def __call__(self, model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> Found:
        found = Found.nothing(images)
        c = images.new_full((len(images),), self.initial_c)
        low, high = torch.zeros_like(c), torch.full_like(c, NO_LIMIT)
        rows = torch.arange(len(images), device=images.device)
        for _ in range(self.searches):
            new = self._descend(model, images, aim, criterion, c)
            found = found.merged(new, rows)
            won = new.success & (new.rank > 0)
            high = torch.where(won, torch.minimum(high, c), high)
            low = torch.where(won, low, torch.maximum(low, c))
            c = torch.where(high < NO_LIMIT, (low + high) / 2, (c * 10).clamp_max(NO_LIMIT))
        return found

    def _descend(self, model: Model, images: Tensor, aim: Aim, criterion: Criterion, c: Tensor) -> Found:
        """Adam for one c an image."""
        found, rows = Found.nothing(images), torch.arange(len(images), device=images.device)
        centre, w = images, torch.atanh((2 * images - 1) * INSIDE)
        first, second = torch.zeros_like(w), torch.zeros_like(w)
        least = reference = torch.full_like(c, torch.finfo(c.dtype).max)
        for number in range(self.steps + 1):
            last = number == self.steps
            w.requires_grad_(not last)
            x = (torch.tanh(w) + 1) / 2
            squared, outputs = (x - centre).square().sum(IMAGE), model(x)
            value = self.objective(outputs, aim)
            loss = squared - c * value
            gradient = None if last else gradient_of(loss, w).nan_to_num(0, 0, 0)
            success, confident = criterion(outputs, aim), Margin()(outputs, aim) >= self.confidence
            small = 1 / (1 + squared)  # in (0, 1]
            rank = torch.where(success, torch.where(confident, small, small - 1), value)
            found = found.merged(Found.iterate(x, success, rank, gradient), rows)
            if gradient is None:
                break
            w, first, second = self._adam(w.detach(), gradient, first, second, number + 1)
            least = torch.minimum(least, loss.detach())
            if self.abort_early and (number + 1) % max(1, self.steps // WINDOWS) == 0:
                falling, reference = least < reference - STALLED * reference.abs(), least
                if not bool(falling.all()):
                    parts = (rows, centre, w, first, second, c, least, reference)
                    rows, centre, w, first, second, c, least, reference = (part[falling] for part in parts)
                    aim = aim[falling]
                    if not len(rows):
                        break
        return found

    def _adam(
        self, w: Tensor, gradient: Tensor, first: Tensor, second: Tensor, number: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """w, first and second moment after step `number`, counted from 1."""
        first = torch.lerp(first, gradient, 1 - BETA1)
        second = (BETA2 * second).addcmul_(gradient, gradient, value=1 - BETA2)
        size = self.learning_rate / (1 - BETA1**number)
        spread = (second / (1 - BETA2**number)).sqrt_().add_(TINY)
        return w.addcdiv(first, spread, value=-size), first, second


def approach(
    objective: Callable[[Tensor], Tensor], images: Tensor, *, c: float, steps: int, learning_rate: float,
    shares: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Minimise ‖x' − x‖² − c·objective by Adam on w and return the last iterate: the bare loop, as the game needs it.

    Pixels begin `MARGIN_OF_W` inside the box, so that black and white ones can move within few steps.

    Args:
        objective: images → one number an image, of the leading shape of `images`.
        images: (..., channels, H, W) in [0, 1]; any leading dimensions.
        c: weight of the objective.
        steps: of Adam.
        learning_rate: of Adam.
        shares: of each step that an image takes, of any shape that broadcasts to the images'; None: all of it.
    """
    start = torch.atanh((2 * images - 1) * (1 - 2 * MARGIN_OF_W))
    w = start.clone().requires_grad_()

    def reached() -> Tensor:
        return (torch.tanh(w if shares is None else start + shares * (w - start)) + 1) / 2

    optimiser = torch.optim.Adam([w], learning_rate)
    with torch.enable_grad():
        for _ in range(steps):
            x = reached()
            loss = (x - images).square().sum() - c * objective(x).sum()
            (w.grad,) = torch.autograd.grad(loss, w)
            optimiser.step()
    return reached().detach()


def carlini_wagner(
    model: Attackable,
    images: Tensor,
    labels: Tensor,
    *,
    confidence: float = 0.0,
    steps: int = 200,
    learning_rate: float = 0.05,
    initial_c: float = 1.0,
    searches: int = 6,
    objective: Objective | None = None,
    abort_early: bool = False,
    **options: Unpack[RunOptions],
) -> AttackResult:
    """CW-L2, the perturbation of least L2 norm that succeeds; see `CarliniWagner`.

    Args:
        model: an `nn.Module` or function, images → logits or `Outputs`.
        images: float (n, channels, H, W) in [0, 1].
        labels: int64 (n,), the true labels.
        confidence: κ, at least 0, in logits.
        steps: of Adam, for each c.
        learning_rate: of Adam.
        initial_c: first c.
        searches: how many c are tried for each image.
        objective: what to raise instead of the margin; None: `Margin(confidence)`.
        abort_early: leave an image alone, for this c, when its loss stops falling; see `CarliniWagner`.
        options: targets, criterion, seed and more, see `run`.
    """
    attack = CarliniWagner(objective or Margin(confidence), confidence, steps, learning_rate, initial_c, searches,
                           abort_early)  # fmt: skip
    return run(attack, model, images, labels, **options)
