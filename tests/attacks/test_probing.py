"""Probing: it finds a way where an image has no gradient, and draws what it says."""

from math import ceil

import pytest
import torch
from torch import Tensor

from twinlatent.attacks import Iterative, LInf, Margin, Probing, SignStep, run
from twinlatent.attacks.guides import Ascent
from twinlatent.attacks.probing import CELLS, PARTS, _Boards
from twinlatent.criteria import Aim
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Outputs
from twinlatent.testing import LinearClassifier


def cut_off(x: Tensor) -> Outputs:
    """Class 1 needs three quarters of the pixels above 0.6; below 0.5 a pixel is as good as black."""
    share = ((x - 0.5) / 0.1).clamp(0, 1).mean((1, 2, 3))
    return Outputs(torch.stack([torch.zeros_like(share), share - 0.75], 1), torch.zeros(len(x), 2))


@pytest.fixture
def flat() -> tuple[Tensor, Tensor]:
    """Dark images, at which `cut_off` has no gradient."""
    return 0.3 + 0.1 * torch.rand(6, 1, 12, 9, generator=torch.Generator().manual_seed(0)), torch.zeros(6).long()


def test_it_wins_where_there_is_no_gradient(flat) -> None:
    ball, step = LInf(0.35), SignStep(0.175, decay=0.75)
    plain = run(Iterative(ball, step, 100, Ascent(Margin()), shrink=True), cut_off, *flat)
    assert (plain.dead_steps == plain.steps).all()
    assert not plain.success.any()
    assert run(Probing(ball, step, 25, guide=Ascent(Margin())), cut_off, *flat).success.all()


def test_one_gradient_alone_has_none_to_follow(flat) -> None:
    found = run(Probing(LInf(0.35), SignStep(0.175), 5, probes=1, guide=Ascent(Margin())), cut_off, *flat)
    assert found.dead_steps.tolist() == found.steps.tolist() == [5] * 6


def test_gradients_are_counted_and_points_lie_in_the_ball(flat) -> None:
    images, labels, asked = *flat, list[Tensor]()

    def spy(x: Tensor) -> Outputs:
        asked.append(x.detach())
        mean = x.mean((1, 2, 3))
        return Outputs(torch.stack([9 + 0 * mean, mean], 1), torch.zeros(len(x), 2))

    found = run(Probing(LInf(0.1), SignStep(0.05), 4, 3), spy, images, labels)
    assert found.steps.tolist() == [12] * 6
    assert len(asked) == 1 + 4 * 3 + 1 + 1  # the check of one image, the last iterate, the verdict
    assert all(((x - images).abs() <= 0.1 + 1e-6).all() for x in asked[1:])
    assert len({x.sum().item() for x in asked[1:]}) >= 12  # at other points each time, until the corner is reached
    torch.testing.assert_close(found.images, images + 0.1)


@pytest.mark.parametrize("size", [(28, 28), (64, 64), (4, 6), (12, 9), (97, 30)])
def test_signs_are_the_same_on_squares(size: tuple[int, int]) -> None:
    images = torch.zeros(3, 2, *size)
    boards = _Boards.drawn(Aim(torch.zeros(3).long(), seeds=torch.tensor([3, 4, 5])), images, len(PARTS))
    for number, parts in enumerate(PARTS):
        signs, share = boards.board(number)
        assert signs.shape == images.shape
        assert set(signs.unique().tolist()) == {-1.0, 1.0}
        assert ((share >= 0) & (share < 1)).all()
        assert share.shape == (3, 1, 1, 1)
        assert not torch.equal(signs[0], signs[1])
        side = ceil(max(size) / parts)
        for dimension in (2, 3):  # a sign may change at the edges of squares alone, a square apart
            changes = (signs.diff(dim=dimension) != 0).movedim(dimension, 1).flatten(2).any(2)
            for image in changes:
                assert len((image.nonzero() % side).unique()) <= 1


def test_as_many_cells_as_an_image_can_need() -> None:
    for longest in range(1, 300):
        for side in (ceil(longest / parts) for parts in PARTS):
            assert (longest - 1 + side - 1) // side < CELLS


def test_a_linear_model_falls_at_its_radius() -> None:
    model = LinearClassifier.random(seed=2)
    images, labels = model.samples(8, seed=1)
    optimal = model.optimal_radius(images, labels, "linf")
    for radius, falls in ((0.99 * optimal.min().item(), False), (1.01 * optimal.max().item(), True)):
        attack = Probing(LInf(radius), SignStep(radius / 2, 0.75), 8, guide=Ascent(Margin()))
        assert run(attack, model, images, labels).success.tolist() == [falls] * 8


@pytest.mark.parametrize("settings", [{"steps": 0}, {"steps": 3, "probes": 0}])
def test_less_than_one_step_or_probe_is_refused(settings: dict) -> None:
    with pytest.raises(TwinlatentError, match="is 0; give a whole number"):
        Probing(LInf(0.1), SignStep(0.1), **settings)
