"""What the checks of an evaluation ask and attack themselves: a few images, a few attacks of their own."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from twinlatent.attacks.attack import Attack, run
from twinlatent.attacks.balls import Ball, LInf, Norm, ball_of
from twinlatent.attacks.guides import Ascent, Guide, Selective, gradient_of
from twinlatent.attacks.iterative import Iterative
from twinlatent.attacks.models import Attackable, as_model, frozen
from twinlatent.attacks.objectives import Margin, Objective, RobustDensity, Suspicion
from twinlatent.attacks.search import Restarts
from twinlatent.attacks.steps import step_in
from twinlatent.attacks.suites import STEPS
from twinlatent.criteria import Aim, Misclassified, Undetected
from twinlatent.outputs import Bounds, Outputs
from twinlatent.torch_state import own_random_state

RESTARTS = 3


@dataclass(frozen=True)
class Probe:
    """What the checks ask and attack themselves.

    Attributes:
        model: as in `attacks.run`.
        images: (n, channels, H, W) in [0, 1].
        labels: int64 (n,), true labels.
        bounds: with the threshold of `fpr`.
        fpr: false-positive rate at which an image must pass.
        norm, epsilon: of the ball.
        steps: of an attack, before they are doubled.
        seed: of random starts.
    """

    model: Attackable
    images: Tensor
    labels: Tensor
    bounds: Bounds
    fpr: float = 0.05
    norm: Norm = "linf"
    epsilon: float = 0.3
    steps: int = STEPS["standard"]
    seed: int = 0


@dataclass(frozen=True)
class Slope:
    """A term of an objective at n images: its value (n,) and its gradient (n, pixels)."""

    value: Tensor
    gradient: Tensor


def slopes(probe: Probe) -> dict[str, Slope]:
    """Each term of the attacks' objectives at the images as they are, by name."""
    terms: dict[str, Objective] = {"Margin": Margin(), "Suspicion": Suspicion()}
    with frozen(probe.model), own_random_state(probe.images.device, probe.seed), torch.enable_grad():
        x, found = probe.images.clone().requires_grad_(), {}
        outputs = as_model(probe.model)(x)
        for name, term in (terms if outputs.robust is None else terms | {"RobustDensity": RobustDensity()}).items():
            value = term(outputs, Aim(probe.labels))
            gradient = gradient_of(value, x, keep=True) if value.requires_grad else torch.zeros_like(x)
            found[name] = Slope(value.detach().cpu(), gradient.flatten(1).cpu())
    return found


def unbounded_attacks(probe: Probe) -> tuple[Tensor, Tensor]:
    """In the whole box: the images that can be misclassified, and those misclassified and not flagged, bool (n,)."""
    plain = run(_momentum(probe, LInf(1.0), Ascent()), probe.model, probe.images, probe.labels, seed=probe.seed)
    return plain.success.cpu(), _won(probe, _momentum(probe, LInf(1.0), _quieter()))


def more_effort(probe: Probe, lost: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of the images that a suite lost, bool (n,): `lost` itself, what twice the steps win, what restarts win."""
    doubled, restarted = torch.zeros_like(lost), torch.zeros_like(lost)
    if lost.any():
        rows, ball = lost.to(probe.images.device), ball_of(probe.norm, probe.epsilon)
        rest = replace(probe, images=probe.images[rows], labels=probe.labels[rows])
        doubled[lost] = _won(rest, _momentum(replace(rest, steps=2 * rest.steps), ball, _quieter()))
        restarted[lost] = _won(rest, Restarts(_momentum(rest, ball, _quieter(), random_start=True), RESTARTS))
    return lost, doubled, restarted


def _quieter() -> Guide:
    return Selective(-1.0 * Suspicion())


def _momentum(probe: Probe, ball: Ball, guide: Guide, *, random_start: bool = False) -> Iterative:
    step = step_in(ball, ball.epsilon * max(0.1, 4 / probe.steps), 0.75)
    return Iterative(ball, step, probe.steps, guide, random_start, shrink=True, early_stop=True)


def _won(probe: Probe, attack: Attack) -> Tensor:
    """Images that the attack gets misclassified and not flagged, bool (n,)."""
    criterion = Misclassified() & Undetected(probe.bounds, probe.fpr)
    return run(attack, probe.model, probe.images, probe.labels, criterion=criterion, seed=probe.seed).success.cpu()


@torch.no_grad()
def repeated(probe: Probe) -> tuple[Outputs, Outputs, Outputs]:
    """Answers for all images, the same once more, and those for each image alone."""
    model, images = as_model(probe.model), probe.images
    with frozen(probe.model), own_random_state(images.device, probe.seed):
        first, second, single = model(images), model(images), [model(image[None]) for image in images]
    return first, second, Outputs(torch.cat([a.logits for a in single]), torch.cat([a.suspicion for a in single]))
