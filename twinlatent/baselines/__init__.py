"""Detectors to compare with, trained, attacked and judged like ours."""

from twinlatent.baselines.baseline import Baseline
from twinlatent.baselines.fit import fit_baseline
from twinlatent.baselines.settings import ATTACKS, BaselineSettings, baseline_settings

METHODS = tuple(ATTACKS)
"""Names of the baselines."""

__all__ = ["ATTACKS", "METHODS", "Baseline", "BaselineSettings", "baseline_settings", "fit_baseline"]
