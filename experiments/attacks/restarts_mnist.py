"""Two attacks that won selection images of `mnist-robust` at ε .4 which the suite `thorough` had left.

twinlatent attack mnist-robust --suite thorough --epsilon .4 --images 1000 --remaining-only --unproved-only \\
    --attacks experiments/attacks/restarts_mnist.py:attacks

Ascent on the score of every wrong class, and Square with 1,000 queries for each of three, past the thresholds for 5 %;
both from five starts. scripts/break_detector.py has them among others.
"""

import twinlatent as tl
from twinlatent.attacks import (
    Ascent,
    Attack,
    Bypass,
    EveryTarget,
    Iterative,
    LInf,
    Margin,
    Restarts,
    SignStep,
    Square,
    Suspicion,
)

detector = tl.load("mnist-robust")
assert isinstance(detector, tl.Detector)
LEVEL = detector.bounds(0.05).thresholds[0.05]


def score_restarts(epsilon: float) -> Attack:
    """By gradients of the score alone."""
    guide = Ascent(-1.0 * Suspicion("target"))
    steps = Iterative(LInf(epsilon), SignStep(epsilon / 10, 0.75), 100, guide, True, shrink=True, early_stop=True)
    return Restarts(EveryTarget(steps), 5)


def square_restarts(epsilon: float) -> Attack:
    """Without gradients."""
    shortfall = Margin(0.0) + Bypass(LEVEL, at="target")
    return Restarts(EveryTarget(Square(epsilon, 1000, shortfall), 3), 5)


attacks = {"score-restarts": score_restarts, "square-restarts": square_restarts}
