"""The test on served verdicts: its promise by enumeration and simulation, its power on attacked images."""

import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import twinlatent as tl
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.method.detector import Detector
from twinlatent.monitor import PRIOR, LoggedVerdict, Urn, plot, read_log, watch, winnings
from twinlatent.serve.answers import image_verdicts
from twinlatent.serve.verdict_log import Origin, VerdictLog


def rows(
    ranks: Sequence[int], among: int, label: str = "0", pooled: bool = False, model: str = "m"
) -> list[LoggedVerdict]:
    same = {"model": model, "detector": "d", "label": label, "adversarial": False, "among": among, "pooled": pooled}
    return [LoggedVerdict(time=f"t{i}", p_value=rank / (among + 1), equal=0, **same) for i, rank in enumerate(ranks, 1)]


def tied(calibration: np.ndarray, scores: np.ndarray, *, says: bool = True) -> list[LoggedVerdict]:
    """Rows of scores of which some are equal; `says` whether they count them, as logs did not at first."""
    found = rows(ranks_of(calibration, scores), len(calibration))
    equal = [int((calibration == score).sum()) if says else None for score in scores]
    return [row.model_copy(update={"equal": count}) for row, count in zip(found, equal, strict=True)]


def ranks_of(calibration: np.ndarray, scores: np.ndarray) -> list[int]:
    """As `Calibration.p_values` counts: one more than calibration scores that are at least as high."""
    return [int(1 + (calibration >= score).sum()) for score in scores]


def stream(
    generator: np.random.Generator, among: int, images: int, shift: float = 0, at: int = 0
) -> list[LoggedVerdict]:
    scores = generator.normal(size=images)
    scores[at:] += shift
    return rows(ranks_of(generator.normal(size=among), scores), among)


@pytest.mark.parametrize(("among", "images"), [(0, 4), (1, 4), (2, 4), (4, 2)])
def test_the_capital_is_1_on_average_over_all_orders(among: int, images: int) -> None:
    """The promise itself: all orders of calibration and served scores are equally likely."""
    logs = [
        watch(rows(ranks_of(np.array(order[:among]), np.array(order[among:])), among))["m"].log_capital
        for order in itertools.permutations(range(among + images))
    ]
    assert np.exp(logs).mean(0) == pytest.approx(np.ones(images), abs=1e-12)
    if among > 1:
        assert np.ptp(logs) > 0.1


def test_ranks_among_equal_scores_follow_the_law() -> None:
    """Two calibration images and three served ones: each rank history is as often as Pólya's urn says, ties or not."""
    counts: dict[tuple[float, ...], int] = {}
    for seed in range(3000):
        # Between the score that all others share and the next smaller one is one that shares their last rank.
        found = watch(tied(np.array([2.0, 2.0]), np.array([2.0, 2.0, 2.0])), seed=seed)["m"].places
        counts[tuple(found.round(6))] = counts.get(tuple(found.round(6)), 0) + 1
    law = {}
    for ranks in itertools.product([1, 2, 3], repeat=3):
        urn, places, probability = Urn(2), [], 1.0
        for rank in ranks:
            low, high = urn.place(rank)
            probability *= high - low
            places.append(round((low + high) / 2, 6))
            urn.add(rank)
        law[tuple(places)] = probability
    assert counts.keys() == law.keys()
    for places, probability in law.items():
        assert counts[places] == pytest.approx(3000 * probability, abs=4 * math.sqrt(3000 * probability))


def test_who_only_shares_a_rank_with_equal_scores_does_not_sway_the_draw() -> None:
    """Many images a little more suspicious than the equal ones have the first of their ranks, and no part in it."""
    calibration, above = np.array([1.0, 1.0, 1.0]), np.full(60, 1.5)
    firsts = [
        watch(tied(calibration, np.append(above, 1.0)), seed=seed)["m"].places[-1] < 61 / 64 for seed in range(300)
    ]
    assert np.mean(firsts) == pytest.approx(1 / 4, abs=0.1)


def test_the_capital_is_1_on_average_where_scores_are_equal() -> None:
    """All orders of scores of which some are equal, and many draws of each."""
    scores = np.array([0.0, 0.0, 1.0, 1.0, 1.0])
    logs = [
        watch(tied(scores[list(order[:3])], scores[list(order[3:])]), seed=100 * number + seed)["m"].log_capital
        for number, order in enumerate(itertools.permutations(range(5)))
        for seed in range(20)
    ]
    capital = np.exp(logs)
    assert (np.abs(capital.mean(0) - 1) < 4 * capital.std(0) / math.sqrt(len(logs))).all()


