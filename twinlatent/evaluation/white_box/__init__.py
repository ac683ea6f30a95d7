"""Attacks that know the detector: suites of them, over radii and rates, and for the conditions C1 and C2."""

from twinlatent.evaluation.white_box.at_points import OperatingPoints, operating_points
from twinlatent.evaluation.white_box.certified import Certified, CertifySettings, certify_split
from twinlatent.evaluation.white_box.conditions import CW, STANDARD_CW, AttackOutcome
from twinlatent.evaluation.white_box.pictures import grid_of, latents_of
from twinlatent.evaluation.white_box.proofs import BOUNDS, OF_ATTACKED, Proofs, certified_rows, holds_at
from twinlatent.evaluation.white_box.suite import WhiteBoxRun, attack_detector, attack_to_file
from twinlatent.evaluation.white_box.whole import WhiteBox, WhiteBoxPlan, attack_white_box

__all__ = [
    "AttackOutcome",
    "BOUNDS",
    "CW",
    "Certified",
    "CertifySettings",
    "OF_ATTACKED",
    "OperatingPoints",
    "Proofs",
    "STANDARD_CW",
    "WhiteBox",
    "WhiteBoxPlan",
    "WhiteBoxRun",
    "attack_detector",
    "attack_to_file",
    "attack_white_box",
    "certified_rows",
    "certify_split",
    "grid_of",
    "holds_at",
    "latents_of",
    "operating_points",
]
