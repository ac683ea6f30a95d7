"""Attacks that know the detector: suites of them, over radii and rates, and for the conditions C1 and C2."""

from twinlatent.evaluation.white_box.at_points import OperatingPoints, operating_points
from twinlatent.evaluation.white_box.certified import Certified, CertifySettings, certify_split
from twinlatent.evaluation.white_box.conditions import CW, STANDARD_CW, AttackOutcome
from twinlatent.evaluation.white_box.pictures import grid_of, latents_of
from twinlatent.evaluation.white_box.proofs import Proofs, certified_rows, holds_at
from twinlatent.evaluation.white_box.suite import WhiteBoxRun, attack_detector, suite_size
from twinlatent.evaluation.white_box.to_file import attack_to_file
from twinlatent.evaluation.white_box.whole import (
    CONDITIONS,
    WhiteBox,
    WhiteBoxPlan,
    WhiteBoxWork,
    attack_white_box,
    points_folder,
)

__all__ = [
    "AttackOutcome",
    "CONDITIONS",
    "CW",
    "Certified",
    "CertifySettings",
    "OperatingPoints",
    "Proofs",
    "STANDARD_CW",
    "WhiteBox",
    "WhiteBoxPlan",
    "WhiteBoxRun",
    "WhiteBoxWork",
    "attack_detector",
    "attack_to_file",
    "attack_white_box",
    "certified_rows",
    "certify_split",
    "grid_of",
    "holds_at",
    "latents_of",
    "operating_points",
    "points_folder",
    "suite_size",
]
