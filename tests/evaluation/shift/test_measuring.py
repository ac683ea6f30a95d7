"""What a detector says of mildly changed images, counted again by hand."""

from dataclasses import replace

import pytest

from twinlatent.data import Split
from twinlatent.evaluation.protocol.points import draw
from twinlatent.evaluation.results.records import ACCURACY_SHIFT, FLAGGED_SHIFT, MILD, OF_CLASS
from twinlatent.evaluation.shift import CHANGES, STRENGTHS, Shifted, changed, measure_shift
from twinlatent.method.detector import Detector, build_detector

IMAGES = 60


@pytest.fixture(scope="module")
def shifted(trained_detector: Detector, digits: Split) -> Shifted:
    return measure_shift(trained_detector, digits, images=IMAGES, seed=3, progress=False)


def test_every_number_is_what_detect_says(shifted: Shifted, trained_detector: Detector, digits: Split) -> None:
    drawn, found = draw(digits.test, IMAGES, 3), {(r.attack, r.metric, r.asked, r.budget): r for r in shifted.records}
    every = {f"{change} {strength}": changed(drawn.images, change, strength, seed=3)
             for change in CHANGES for strength in STRENGTHS}  # fmt: skip
    names = [MILD, *(f"{MILD}{OF_CLASS}{name}" for name in digits.class_names)]
    for name, images in {"none": drawn.images, **every}.items():
        said = {fpr: trained_detector.detect(images, fpr) for fpr in (0.01, 0.05, 0.10)}
        right = said[0.05].label == drawn.labels
        for label, budget in enumerate(names if name == "none" or name.endswith(" 1") else names[:1], start=-1):
            mine = (drawn.labels == label) | (label < 0)
            accuracy = found.pop((name, ACCURACY_SHIFT, None, budget))
            assert (accuracy.value, accuracy.n) == (pytest.approx(right[mine].double().mean().item()), int(mine.sum()))
            for fpr, verdict in said.items() if label < 0 else [(0.05, said[0.05])]:
                share = found.pop((name, FLAGGED_SHIFT, fpr, budget))
                assert share.value == pytest.approx(verdict.adversarial[mine].double().mean().item())
                assert (share.n, share.score) == (int(mine.sum()), trained_detector.score)
    assert found == {}


def test_the_check_speaks_of_the_mildest_strength(shifted: Shifted) -> None:
    mild = {r.attack: r.value for r in shifted.records if (r.metric, r.asked, r.budget) == (FLAGGED_SHIFT, 0.05, MILD)}
    far = [change for change in CHANGES if mild[f"{change} 1"] > 0.15]
    assert shifted.check.status == ("warn" if far else "pass")
    assert all(change in shifted.check.finding for change in far)
    assert (
        max(mild[f"{change} 3"] for change in CHANGES) > max(mild[f"{change} 1"] for change in CHANGES) > mild["none"]
    )


def test_pictures_show_one_image_under_every_change(shifted: Shifted, digits: Split) -> None:
    first = draw(digits.test, 1, 3).images[0, 0].numpy()
    assert shifted.grid.columns.tolist() == list(CHANGES)
    assert (shifted.grid.benign == first).all()
    for column, change in enumerate(CHANGES):
        for row, strength in enumerate(STRENGTHS):
            made = changed(draw(digits.test, 1, 3).images, change, strength, seed=3)
            assert (shifted.grid.images[column, row] == made[0, 0].numpy()).all()


def test_all_images_are_taken_where_there_are_fewer_and_the_finest_rate_where_none_is_told(
    trained_detector: Detector, digits: Split
) -> None:
    few = build_detector(
        trained_detector.encoders, digits.train, digits.calibration.subset(slice(12)), digits.class_names
    )
    small = replace(digits, test=digits.test.subset(slice(5)))
    records = measure_shift(few, small, images=1000, progress=False).records
    assert {r.n for r in records if r.budget == MILD} == {5}
    assert {r.asked for r in records if r.metric == FLAGGED_SHIFT} == {1 / 13, 0.10}
