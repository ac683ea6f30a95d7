"""Who is attacked, at which points, on which images."""

from twinlatent.evaluation.protocol.answering import Judgeable
from twinlatent.evaluation.protocol.foreign import detector_of
from twinlatent.evaluation.protocol.own_attacks import (
    OwnAttack,
    at_radius,
    checked_attacks,
    try_attacks,
    with_attacks,
)
from twinlatent.evaluation.protocol.points import RATES, Point, draw, drawn_rows, other_points, won_before
from twinlatent.evaluation.protocol.settings import Goal, WhiteBoxSettings
from twinlatent.evaluation.protocol.which_split import fitted, seen_by, split_of

__all__ = [
    "Goal",
    "Judgeable",
    "OwnAttack",
    "Point",
    "RATES",
    "WhiteBoxSettings",
    "at_radius",
    "checked_attacks",
    "detector_of",
    "draw",
    "drawn_rows",
    "fitted",
    "other_points",
    "seen_by",
    "split_of",
    "try_attacks",
    "with_attacks",
    "won_before",
]
