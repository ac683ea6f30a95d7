"""Attacks that know there is a detector: two gradients that take turns, and every wrong class as a target."""

from typing import Unpack

from torch import Tensor

from twinlatent.attacks.attack import RunOptions, run
from twinlatent.attacks.balls import Norm, ball_of
from twinlatent.attacks.guides import Ascent, Guide, Orthogonal, Selective
from twinlatent.attacks.iterative import Iterative
from twinlatent.attacks.models import Attackable
from twinlatent.attacks.objectives import LogOdds, Objective, Suspicion
from twinlatent.attacks.results import AttackResult
from twinlatent.attacks.search import EveryTarget, Restarts
from twinlatent.attacks.steps import step_in

QUIETER = -1.0 * Suspicion()
"""Less suspicion of the predicted class, without end."""


def selective_pgd(
    model: Attackable,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    step_size: float = 0.01,
    steps: int = 100,
    evade: Objective = QUIETER,
    classify: Objective = LogOdds(),
    norm: Norm = "linf",
    restarts: int = 1,
    early_stop: bool | None = None,
    **options: Unpack[RunOptions],
) -> AttackResult:
    """PGD that raises `classify` until an image is misclassified and `evade` while it is (Bryniarski et al. 2021).

    With a `criterion` that knows the threshold, such as `Misclassified() & Undetected(bounds)`, an image is left alone
    after its first success; without one the least suspicious misclassified image is sought to the end (`early_stop`
    says otherwise). Other arguments as in `pgd`.
    """
    return _taking_turns(Selective(evade, classify), model, images, labels, epsilon, step_size, steps, norm, restarts,
                       early_stop, options)  # fmt: skip


def orthogonal_pgd(
    model: Attackable,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    step_size: float = 0.01,
    steps: int = 100,
    evade: Objective = QUIETER,
    classify: Objective = LogOdds(),
    norm: Norm = "linf",
    restarts: int = 1,
    early_stop: bool | None = None,
    **options: Unpack[RunOptions],
) -> AttackResult:
    """As `selective_pgd`, with the other objective's gradient projected out of each gradient (Bryniarski et al. 2021).

    The sign that L∞ takes afterwards makes the step itself orthogonal only roughly.
    """
    return _taking_turns(Orthogonal(evade, classify), model, images, labels, epsilon, step_size, steps, norm, restarts,
                       early_stop, options)  # fmt: skip


def multi_targeted(
    model: Attackable,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    step_size: float = 0.01,
    steps: int = 100,
    decay: float = 0.75,
    objective: Objective = LogOdds(),
    norm: Norm = "linf",
    targets_per_image: int | None = None,
    **options: Unpack[RunOptions],
) -> AttackResult:
    """MIM towards every wrong class, the likeliest first, until one succeeds (after Gowal et al. 2019).

    Args:
        model: an `nn.Module` or function, images → logits or `Outputs`.
        images: float (n, channels, H, W) in [0, 1].
        labels: int64 (n,), the true labels.
        epsilon: radius, at least 0.
        step_size: at the start; it falls to nothing over the steps.
        steps: towards each class.
        decay: of the momentum.
        objective: what to raise; it sees the target.
        norm: of the ball.
        targets_per_image: only so many of the likeliest wrong classes; None: all.
        options: criterion, seed and more, see `run`; the default criterion is `Misclassified`.
    """
    ball = ball_of(norm, epsilon)
    attack = Iterative(ball, step_in(ball, step_size, decay), steps, Ascent(objective), shrink=True, early_stop=True)
    return run(EveryTarget(attack, targets_per_image), model, images, labels, **options)


def _taking_turns(
    guide: Guide,
    model: Attackable,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    step_size: float,
    steps: int,
    norm: Norm,
    restarts: int,
    early_stop: bool | None,
    options: RunOptions,
) -> AttackResult:
    ball = ball_of(norm, epsilon)
    stop = options.get("criterion") is not None if early_stop is None else early_stop
    attack = Iterative(ball, step_in(ball, step_size), steps, guide, True, early_stop=stop)
    return run(Restarts(attack, restarts), model, images, labels, **options)
