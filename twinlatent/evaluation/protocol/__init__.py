"""Who is attacked, at which points, on which images."""

from twinlatent.evaluation.protocol.foreign import Judgeable, detector_of
from twinlatent.evaluation.protocol.points import RATES, Point, draw, drawn_rows, other_points, won_before
from twinlatent.evaluation.protocol.settings import WhiteBoxSettings
from twinlatent.evaluation.protocol.which_split import fitted, split_of

__all__ = [
    "Judgeable",
    "Point",
    "RATES",
    "WhiteBoxSettings",
    "detector_of",
    "draw",
    "drawn_rows",
    "fitted",
    "other_points",
    "split_of",
    "won_before",
]
