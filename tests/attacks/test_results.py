"""An attack's result shows the images it was made of, and what was said of them before and after."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import twinlatent as tl
from twinlatent.attacks.results import MEASURED, PAIRS, AttackResult
from twinlatent.data.split import as_pictures
from twinlatent.method.detector import Detector
from twinlatent.showing import SHOWN, p_text

EPSILON = 0.25


def attacked(images: Tensor, labels: Tensor, batch_size: int = 100) -> tuple[nn.Module, AttackResult]:
    """A random linear classifier of three classes under FGSM."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), 3))
    return network, tl.attacks.fgsm(network, images, labels, epsilon=EPSILON, batch_size=batch_size)


def some(n: int, channels: int = 1) -> tuple[Tensor, Tensor]:
    return torch.rand(n, channels, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(n) % 3


def columns(result: AttackResult, **asked: object) -> list[list[str]]:
    """Captions of the three columns of its figure."""
    axes = result.plot(**asked).axes  # type: ignore[arg-type]
    return [[one.get_xlabel() for one in axes[column::3]] for column in range(3)]


@pytest.mark.parametrize("channels", [1, 3, 2])
@pytest.mark.parametrize("n", [1, PAIRS, 30])
def test_a_row_has_the_original_the_attacked_and_their_difference(n: int, channels: int) -> None:
    with torch.random.fork_rng():
        images, labels = some(n, channels)
        _, result = attacked(images, labels)
    figure = result.plot()
    rows = min(n, PAIRS)
    assert len(figure.axes) == 3 * rows
    panels = [axes.get_images()[0].get_array() for axes in figure.axes]
    for row in range(rows):
        benign, changed, difference = panels[3 * row : 3 * row + 3]
        np.testing.assert_array_equal(benign, as_pictures(images)[row])
        np.testing.assert_array_equal(changed, as_pictures(result.images)[row])
        assert np.abs(difference).max() <= EPSILON + 1e-6
    before, after, change = columns(result)
    won = ["success" if one else "no success" for one in result.success.tolist()]
    assert before == [f"true: {labels[row]}\n" for row in range(rows)]
    assert after == [f"{won[row]}\npredicted: {result.labels[row]}" for row in range(rows)]
    if channels != 2:  # whose mean is drawn
        assert change == [f"largest change {size:.2f}\n" for size in result.linf[:rows].tolist()]
    title = figure.get_suptitle()
    assert title.startswith(f"the attack succeeds on {int(result.success.sum())} of {n} image")
    assert (f"{n - PAIRS} more images are not shown" in title) == (n > PAIRS)


def test_with_a_detector_its_verdicts_stand_below(trained_detector: Detector, digits: tl.data.Split) -> None:
    images, labels = digits.test.images[:4], digits.test.labels[:4]
    result = tl.attacks.fgsm(trained_detector, images, labels, epsilon=0.1)
    before, after, _ = columns(result, detector=trained_detector, fpr=0.2)
    for found, shown in ((before, images), (after, result.images)):
        verdict = trained_detector.detect(shown, fpr=0.2)
        said = zip(verdict.label.tolist(), verdict.adversarial.tolist(), verdict.p_value.tolist(), strict=True)
        assert [text.split("\n")[1] for text in found] == [
            f"{trained_detector.class_names[label]}, {'flagged' if flagged else 'passes'}, p {p_text(p)}"
            for label, flagged, p in said
        ]


def test_names_of_classes_are_shown_if_there_is_one_for_each() -> None:
    with torch.random.fork_rng():
        _, result = attacked(*some(3))
    assert [text.split("\n")[0] for text in columns(result, class_names=("a", "b", "c"))[0]] == [
        "true: a", "true: b", "true: c",
    ]  # fmt: skip
    with pytest.raises(tl.TwinlatentError, match="class_names has 2 names, but there is a class 2; give all"):
        result.plot(class_names=("a", "b"))


def test_what_gives_no_verdicts_is_no_detector() -> None:
    with torch.random.fork_rng():
        network, result = attacked(*some(3))
    with pytest.raises(tl.TwinlatentError, match=r"detector is a Sequential, which gives no verdicts; give what"):
        result.plot(network)  # type: ignore[arg-type]


def test_without_the_originals_drawing_is_refused_and_the_table_does_without() -> None:
    with torch.random.fork_rng():
        _, result = attacked(*some(3))
    alone = replace(result, before=None)
    with pytest.raises(tl.TwinlatentError, match="does not hold the images that were attacked; draw what"):
        alone.plot()
    text = alone._repr_html_()
    assert text.count("<tr>") == 4
    assert text.count("<img") == 3
    assert "true class" not in text


def test_a_table_says_what_it_leaves_out_and_stays_small() -> None:
    with torch.random.fork_rng():
        _, result = attacked(*some(500))
    text = result._repr_html_()
    assert text.count("<tr>") == SHOWN + 1
    assert text.count("<img") == 2 * SHOWN
    assert "480 more images are not shown" in text
    assert len(text) < 40_000


@pytest.mark.parametrize("batch_size", [7, 100])
def test_the_first_images_are_kept_as_they_were_in_any_batch(batch_size: int) -> None:
    images, labels = some(30)
    was = images.clone()
    with torch.random.fork_rng():
        _, result = attacked(images, labels, batch_size)
    images.zero_()
    kept = result.before
    assert kept is not None
    torch.testing.assert_close(kept.images, was[:SHOWN], rtol=0, atol=0)
    assert kept.labels.tolist() == labels[:SHOWN].tolist()


def test_an_attack_of_a_suite_can_be_drawn(trained_detector: Detector, digits: tl.data.Split) -> None:
    images, labels = digits.test.images[:3], digits.test.labels[:3]
    suite = {"noise": tl.attacks.Noise(tl.attacks.LInf(0.1), 2)}
    found = tl.attacks.run_suite(suite, trained_detector, images, labels, criterion=tl.criteria.Misclassified(),
                                 norm="linf", epsilon=0.1, progress=False)  # fmt: skip
    assert len(found.by_attack["noise"].result.plot(trained_detector).axes) == 9
    none = torch.zeros(3, dtype=torch.bool)
    untried = tl.attacks.run_suite(suite, trained_detector, images, labels, criterion=tl.criteria.Misclassified(),
                                   norm="linf", epsilon=0.1, among=none, progress=False)  # fmt: skip
    after = columns(untried.by_attack["noise"].result, class_names=trained_detector.class_names)[1]
    assert after == ["no success\npredicted: –"] * 3, "no class is made up where an attack was not tried"


def test_what_is_kept_in_files_is_what_has_a_row_an_image() -> None:
    with torch.random.fork_rng():
        _, result = attacked(*some(3))
    assert set(MEASURED) == set(vars(result)) - {"before"}
    assert all(len(getattr(result, name)) == 3 for name in MEASURED)
