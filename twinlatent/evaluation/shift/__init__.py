"""False alarms on honest images: mild changes of benign images, and what a detector says of them."""

from twinlatent.evaluation.shift.changes import CHANGES, STRENGTHS, Change, changed
from twinlatent.evaluation.shift.measuring import Shifted, measure_shift, shift_name

__all__ = [
    "CHANGES",
    "Change",
    "STRENGTHS",
    "Shifted",
    "changed",
    "measure_shift",
    "shift_name",
]
