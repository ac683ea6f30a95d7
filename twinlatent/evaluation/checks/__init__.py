"""Checks of an evaluation by itself."""

from twinlatent.evaluation.checks.each import NAMES, check_certificate, check_mild_changes
from twinlatent.evaluation.checks.run import NO_CHANGES, checks_of, run_checks

__all__ = [
    "NAMES",
    "NO_CHANGES",
    "check_certificate",
    "check_mild_changes",
    "checks_of",
    "run_checks",
]
