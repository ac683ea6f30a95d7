"""Detectors to compare with, trained, attacked and judged like ours."""

import importlib
from typing import TYPE_CHECKING, Any

from twinlatent.baselines.settings import ATTACKS, BaselineSettings

if TYPE_CHECKING:
    from twinlatent.baselines.baseline import Baseline
    from twinlatent.baselines.fit import fit_baseline

METHODS = tuple(ATTACKS)
"""Names of the baselines."""

__all__ = ["ATTACKS", "METHODS", "Baseline", "BaselineSettings", "fit_baseline"]

_LATER = {"Baseline": "twinlatent.baselines.baseline", "fit_baseline": "twinlatent.baselines.fit"}
"""Imported when asked for: what trains needs recipes, and those the settings above."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)
