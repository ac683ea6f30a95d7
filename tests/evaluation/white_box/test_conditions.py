"""C1 and C2: success is what the conditions say of the final images, beside what benign images make of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from twinlatent.attacks.budgets import Budget
from twinlatent.data import LabelledImages, Split
from twinlatent.evaluation.protocol.settings import WhiteBoxSettings
from twinlatent.evaluation.results.records import WORST
from twinlatent.evaluation.white_box.conditions import (
    CW,
    OVER_RADII,
    TOWARDS,
    AttackOutcome,
    attack_conditions,
    benign_pass,
    rows_of,
)
from twinlatent.method.detector import Detector

MAIN = WhiteBoxSettings(suite="standard", steps=6, images=10, seed=3)
RADII = (0.05, 0.3)
WEAK_CW = Budget("cw", steps=40, learning_rate=0.2, initial_c=10.0, searches=2)


@pytest.fixture(scope="module")
def drawn(digits: Split) -> LabelledImages:
    return digits.test.subset(slice(10))


@pytest.fixture(scope="module")
def detector(trained_detector: Detector) -> Detector:
    return trained_detector.using(score="vulnerable")


@pytest.fixture(scope="module")
def found(detector: Detector, digits: Split, drawn: LabelledImages) -> list[AttackOutcome]:
    return attack_conditions(detector, digits, MAIN, RADII, drawn=drawn, cw=WEAK_CW, progress=False)


def meets(detector: Detector, images: torch.Tensor) -> torch.Tensor:
    """C1 and C2 from the calibration images themselves."""
    outputs, table = detector.outputs(images), detector.benign[detector.settings.label_rule]
    met = []
    for row, label in enumerate(outputs.labels.tolist()):
        benign = table.labels == label
        quiet = outputs.suspicion[row, label] < table.vulnerable[benign].mean()
        met.append(bool(quiet & (outputs.robust[row, label] > table.robust[benign].mean())))
    return torch.tensor(met)


def test_every_attack_is_there_at_every_radius(found: list[AttackOutcome]) -> None:
    names = (*OVER_RADII, TOWARDS, WORST)
    assert [(w.attack, w.epsilon) for w in found] == [(name, e) for e in RADII for name in names] + [(CW, None)]


def test_the_worst_is_won_where_any_attack_won(found: list[AttackOutcome]) -> None:
    for epsilon in RADII:
        *each, worst = [w for w in found if w.epsilon == epsilon]
        assert worst.attack == WORST
        assert torch.equal(worst.wins, torch.stack([w.wins for w in each]).any(0))
        for row in worst.wins.nonzero()[:, 0].tolist():
            assert any(w.wins[row] and torch.equal(w.images[row], worst.images[row]) for w in each)


def test_of_the_worst_images_those_that_still_show_their_class_come_first(detector, digits: Split, drawn) -> None:
    """So the worst meets C1, C2 and C3 wherever any attack does, and its images are what the judges are shown."""
    answers = iter([False, False, False, True])  # only what the last attack made still shows its class

    def last_alone(images: torch.Tensor) -> torch.Tensor:
        return torch.full((len(images),), next(answers))

    asked = attack_conditions(detector, digits, MAIN, RADII[1:], drawn=drawn, cw=None, shows_true=last_alone,
                              progress=False)  # fmt: skip
    *others, last, worst = asked
    assert (last.wins & torch.stack([w.wins for w in others]).any(0)).any(), "nothing to choose between"
    assert torch.equal(worst.shows_true & worst.wins, last.wins)
    assert torch.equal(worst.images[last.wins], last.images[last.wins])


def test_only_a_search_for_the_robust_density_finds_what_c2_asks_for(
    detector: Detector, digits: Split, drawn: LabelledImages
) -> None:
    asked = MAIN.model_copy(update={"steps": 40})
    wide = attack_conditions(detector, digits, asked, [0.8], drawn=drawn, cw=None, progress=False)
    won = {w.attack: int(w.wins.sum()) for w in wide}
    assert won[WORST] == won[TOWARDS] == len(drawn) > won["mim_w"]


def test_wins_meet_the_conditions_within_the_ball(found, detector: Detector, drawn: LabelledImages) -> None:
    assert any(w.wins.any() for w in found)
    for w in found:
        expected = meets(detector, w.images) & (w.predicted != drawn.labels)
        assert torch.equal(w.wins, expected), (w.attack, w.epsilon)
        assert torch.equal(w.predicted, detector.outputs(w.images).labels)
        if w.epsilon is not None:
            assert (w.images - drawn.images).abs().max() <= w.epsilon + 1e-5


def test_benign_images_pass_as_often_as_the_conditions_say(detector: Detector, digits: Split) -> None:
    images = digits.test.images[:90]
    found = benign_pass(detector, images)
    assert (found.n, round(found.value * 90)) == (90, int(meets(detector, images).sum()))
    assert 0 < found.value < 1


def test_without_a_robust_density_c1_stands_alone(detector: Detector, digits: Split) -> None:
    class Bare(Detector):
        def outputs(self, images):
            return replace(super().outputs(images), robust=None)

    bare = Bare(detector.encoders, detector.class_means, detector.benign, detector.class_names, detector.settings)
    images = digits.test.images[:90]
    outputs = detector.outputs(images)
    quiet = outputs.suspicion_of_label < detector.bounds().suspicion_mean[outputs.labels]
    assert (
        round(benign_pass(bare, images).value * 90)
        == int(quiet.sum())
        > round(benign_pass(detector, images).value * 90)
    )


def test_numbers_are_those_of_the_images(found: list[AttackOutcome], drawn: LabelledImages) -> None:
    shown = {number: torch.arange(10) % 3 == number % 3 for number in range(len(found))}
    sizes = []
    for n, w in enumerate(found):
        rows = rows_of(replace(w, shows_true=shown[n]), drawn, "vulnerable")
        assert {(row.attack, row.epsilon, row.score) for row in rows} == {(w.attack, w.epsilon, "vulnerable")}
        mine = {row.metric: row.rate for row in rows}
        sizes += [row.rate for row in rows if row.metric == "l2_rms255"]
        assert round(mine["sr_c1c2"].value * 10) == int(w.wins.sum())
        assert round(mine["sr_c1c2c3"].value * 10) == int((w.wins & shown[n]).sum())
    cw = found[-1]
    assert cw.wins.any(), "the size would not be tested"
    (size,) = sizes
    change = (cw.images - drawn.images)[cw.wins].numpy().astype(np.float64) * 255
    assert size.value == pytest.approx(np.sqrt((change**2).mean((1, 2, 3))).mean())
    assert size.n == int(cw.wins.sum())
    assert all(row.metric != "sr_c1c2c3" for w in found for row in rows_of(w, drawn, "vulnerable"))
