"""Attacks that do not know the detector: on substitute classifiers of the attacker's own."""

from twinlatent.evaluation.black_box.detection import BLACK_BOX, area, at_epsilon, evaluate_blackbox, model_card
from twinlatent.evaluation.black_box.substitutes import (
    BATCH,
    SUBSTITUTES,
    Substitute,
    attack_substitute,
    train_substitute,
)

__all__ = [
    "BATCH",
    "BLACK_BOX",
    "SUBSTITUTES",
    "Substitute",
    "area",
    "at_epsilon",
    "attack_substitute",
    "evaluate_blackbox",
    "model_card",
    "train_substitute",
]
