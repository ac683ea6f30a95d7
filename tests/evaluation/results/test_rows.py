"""Numbers become records that say what was measured and where from, and the mean over substitutes."""

import pytest

from twinlatent.data import Split
from twinlatent.evaluation.metrics import Rate, rate
from twinlatent.evaluation.results.records import MEAN
from twinlatent.evaluation.results.rows import Row, Rows, mean_over_substitutes, records_of
from twinlatent.method.detector import Detector
from twinlatent.provenance import provenance


def test_records_say_what_was_measured_and_where_from(trained_detector: Detector, digits: Split) -> None:
    origin = provenance()
    rows = (Row("sr@5", "pgd", 0.3, "ratio", rate(3, 20)), Row("accuracy", "none", None, None, rate(20, 20)))
    first, second = records_of([Rows(rows, "quick")], trained_detector, digits, 7, 1.26, origin)
    assert (first.metric, first.attack, first.epsilon, first.score) == ("sr@5", "pgd", 0.3, "ratio")
    assert (second.metric, second.attack, second.epsilon, second.score) == ("accuracy", "none", None, None)
    assert (first.value, first.n, second.value, second.n) == (0.15, 20, 1.0, 20)
    assert first.low is not None
    assert first.high is not None
    assert first.low < 0.15 < first.high
    for record in (first, second):
        assert (record.data, record.method, record.trained_with) == ("digits", "twinlatent", "mim")
        assert (record.seed, record.seconds, record.budget) == (7, 1.3, "quick")
        for field in ("command", "commit", "machine", "date", "versions"):
            assert getattr(record, field) == getattr(origin, field)


def test_a_detector_without_a_card_was_trained_with_nothing_known(trained_detector: Detector, digits: Split) -> None:
    d = trained_detector
    bare = Detector(d.encoders, d.class_means, d.benign, d.class_names)
    rows = Rows((Row("accuracy", "none", None, None, rate(1, 2)),), "quick")
    (record,) = records_of([rows], bare, digits, 0, 0.0, provenance())
    assert record.trained_with == "none"


def test_a_mean_over_substitutes_is_that_of_values_and_limits_budget_by_budget() -> None:
    def measured(budget: str, name: str, value: float, n: int) -> Rows:
        return Rows((Row("auc", "pgd", 0.3, "ratio", Rate(value, n, value - 0.1, value + 0.2)),), budget, name)

    means = mean_over_substitutes(
        [measured("a", "x", 0.5, 10), measured("b", "x", 0.6, 10), measured("a", "y", 0.7, 8)]
    )
    assert [(part.budget, part.substitute, len(part.rows)) for part in means] == [("a", MEAN, 1), ("b", MEAN, 1)]
    found = means[0].rows[0].rate
    assert (found.value, found.n, found.low, found.high) == pytest.approx((0.6, 8, 0.5, 0.8))
