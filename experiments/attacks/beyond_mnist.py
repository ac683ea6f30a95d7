"""Attacks on MNIST that no suite has: from other people's robust classifiers, and by decisions alone.

TWINLATENT_DATA=/data python scripts/break_detector.py mnist-robust \\
    --attacks experiments/attacks/beyond_mnist.py:attacks

Transfer: images that fool `pgd_madry` or `trades` (examples/classifiers/strangers.py), towards every wrong class.
HopSkipJump (Chen et al. 2020; of foolbox, the extra `bridges`) is told nothing but whether an image is misclassified
and not flagged; it begins at the nearest training image that is.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import twinlatent as tl
from twinlatent.attacks import Ascent, Attack, EveryTarget, Iterative, LInf, Margin, SignStep, Transfer
from twinlatent.loading import built, load_object

STRANGERS = Path(__file__).resolve().parents[2] / "examples" / "classifiers" / "strangers.py"
STARTS = 5000


def transferred(name: str, epsilon: float) -> Attack:
    """From a stranger's classifier."""
    text = f"{STRANGERS}:{name}"
    there = Iterative(LInf(epsilon), SignStep(epsilon / 10, 0.75), 100, Ascent(Margin()), True, shrink=True)
    return EveryTarget(Transfer(built(load_object(text), text), there))


def hop_skip_jump(epsilon: float) -> Attack:
    """By decisions; the radius is only where a success counts, the attack itself wants the smallest one."""
    from eagerpy import astensor
    from foolbox.attacks import HopSkipJumpAttack
    from foolbox.attacks.base import MinimizationAttack

    class Nearest(MinimizationAttack):  # type: ignore[misc]
        """The nearest training image that is a success already."""

        distance = None

        def run(self, model: Any, inputs: Any, criterion: Any, **_: Any) -> Any:
            starts: Tensor = tl.data.load("mnist", progress=False).train.images[:STARTS]
            label = int(criterion.labels.raw[0])  # the same of all images, see `tl.bridges`
            won = torch.cat([model(some) for some in starts.split(500)]).argmax(1) != label
            far = (inputs.raw[:, None] - starts[won][None]).abs().flatten(2).amax(2)
            return astensor(starts[won][far.argmin(1)])

    made = tl.bridges.foolbox(HopSkipJumpAttack, {"init_attack": Nearest(), "steps": 30, "constraint": "linf"})
    return made(epsilon)


attacks = {
    "transfer-pgd_madry": lambda epsilon: transferred("pgd_madry", epsilon),
    "transfer-trades": lambda epsilon: transferred("trades", epsilon),
    "hop-skip-jump": hop_skip_jump,
}
