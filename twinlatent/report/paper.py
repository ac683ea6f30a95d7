"""The paper's own numbers, to stand beside measured ones (B. Joe, S. J. Hwang, I. Shin, arXiv 1909.04311)."""

from collections.abc import Mapping
from types import MappingProxyType

from twinlatent.evaluation.results import Record

Key = tuple[str, str, str, str, str]
"""Data, method, training attack, attack, metric, each as in records."""

COLUMNS = (("mnist", "mim"), ("mnist", "cw"), ("fashion-mnist5", "mim"), ("fashion-mnist5", "cw"))
"""Data and training attack of the columns of tables 3 and 4."""
TABLE_1 = {
    "test_xb_accuracy": {"mnist": (0.37, 0.85, 0.92, 0.98), "fashion-mnist5": (0.53, 0.71, 0.78, 0.78)},
    "test_xv_accuracy": {"mnist": (0.54, 0.81, 0.73, 0.96), "fashion-mnist5": (1.0, 0.95, 0.93, 1.0)},
}
"""Accuracy of F_v, trained on vulnerable features made by FGSM, PGD, MIM and CW-L2."""
TABLE_2 = {"mnist": (0.97, 0.98, 0.99), "fashion-mnist5": (0.98, 0.98, 0.99), "cats-dogs": (0.96, 0.96, 0.99)}
"""Accuracy on benign test images, trained with MIM_W, with CW-L2_W, and without a defence."""
TABLE_3 = {
    "fgsm": ((0.99, 0.99), (0.98, 0.99), (0.98, 0.99), (0.99, 0.97)),
    "pgd": ((0.99, 0.96), (0.99, 0.99), (0.97, 0.79), (0.99, 0.96)),
    "mim": ((0.99, 0.90), (0.99, 0.98), (0.98, 0.92), (0.99, 0.97)),
    "cw": ((0.97, 0.64), (0.97, 0.96), (0.96, 0.64), (0.97, 0.95)),
}
"""AUC of attacks on a substitute, in each column the paper's own method and that of Gong et al."""
TABLE_4 = {"sr_c1c2": (0.32, 0.28, 0.18, 0.19), "l2_rms255": (45.08, 48.25, 43.34, 37.66)}
"""CW-L2_W: share of images with C1 and C2, and mean size of change. The scan lacks the last size: it follows from the
mean over both columns, which the text gives as 40.5."""
PAPER_SCORES = {"twinlatent": "vulnerable", "gong": "binary"}
"""The suspicion score whose AUC table 3 gives, for each method."""
BUDGET = "blackbox"
"""Records of this budget spent what the paper spent on attacks on a substitute."""


def _learners() -> dict[Key, float]:
    return {
        (data, "motivation", "none", attack, metric): value
        for metric, rows in TABLE_1.items()
        for data, values in rows.items()
        for attack, value in zip(("fgsm", "pgd", "mim", "cw"), values, strict=True)
    }


def _accuracies() -> dict[Key, float]:
    trained = (("twinlatent", "mim"), ("twinlatent", "cw"), ("plain", "none"))
    return {
        (data, method, attack, "none", "accuracy"): value
        for data, values in TABLE_2.items()
        for (method, attack), value in zip(trained, values, strict=True)
    }


def _areas() -> dict[Key, float]:
    return {
        (data, method, trained_with, attack, "auc"): value
        for attack, cells in TABLE_3.items()
        for (data, trained_with), cell in zip(COLUMNS, cells, strict=True)
        for method, value in zip(PAPER_SCORES, cell, strict=True)
    }


def _carlini_wagner() -> dict[Key, float]:
    return {
        (data, "twinlatent", trained_with, "cw_w", metric): value
        for metric, values in TABLE_4.items()
        for (data, trained_with), value in zip(COLUMNS, values, strict=True)
    }


PAPER: Mapping[Key, float] = MappingProxyType(_learners() | _accuracies() | _areas() | _carlini_wagner())
"""Every number of tables 1 to 4."""


def paper_value(record: Record) -> float | None:
    """The paper's number for what `record` measures; None where it gives none.

    An AUC has one only under the score of its method's paper (`PAPER_SCORES`) and with the paper's attacks (`BUDGET`,
    all attacked images); C1 and C2 only under that score. What a folder holds is not told by its name.
    """
    scored = record.metric in ("auc", "sr_c1c2", "l2_rms255")
    if scored and record.score != PAPER_SCORES.get(record.method):
        return None
    if record.metric == "auc" and record.budget != BUDGET:
        return None
    return PAPER.get((record.data, record.method, record.trained_with, record.attack, record.metric))
