"""What every evaluation does first and last: drawing images, refusing what does not fit, making records."""

import pytest
import torch

from twinlatent.data import LabelledImages, Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.measured import draw, records_of
from twinlatent.evaluation.metrics import rate
from twinlatent.method.detector import Detector
from twinlatent.provenance import provenance


@pytest.fixture
def numbered() -> LabelledImages:
    """Twenty images, each of which is its own number, as its label is."""
    numbers = torch.arange(20)
    return LabelledImages((numbers / 20)[:, None, None, None].expand(-1, 1, 4, 4).contiguous(), numbers)


def test_all_images_come_in_random_order_since_a_set_may_be_sorted(numbered: LabelledImages) -> None:
    for images in (None, 20):
        drawn = draw(numbered, images, 5)
        assert torch.equal(drawn.images[:, 0, 0, 0], drawn.labels / 20), "each image keeps its label"
        assert sorted(drawn.labels.tolist()) == numbered.labels.tolist()
        assert set(drawn.labels[:10].tolist()) != set(range(10))
        assert torch.equal(drawn.labels[:7], draw(numbered, 7, 5).labels), "a part is the start of the whole"


@pytest.mark.parametrize("images", [1, 7, 19, 20])
def test_a_draw_has_every_image_once_and_hangs_on_the_seed(images: int, numbered: LabelledImages) -> None:
    a, b, c = (draw(numbered, images, seed) for seed in (1, 1, 2))
    assert len(a) == images == len(set(a.labels.tolist()))
    assert torch.equal(a.images[:, 0, 0, 0], a.labels / 20), "each image keeps its label"
    assert torch.equal(a.labels, b.labels)
    assert not torch.equal(a.labels, c.labels)


def test_a_larger_draw_holds_the_smaller(numbered: LabelledImages) -> None:
    assert torch.equal(draw(numbered, 12, 3).labels[:5], draw(numbered, 5, 3).labels)


def test_a_draw_leaves_the_global_generator_as_it_was(numbered: LabelledImages) -> None:
    before = torch.get_rng_state()
    draw(numbered, 5, 0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("images", [0, -1, 21])
def test_images_that_are_not_there_are_refused(images: int, numbered: LabelledImages) -> None:
    with pytest.raises(TwinlatentError, match=rf"^{images} test images are asked for; there are 20$"):
        draw(numbered, images, 0)


def test_records_say_what_was_measured_and_where_from(trained_detector: Detector, digits: Split) -> None:
    origin = provenance()
    measured = [("sr@5", "pgd", 0.3, "ratio", rate(3, 20)), ("accuracy", "none", None, None, rate(20, 20))]
    first, second = records_of(measured, trained_detector, digits, 7, 1.26, origin, "quick")
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
    (record,) = records_of([("accuracy", "none", None, None, rate(1, 2))], bare, digits, 0, 0.0, provenance(), "quick")
    assert record.trained_with == "none"
