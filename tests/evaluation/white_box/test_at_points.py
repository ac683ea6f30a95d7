"""SR@FPR over radii and rates: what is settled is not attacked, and what is not settled comes out as if it were."""

from dataclasses import replace

import pytest
import torch

from twinlatent.data import Split
from twinlatent.evaluation.protocol.points import Point
from twinlatent.evaluation.protocol.settings import WhiteBoxSettings
from twinlatent.evaluation.results.records import WORST
from twinlatent.evaluation.white_box import at_points as module
from twinlatent.evaluation.white_box.at_points import OperatingPoints, operating_points
from twinlatent.evaluation.white_box.suite import attack_detector
from twinlatent.method.detector import Detector

MAIN = WhiteBoxSettings(suite="quick", epsilon=0.2, steps=15, images=24, seed=3, fpr=0.1)
EPSILONS, FPRS = (0.05, 0.1, 0.2, 0.3), (0.05, 0.1)


@pytest.fixture(autouse=True)
def weak_substitute(monkeypatch, fewer_steps) -> None:
    fewer_steps(monkeypatch, 3)


@pytest.fixture(scope="module")
def few(digits: Split) -> Split:
    return replace(digits, test=digits.test.subset(slice(60)))


@pytest.fixture(scope="module")
def points(trained_detector: Detector, few: Split) -> OperatingPoints:
    return operating_points(trained_detector, few, MAIN, EPSILONS, fprs=FPRS, subset=16, progress=False)


def test_every_point_has_a_verdict_on_every_image(points: OperatingPoints) -> None:
    assert set(points.wins) == {Point(epsilon, fpr) for epsilon in EPSILONS for fpr in FPRS}
    assert {point: len(won) for point, won in points.wins.items() if len(won) != 16} == {Point(0.2, 0.1): 24}
    assert (points.wins[Point(0.2, 0.1)] | ~points.main.wins[WORST]).all()


def test_success_rises_with_the_radius_and_falls_with_the_rate(points: OperatingPoints) -> None:
    rates = []
    for point, won in points.wins.items():
        for other, more in points.wins.items():
            if point.implies(other):
                assert (more[:16] | ~won[:16]).all()
        rates.append(won[:16].double().mean().item())
    assert len(set(rates)) > 2, "the points would not be told apart"


@pytest.mark.parametrize("point", [Point(0.1, 0.1), Point(0.2, 0.05), Point(0.3, 0.1)])
def test_a_point_is_what_an_attack_there_finds(point, points, trained_detector: Detector, few: Split) -> None:
    asked = MAIN.model_copy(update={"epsilon": point.epsilon, "fpr": point.fpr, "remaining_only": True})
    drawn = points.main.benign.subset(slice(16))
    anew = attack_detector(trained_detector, few, asked, drawn=drawn, progress=False).wins[WORST]
    settled = points.wins[point]
    harder = [
        won[:16] for harder, won in points.wins.items() if harder.epsilon <= point.epsilon and harder.fpr >= point.fpr
    ]
    assert torch.equal(settled, anew | torch.stack(harder).any(0))


def test_settled_images_are_not_attacked(trained_detector, few: Split, monkeypatch) -> None:
    attacked: dict[tuple[float, float], int] = {}
    real = module.attack_detector

    def counted(detector, split, asked, *, drawn=None, **options):
        run = real(detector, split, asked, drawn=drawn, **options)
        attacked[asked.epsilon, asked.fpr] = int(run.result.by_attack["none"].tried.sum())
        return run

    monkeypatch.setattr(module, "attack_detector", counted)
    found = operating_points(trained_detector, few, MAIN, EPSILONS, fprs=FPRS, subset=16, progress=False)
    assert attacked.pop((0.2, 0.1)) == 24
    for (epsilon, fpr), count in attacked.items():
        harder = [
            won[:16]
            for point, won in found.wins.items()
            if point.implies(Point(epsilon, fpr)) and point not in (Point(epsilon, fpr), Point(0.2, 0.1))
        ]
        before = torch.stack([torch.zeros(16, dtype=torch.bool), *harder]).any(0)
        if epsilon >= 0.2 and fpr <= 0.1:
            before |= found.main.wins[WORST][:16]
        assert count == 16 - int(before.sum()), "what fell at a harder point has fallen; all else is attacked"
    assert attacked[0.05, 0.1] == 16, "nothing is known before the hardest point"


def test_no_attack_is_left_out_for_having_lost_at_the_main_point(trained_detector, few: Split, monkeypatch) -> None:
    asked_for: list[object] = []
    real = module.attack_detector

    def noted(*arguments, **options):
        asked_for.append(options.get("only"))
        return real(*arguments, **options)

    monkeypatch.setattr(module, "attack_detector", noted)
    settings = MAIN.model_copy(update={"images": 4, "steps": 1})
    operating_points(trained_detector, few, settings, (0.1, 0.2), fprs=FPRS, progress=False)
    assert asked_for == [None] * len(asked_for)
    assert len(asked_for) == 4


def test_rates_finer_than_the_calibration_are_left_out(trained_detector: Detector, few: Split) -> None:
    found = operating_points(trained_detector, few, MAIN.model_copy(update={"images": 2, "steps": 1}), (0.2,),
                             fprs=(1e-4, 0.1), progress=False)  # fmt: skip
    assert set(found.wins) == {Point(0.2, 0.1)}


def test_rates_are_those_of_the_wins(points: OperatingPoints) -> None:
    rows = {(row.epsilon, row.metric): row.rate for row in points.rows("ratio")}
    assert len(rows) == len(points.wins)
    for point, won in points.wins.items():
        found = rows[point.epsilon, f"sr@{round(100 * point.fpr)}"]
        assert (found.n, round(found.value * found.n)) == (len(won), int(won.sum()))


def test_an_interrupted_climb_goes_on(points, trained_detector, few: Split, tmp_path, monkeypatch) -> None:
    real, calls = module.attack_detector, []

    def stopped(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(module, "attack_detector", stopped)
    asked = (trained_detector, few, MAIN, EPSILONS)
    with pytest.raises(KeyboardInterrupt):
        operating_points(*asked, fprs=FPRS, subset=16, folder=tmp_path / "kept", progress=False)
    again = operating_points(*asked, fprs=FPRS, subset=16, folder=tmp_path / "kept", progress=False)
    assert again.wins.keys() == points.wins.keys()
    assert all(torch.equal(again.wins[point], won) for point, won in points.wins.items())
