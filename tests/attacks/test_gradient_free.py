"""Square, noise and transfer: their schedules, counts and draws."""

import pytest
import torch
from torch import Tensor, nn

from twinlatent.attacks import (
    L2,
    Iterative,
    LInf,
    Margin,
    Noise,
    SignStep,
    Square,
    Transfer,
    run,
    square,
    transfer,
    uniform_noise,
)
from twinlatent.criteria import Aim
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Outputs
from twinlatent.testing import LinearClassifier


def never(x: Tensor) -> Outputs:
    """Always class 0; the logits of class 1 follow the mean."""
    mean = x.mean((1, 2, 3))
    return Outputs(torch.stack([torch.full_like(mean, 9.0), mean], 1), torch.zeros(len(x), 2))


def schedule(number: int, queries: int, share: float = 0.8) -> float:
    """Share of the pixels in a window, by the table of the paper's appendix."""
    at = number / queries * 10_000
    limits = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000, 10_000]
    return share / 2 ** next(halvings for halvings, limit in enumerate(limits) if at <= limit)


@pytest.mark.parametrize("queries", [100, 1000, 10_000])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 12, 16)])
def test_windows_shrink_as_in_the_paper(shape, queries: int, generator) -> None:
    attack, images = Square(0.3, queries), torch.zeros(5, *shape)
    for number in [1, 2, 5, 6, 20, 21, 50, 51, 80, 81, 99, *range(100, queries, max(1, queries // 13))]:
        if number >= queries:
            continue
        draws = torch.rand(5, 2 + shape[0], generator=generator)
        inside, signs = attack._window(draws, images, number)
        side = max(1, round((schedule(number, queries) * shape[1] * shape[2]) ** 0.5))
        high, wide = min(side, shape[1], shape[2]), min(side, shape[1], shape[2])
        assert inside.shape == (5, 1, *shape[1:])
        assert inside.sum((1, 2, 3)).tolist() == [high * wide] * 5
        assert inside.any(3).sum(2).flatten().tolist() == [high] * 5
        assert signs.shape == (5, shape[0], 1, 1)
        torch.testing.assert_close(signs.abs(), torch.full_like(signs, 0.3))


def test_windows_come_everywhere(generator) -> None:
    attack, images = Square(0.3, 100), torch.zeros(4000, 1, 5, 7)
    inside, _ = attack._window(torch.rand(4000, 3, generator=generator), images, 99)
    often = inside.double().mean(0)[0]
    assert inside.sum((1, 2, 3)).max() == 1
    assert (often - 1 / 35).abs().max() < 0.012


def test_square_asks_as_often_as_told() -> None:
    images, zeros, asked = torch.full((3, 1, 4, 4), 0.5), torch.zeros(3, dtype=torch.int64), []

    def spy(x: Tensor) -> Outputs:
        asked.append(len(x))
        return never(x)

    result = square(spy, images, zeros, epsilon=0.1, queries=30)
    assert sum(asked[1:-1]) == int(result.steps.sum())  # but for the check of the shape and the verdict
    assert result.dead_steps.tolist() == [0] * 3
    assert result.steps.tolist() == [30] * 3  # `queries` is what an image may cost


def test_square_starts_from_stripes_and_stays_at_the_edge() -> None:
    images, zeros, seen = torch.full((2, 3, 4, 6), 0.5), torch.zeros(2, dtype=torch.int64), []

    def spy(x: Tensor) -> Outputs:
        seen.append(x.clone())
        return never(x)

    square(spy, images, zeros, epsilon=0.1, queries=10)
    stripes = seen[2] - 0.5
    torch.testing.assert_close(stripes.abs(), torch.full_like(stripes, 0.1))
    assert torch.equal(stripes, stripes[:, :, :1].expand_as(stripes))
    assert len(stripes.sign().unique(dim=3).flatten().unique()) == 2
    for x in seen[2:]:
        torch.testing.assert_close((x - 0.5).abs(), torch.full_like(x, 0.1))


def test_square_keeps_what_is_better() -> None:
    images, zeros = torch.full((4, 1, 4, 4), 0.5), torch.zeros(4, dtype=torch.int64)
    means = [square(never, images, zeros, epsilon=0.1, queries=q).images.mean((1, 2, 3)) for q in (1, 30, 400)]
    assert (means[0] <= means[2]).all()
    torch.testing.assert_close(means[2], torch.full((4,), 0.6), rtol=0, atol=0.03)


def test_an_early_stop_saves_queries() -> None:
    model = LinearClassifier.random((1, 4, 4))
    images, labels = model.samples(8)
    result = square(model, images, labels, epsilon=0.2, queries=200)
    assert result.success.all()
    assert result.steps.max() < 100
    every = square(model, images, labels, epsilon=0.2, queries=50, early_stop=False)
    assert every.steps.min() >= 50
    assert every.success.all()


def test_no_gradient_is_asked_for(batch) -> None:
    def rounded(x: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        return x.flatten(1)[:, 20:30].round()

    labels = rounded_labels = torch.zeros(8, dtype=torch.int64)
    for attack in (Square(0.3, 20), Noise(LInf(0.3), 5), Noise(L2(0.3), 5)):
        assert run(attack, rounded, batch[0], labels).images.shape == batch[0].shape
    assert torch.equal(labels, rounded_labels)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_every_other_noise_lies_on_the_edge(norm: str) -> None:
    images, zeros, seen = torch.full((2, 1, 4, 4), 0.5), torch.zeros(2, dtype=torch.int64), []
    images[1, 0, 0, 0] += 1e-6  # equal images draw alike

    def spy(x: Tensor) -> Outputs:
        seen.append((x - 0.5).flatten(1).clone())
        return never(x)

    result = uniform_noise(spy, images, zeros, epsilon=0.2, norm=norm, draws=6)
    sizes = torch.stack([x.norm(2 if norm == "l2" else torch.inf, dim=1) for x in seen[1:-1]])
    torch.testing.assert_close(sizes[1::2], torch.full_like(sizes[1::2], 0.2), rtol=0, atol=1e-5)
    assert (sizes[::2] < 0.2).all()
    assert len(sizes[::2].unique()) == 6
    assert result.steps.tolist() == [6, 6]
    best = torch.stack([x.mean(1) for x in seen[1:-1]]).amax(0)
    torch.testing.assert_close(result.images.mean((1, 2, 3)) - 0.5, best, rtol=0, atol=1e-5)


def test_what_was_found_on_a_substitute_is_shown_once_and_judged_on_the_model() -> None:
    model, other = LinearClassifier.random(seed=0), LinearClassifier.random(seed=9)
    images, labels = model.samples(6)
    attack = Iterative(LInf(0.1), SignStep(0.02), 10)
    near, far = (transfer(model, images, labels, substitute=s, attack=attack) for s in (model, other))
    assert near.success.all()
    assert not far.success.any()
    assert near.steps.tolist() == [1] * 6
    direct = run(attack, model, images, labels)
    torch.testing.assert_close(near.images, direct.images)


def test_a_substitute_is_left_as_found(network: nn.Module, batch) -> None:
    network.train()
    try:
        state = {key: value.clone() for key, value in network.state_dict().items()}
        transfer(lambda x: network(x) * 1, *batch, substitute=network, attack=Iterative(LInf(0.1), SignStep(0.05), 2))
        assert network.training
        assert all(p.requires_grad and p.grad is None for p in network.parameters())
        assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items() if "fc" in key)
    finally:
        network.load_state_dict(state)
        network.eval()


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Square(0.3, 0), "queries is 0"),
        (lambda: Square(-0.3), "epsilon is -0.3"),
        (lambda: Square(0.3, first_share=0.0), "first_share is 0.0"),
        (lambda: Square(0.3, first_share=1.5), "first_share is 1.5"),
        (lambda: Noise(LInf(0.3), 0), "draws is 0"),
    ],
)
def test_settings_without_sense_are_refused(make, complaint: str) -> None:
    with pytest.raises(TwinlatentError, match=complaint):
        make()


def test_without_seeds_all_images_draw_alike() -> None:
    images, aim = torch.full((2, 1, 4, 4), 0.5), Aim(torch.zeros(2, dtype=torch.int64))
    for attack in (Square(0.1, 5), Noise(LInf(0.1), 3), Transfer(never, Noise(LInf(0.1), 2), Margin())):
        found = attack(never, images, aim, lambda outputs, aim: outputs.labels != aim.labels)
        assert torch.equal(found.images[0], found.images[1])
