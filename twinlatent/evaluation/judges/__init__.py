"""Judges, which never saw a detector: what an attacked image shows (C3)."""

from twinlatent.evaluation.judges.training import Judges, train_judges
from twinlatent.evaluation.judges.verdicts import benign_agreement, judge, own_accuracy, shows_true

__all__ = [
    "Judges",
    "benign_agreement",
    "judge",
    "own_accuracy",
    "shows_true",
    "train_judges",
]
