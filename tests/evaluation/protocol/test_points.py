"""Which images are attacked: random samples, the same for a seed, each a part of the larger ones."""

import pytest
import torch

from twinlatent.data import LabelledImages
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.protocol.points import Point, draw, other_points, won_before


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


def test_a_win_is_one_in_larger_balls_and_past_looser_thresholds_alone() -> None:
    point, first, second = Point(0.2, 0.05), torch.tensor([True, False]), torch.tensor([False, True])
    wins = {Point(0.1, 0.1): first, Point(0.3, 0.05): second, Point(0.1, 0.01): second}
    assert won_before(wins, point).tolist() == [True, False]
    assert won_before(wins, Point(0.3, 0.01)).tolist() == [True, True]


def test_the_hardest_points_come_first() -> None:
    points = other_points(Point(0.2, 0.05), (0.1, 0.2), (0.01, 0.05, 0.1))
    assert points == [Point(0.1, 0.1), Point(0.1, 0.05), Point(0.1, 0.01), Point(0.2, 0.1), Point(0.2, 0.01)]
