"""Attacks on anything that answers images with logits or `Outputs`.

The functions attack at once; the classes are the parts they are made of, for `run` and for suites.
"""

from twinlatent.attacks.attack import Attack, Found, run
from twinlatent.attacks.balls import L2, LInf
from twinlatent.attacks.budgets import BUDGETS, Budget, preset
from twinlatent.attacks.carlini_wagner import CarliniWagner, carlini_wagner
from twinlatent.attacks.detector_aware import multi_targeted, orthogonal_pgd, selective_pgd
from twinlatent.attacks.gradient_free import Noise, Square, Transfer, square, transfer, uniform_noise
from twinlatent.attacks.guides import Ascent, Guide, Orthogonal, Selective
from twinlatent.attacks.hooks import bpda, expectation
from twinlatent.attacks.iterative import Iterative, fgsm, mim, pgd
from twinlatent.attacks.objectives import (
    Bypass,
    CrossEntropy,
    LatentMatching,
    LogOdds,
    Margin,
    Objective,
    RobustDensity,
    Suspicion,
    latent_matching,
)
from twinlatent.attacks.probing import Probing
from twinlatent.attacks.results import AttackResult
from twinlatent.attacks.search import EveryTarget, GammaSearch, Restarts
from twinlatent.attacks.steps import SignStep, UnitStep
from twinlatent.attacks.suite_runs import SuiteResult, run_suite
from twinlatent.attacks.suites import Suite

__all__ = [
    "Ascent",
    "Attack",
    "AttackResult",
    "BUDGETS",
    "Budget",
    "Bypass",
    "CarliniWagner",
    "CrossEntropy",
    "EveryTarget",
    "Found",
    "GammaSearch",
    "Guide",
    "Iterative",
    "L2",
    "LInf",
    "LatentMatching",
    "LogOdds",
    "Margin",
    "Noise",
    "Objective",
    "Orthogonal",
    "Probing",
    "Restarts",
    "RobustDensity",
    "Selective",
    "SignStep",
    "Square",
    "Suite",
    "SuiteResult",
    "Suspicion",
    "Transfer",
    "UnitStep",
    "bpda",
    "carlini_wagner",
    "expectation",
    "fgsm",
    "latent_matching",
    "mim",
    "multi_targeted",
    "orthogonal_pgd",
    "pgd",
    "preset",
    "run",
    "run_suite",
    "selective_pgd",
    "square",
    "transfer",
    "uniform_noise",
]
