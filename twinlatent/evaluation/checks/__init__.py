"""Checks of an evaluation by itself."""

from twinlatent.evaluation.checks.each import NAMES, check_certificate
from twinlatent.evaluation.checks.run import checks_of, run_checks

__all__ = [
    "NAMES",
    "check_certificate",
    "checks_of",
    "run_checks",
]
