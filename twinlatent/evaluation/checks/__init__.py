"""Checks of an evaluation by itself."""

from twinlatent.evaluation.checks.each import NAMES
from twinlatent.evaluation.checks.run import checks_of, run_checks

__all__ = [
    "NAMES",
    "checks_of",
    "run_checks",
]