def test_a_benign_stream_of_few_different_scores_alarms_at_most_at_the_stated_rate() -> None:
    """As of a classifier that is often perfectly sure; where a log does not count equal scores, most are alarms."""
    generator = np.random.default_rng(1)
    streams = [generator.integers(4, size=210).astype(float) for _ in range(40)]
    drawn = [watch(tied(one[:60], one[60:]), 5, seed)["m"] for seed, one in enumerate(streams)]
    assert np.mean([one.drifted for one in drawn]) <= 1 / 5
    assert np.mean([one.places.mean() for one in drawn]) == pytest.approx(0.5, abs=0.01)
    assert {one.unsaid for one in drawn} == {0}
    old = [watch(tied(one[:60], one[60:], says=False), threshold=5)["m"] for one in streams]
    assert np.mean([one.drifted for one in old]) > 1 / 2
    assert {one.unsaid for one in old} == {150}


def test_a_change_is_noticed_where_scores_are_equal() -> None:
    generator = np.random.default_rng(2)
    benign, changed = generator.integers(4, size=300), np.full(60, 3)
    found = watch(tied(benign[:200].astype(float), np.append(benign[200:], changed).astype(float)))["m"]
    assert 100 < (found.alarm.image or 0) <= 130


def test_a_longer_log_has_the_draws_of_a_shorter_one() -> None:
    scores = np.random.default_rng(3).integers(3, size=80).astype(float)
    whole, part = (watch(tied(scores[:20], scores[20:end]))["m"].log_capital for end in (80, 50))
    assert whole[:30].tolist() == part.tolist()


def test_every_bet_is_fair_and_no_share_is_lost() -> None:
    urn = Urn(6)
    for rank in (1, 1, 7, 3, 1):
        urn.add(rank)
    places = [urn.place(rank) for rank in range(1, 8)]
    assert [low for low, _ in places[1:]] == [high for _, high in places[:-1]]
    assert (places[0][0], places[-1][1]) == (0, 1)
    fair = sum((high - low) * winnings(low, high) for low, high in places)
    assert fair == pytest.approx(np.ones(len(PRIOR)))
    assert PRIOR.sum() == pytest.approx(1)


def test_the_urn_counts_as_lists_do() -> None:
    generator = np.random.default_rng(0)
    urn, seen = Urn(30), []
    for rank in generator.integers(1, 32, 100).tolist():
        low, high = urn.place(rank)
        assert low == (rank - 1 + sum(one < rank for one in seen)) / (31 + len(seen))
        assert high == (rank + sum(one <= rank for one in seen)) / (31 + len(seen))
        urn.add(rank)
        seen.append(rank)


def test_benign_streams_alarm_at_most_at_the_stated_rate() -> None:
    """Ten times as many images as calibration images, which stay the same: where p-values alone are not uniform."""
    generator = np.random.default_rng(0)
    alarms = [watch(stream(generator, 8, 80), threshold=5)["m"].drifted for _ in range(200)]
    assert 0 < np.mean(alarms) <= 1 / 5


@pytest.mark.parametrize(("shift", "at", "within"), [(2, 0, 20), (2, 300, 25), (1, 300, 90), (-1, 300, 90)])
def test_a_change_is_noticed_soon_and_dated(shift: float, at: int, within: int) -> None:
    for seed in range(4):
        found = watch(stream(np.random.default_rng(seed), 200, at + 100, shift, at))["m"]
        assert found.alarm.image is not None
        assert found.since.image is not None
        assert at < found.alarm.image <= at + within
        assert at - 40 <= found.since.image <= found.alarm.image
        assert found.alarm.time == f"t{found.alarm.image}"
        assert found.since.time == f"t{found.since.image}"
        assert found.highest >= 100


def verdicts_of(detector: CalibratedDetector, images: tl.data.LabelledImages, path: Path, fpr: float = 0.05) -> None:
    """Log what the detector says of images, as the server does."""
    log = VerdictLog(path)
    verdict = detector.detect(images.images, fpr)
    log.write(
        Origin.of("own", detector),
        fpr,
        image_verdicts(verdict, detector.class_names, fpr),
        detector.calibration.equal(verdict.suspicion, verdict.label).tolist(),
    )
    log.close()


def test_attacked_images_are_noticed_and_benign_ones_are_not(
    trained_detector: Detector, digits: Split, tmp_path: Path
) -> None:
    path, benign = tmp_path / "log.jsonl", digits.test.subset(slice(0, 200))
    verdicts_of(trained_detector, benign, path)
    assert not watch(read_log(path))["own"].drifted
    few = digits.test.subset(slice(200, 260))
    attacked = tl.attacks.pgd(trained_detector, few.images, few.labels, epsilon=0.3, steps=5).images
    verdicts_of(trained_detector, tl.data.LabelledImages(attacked, few.labels), path)
    found = watch(read_log(path))["own"]
    assert (found.images, found.drifted) == (260, True)
    assert 200 < (found.alarm.image or 0) < 260
    assert found.flagged == sum(one.adversarial for one in read_log(path))


