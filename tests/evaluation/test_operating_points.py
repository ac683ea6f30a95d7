"""SR@FPR over radii and rates: what is settled is not attacked, and what is not settled comes out as if it were."""

from dataclasses import replace

import pytest
import torch

from twinlatent.data import Split
from twinlatent.evaluation import blackbox
from twinlatent.evaluation import operating_points as module
from twinlatent.evaluation.operating_points import OperatingPoints, operating_points, useful
from twinlatent.evaluation.whitebox import WORST, WhiteBoxSettings, attack_detector
from twinlatent.method.detector import Detector

MAIN = WhiteBoxSettings(suite="quick", epsilon=0.2, steps=15, images=24, seed=3, fpr=0.1)
EPSILONS, FPRS = (0.05, 0.1, 0.2, 0.3), (0.05, 0.1)


@pytest.fixture(autouse=True)
def weak_substitute(monkeypatch) -> None:
    monkeypatch.setattr(blackbox, "SMALL_STEPS", 3)


@pytest.fixture(scope="module")
def few(digits: Split) -> Split:
    return replace(digits, test=digits.test.subset(slice(60)))


@pytest.fixture(scope="module")
def points(trained_detector: Detector, few: Split) -> OperatingPoints:
    return operating_points(trained_detector, few, MAIN, EPSILONS, fprs=FPRS, few=16, progress=False)


def test_every_point_has_a_verdict_on_every_image(points: OperatingPoints) -> None:
    assert set(points.wins) == {(epsilon, fpr) for epsilon in EPSILONS for fpr in FPRS}
    assert {point: len(won) for point, won in points.wins.items() if len(won) != 16} == {(0.2, 0.1): 24}
    assert torch.equal(points.wins[0.2, 0.1], points.main.wins[WORST])


def test_success_rises_with_the_radius_and_falls_with_the_rate(points: OperatingPoints) -> None:
    rates = []
    for (epsilon, fpr), won in points.wins.items():
        for (other, rate), more in points.wins.items():
            if other >= epsilon and rate <= fpr:
                assert (more[:16] | ~won[:16]).all()
        rates.append(won[:16].double().mean().item())
    assert len(set(rates)) > 2, "the points would not be told apart"


@pytest.mark.parametrize("point", [(0.1, 0.1), (0.2, 0.05), (0.3, 0.1)])
def test_a_point_is_what_an_attack_there_finds(point, points, trained_detector: Detector, few: Split) -> None:
    epsilon, fpr = point
    asked = MAIN.model_copy(update={"epsilon": epsilon, "fpr": fpr, "remaining_only": True})
    drawn = points.main.benign.subset(slice(16))
    anew = attack_detector(trained_detector, few, asked, drawn=drawn, progress=False).wins[WORST]
    settled = points.wins[point]
    assert (settled == anew).double().mean() >= 14 / 16  # a weak attack may lose where it won at a harder point


def test_settled_images_are_not_attacked(trained_detector, few: Split, monkeypatch) -> None:
    attacked: dict[tuple[float, float], int] = {}
    real = module.attack_detector

    def counted(detector, split, asked, *, drawn=None, **options):
        run = real(detector, split, asked, drawn=drawn, **options)
        attacked[asked.epsilon, asked.fpr] = len(run.benign)
        return run

    monkeypatch.setattr(module, "attack_detector", counted)
    found = operating_points(trained_detector, few, MAIN, EPSILONS, fprs=FPRS, few=16, progress=False)
    assert attacked.pop((0.2, 0.1)) == 24
    won = int(found.main.wins[WORST][:16].sum())
    assert 0 < won < 16
    assert attacked[0.1, 0.1] == won  # only what fell in a larger ball can fall in a smaller one
    assert attacked[0.3, 0.1] == 16 - won  # what fell in a smaller ball has fallen
    assert attacked[0.2, 0.05] == 16 - won  # what passed a stricter detector has passed
    assert all(count <= 16 for count in attacked.values())


def test_the_rest_is_left_to_the_attacks_that_won(points: OperatingPoints) -> None:
    won = {name: int(found.sum()) for name, found in points.main.wins.items()}
    names = useful(points.main)
    assert names
    assert not {WORST, "none"} & set(names)
    assert [won[name] for name in names] == sorted((won[name] for name in names), reverse=True)
    assert {name for name, count in won.items() if count} - {WORST, "none"} == set(names)
    nothing = replace(points.main, wins={name: torch.zeros_like(found) for name, found in points.main.wins.items()})
    assert set(useful(nothing)) == {"fgsm_w", "mim_w", "selective"}


def test_rates_finer_than_the_calibration_are_left_out(trained_detector: Detector, few: Split) -> None:
    found = operating_points(trained_detector, few, MAIN.model_copy(update={"images": 2, "steps": 1}), (0.2,),
                             fprs=(1e-4, 0.1), progress=False)  # fmt: skip
    assert set(found.wins) == {(0.2, 0.1)}


def test_rates_are_those_of_the_wins(points: OperatingPoints) -> None:
    rows = {(epsilon, metric): found for metric, attack, epsilon, score, found in points.measured("ratio")}
    assert len(rows) == len(points.wins)
    for (epsilon, fpr), won in points.wins.items():
        found = rows[epsilon, f"sr@{round(100 * fpr)}"]
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
        operating_points(*asked, fprs=FPRS, few=16, folder=tmp_path / "kept", progress=False)
    again = operating_points(*asked, fprs=FPRS, few=16, folder=tmp_path / "kept", progress=False)
    assert again.wins.keys() == points.wins.keys()
    assert all(torch.equal(again.wins[point], won) for point, won in points.wins.items())
