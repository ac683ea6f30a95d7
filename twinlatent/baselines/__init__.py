"""Detectors to compare with, trained, attacked and judged like ours."""

from typing import TYPE_CHECKING

from twinlatent.baselines.methods import ATTACKS, METHODS
from twinlatent.lazy import lazily

if TYPE_CHECKING:
    from twinlatent.baselines.baseline import Baseline
    from twinlatent.baselines.fit import fit_baseline
    from twinlatent.baselines.settings import BaselineSettings
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "twinlatent.baselines.baseline": ("Baseline",),
            "twinlatent.baselines.fit": ("fit_baseline",),
            "twinlatent.baselines.settings": ("BaselineSettings",),
        },
    )

__all__ = ["ATTACKS", "METHODS", "Baseline", "BaselineSettings", "fit_baseline"]