class Coarse(nn.Module):
    """Classifies by the nearest mean, and is sure of that in few steps, as a quantised network is."""

    def __init__(self, digits: Split) -> None:
        super().__init__()
        train = digits.train
        self.means = torch.stack([train.images[train.labels == c].mean(0).flatten() for c in range(10)])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = images.flatten(1) @ self.means.T - self.means.square().sum(1) / 2
        best, second = logits.topk(2).values.T
        return nn.functional.one_hot(logits.argmax(1), 10) * (1 + (2 * (best - second)).round())[:, None]


@pytest.mark.filterwarnings("ignore:Coarse. the gradient")
def test_equal_scores_of_a_real_detector_are_logged_and_no_alarm(digits: Split, tmp_path: Path) -> None:
    verdicts_of(tl.rejecting(Coarse(digits), digits), digits.test, tmp_path / "log.jsonl", fpr=0.2)
    verdicts = list(read_log(tmp_path / "log.jsonl"))
    assert np.mean([(one.equal or 0) > 5 for one in verdicts]) > 0.5
    assert not watch(verdicts)["own"].drifted
    assert watch([one.model_copy(update={"equal": None}) for one in verdicts])["own"].drifted


def test_each_class_has_its_own_urn_unless_they_are_pooled() -> None:
    """Two classes with the same ranks: places are those of either alone, or, pooled, of both together."""
    one, two = rows([1, 2], 3), rows([1, 2], 3, label="1")
    mixed = [one[0], two[0], one[1], two[1]]
    alone = watch(one)["m"].places
    assert watch(mixed)["m"].places.tolist() == [alone[0], alone[0], alone[1], alone[1]]
    together = [row.model_copy(update={"pooled": True}) for row in mixed]
    assert watch(together)["m"].places.tolist() == watch(rows([1, 1, 2, 2], 3))["m"].places.tolist()


def test_another_calibration_begins_anew() -> None:
    new = [row.model_copy(update={"detector": "e"}) for row in rows([1], 3)]
    assert watch([*rows([1, 1], 3), *new])["m"].places[2] == watch(new)["m"].places[0]


def test_models_are_tested_apart() -> None:
    a, b = rows([1] * 40, 99, model="a"), rows(list(range(1, 41)), 99, model="b")
    both = watch([row for pair in zip(a, b, strict=True) for row in pair])
    assert both["a"].drifted
    assert both["a"].log_capital.tolist() == watch(a)["a"].log_capital.tolist()
    assert both["b"].row == watch(b)["b"].row


@pytest.mark.parametrize("among", [1, 2, 97, 500, 5000, 60000])
def test_ranks_come_back_from_p_values_of_float32(among: int) -> None:
    ranks = np.unique(np.linspace(1, among + 1, 50).astype(int))
    values = (ranks.astype(np.float32) / np.float32(among + 1)).astype(float)
    (row,) = rows([1], among)
    assert [row.model_copy(update={"p_value": value}).rank for value in values.tolist()] == ranks.tolist()
    assert row.model_copy(update={"p_value": 1e-6}).rank == 1  # of a finer rate


def test_a_log_is_read_as_far_as_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    whole = "".join(one.model_dump_json() + "\n" for one in rows([1, 2, 3], 3))
    path.write_text(whole + whole[:50], encoding="utf-8")
    assert list(read_log(path)) == rows([1, 2, 3], 3)
    path.write_text(whole + '{"model": "m"}\n', encoding="utf-8")
    with pytest.raises(TwinlatentError, match=r"log.jsonl, row 4, is no verdict .*detector Field required"):
        list(read_log(path))
    with pytest.raises(TwinlatentError, match="cannot be read"):
        list(read_log(tmp_path / "none"))


def test_rows_that_were_cut_short_are_left_out_and_said(tmp_path: Path) -> None:
    path, whole = tmp_path / "log.jsonl", rows([1, 2, 3], 3)
    lines = [f"{one.model_dump_json()}\n" for one in whole]
    path.write_text("".join([lines[0], lines[1][:20] + "\n", *lines[1:]]), encoding="utf-8")
    said: list[str] = []
    assert list(read_log(path, said.append)) == whole
    assert said == [f"{path}: 1 rows that were cut short are left out, the first is row 2"]


@pytest.mark.parametrize("threshold", [1, 0, -5, math.nan])
def test_a_threshold_must_be_above_1(threshold: float) -> None:
    with pytest.raises(TwinlatentError, match="threshold is"):
        watch(rows([1], 3), threshold)


def test_the_code_of_its_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "monitor.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    text = "".join(one.model_dump_json() + "\n" for one in rows([1] * 12, 99))
    Path("verdicts.jsonl").write_text(text, encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    exec(compile(block, "monitor.md", "exec"), {})
    assert capsys.readouterr().out.startswith("m 12 ")
    assert Path("drift.svg").exists()


def test_the_figure_is_the_same_each_time(tmp_path: Path) -> None:
    watched = watch(stream(np.random.default_rng(0), 50, 300, 1, 200))
    for name in ("a.svg", "b.svg"):
        plot(watched, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    with pytest.raises(TwinlatentError, match="a figure is written as"):
        plot(watched, tmp_path / "c.gif")
