"""CW-L2: its Adam, its search for c and its settings; see test_optimal_radius.py for what it finds."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from twinlatent.attacks import CarliniWagner, Margin, carlini_wagner, run
from twinlatent.attacks import carlini_wagner as package_name
from twinlatent.attacks.attack import Found
from twinlatent.criteria import Aim, Misclassified, Undetected
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Bounds, Outputs
from twinlatent.testing import LinearClassifier


def test_the_name_in_the_package_is_the_function() -> None:
    assert package_name is carlini_wagner


@pytest.mark.parametrize("learning_rate", [0.001, 0.05, 0.5])
def test_its_adam_is_that_of_torch(learning_rate: float, generator) -> None:
    attack = CarliniWagner(learning_rate=learning_rate)
    w = torch.randn(2, 1, 4, 4, generator=generator)
    theirs = w.clone().requires_grad_()
    adam = torch.optim.Adam([theirs], learning_rate)
    first = second = torch.zeros_like(w)
    for number in range(1, 30):
        gradient = torch.randn(w.shape, generator=generator) * 10.0 ** (number % 5 - 2)
        theirs.grad = gradient.clone()
        adam.step()
        w, first, second = attack._adam(w, gradient, first, second, number)
        torch.testing.assert_close(w, theirs.detach(), rtol=1e-5, atol=1e-6)


def literal(model, image: Tensor, label: int, c: float, steps: int, learning_rate: float) -> Tensor:
    """Carlini and Wagner's loss in w under torch's Adam: the nearest misclassified iterate, else that of largest
    margin."""
    w = torch.atanh((2 * image - 1) * (1 - 1e-6)).requires_grad_()
    adam, best = torch.optim.Adam([w], learning_rate), (-1, -torch.inf, image)
    for number in range(steps + 1):
        x = (torch.tanh(w) + 1) / 2
        z = model(x[None])[0]
        margin = (torch.cat([z[:label], z[label + 1 :]]).max() - z[label]).clamp_max(0)
        squared = (x - image).square().sum()
        won = int(z.argmax() != label)
        best = max(best, (won, -squared.item() if won else margin.item(), x.detach()), key=lambda entry: entry[:2])
        if number < steps:
            (w.grad,) = torch.autograd.grad(squared - c * margin, w)
            adam.step()
    return best[2]


@pytest.mark.parametrize("c", [0.01, 1.0])
def test_it_is_its_formula(c: float, network, batch) -> None:
    images, labels = batch
    found = run(CarliniWagner(steps=25, learning_rate=0.1, initial_c=c, searches=1, abort_early=False), network, *batch)
    for i in range(8):
        expected = literal(network, images[i], int(labels[i]), c, 25, 0.1)
        assert ((found.images[i] - expected).abs() > 1e-3).double().mean() <= 0.05
    assert found.steps.tolist() == [25] * 8


def tried(
    wins: list[float], initial_c: float, searches: int, monkeypatch, *, confident: bool = True
) -> list[list[float]]:
    """The c that are tried for each image, when image i falls from c = wins[i] on."""
    seen = []

    def descend(self, model, images, aim, criterion, c) -> Found:
        seen.append(c.tolist())
        nothing = Found.nothing(images)
        rank = torch.full_like(c, 0.5 if confident else -0.5)
        return Found(**{**vars(nothing), "success": c >= torch.tensor(wins), "rank": rank})

    monkeypatch.setattr(CarliniWagner, "_descend", descend)
    images = torch.full((len(wins), 1, 2, 2), 0.5)
    attack = CarliniWagner(initial_c=initial_c, searches=searches)
    attack(lambda x: Outputs(x, x), images, SimpleNamespace(), Misclassified())
    return [list(row) for row in zip(*seen, strict=True)]


def test_c_is_searched_as_by_bisection(monkeypatch) -> None:
    assert tried([0.0, 7.0, 1e9, 1e12], 1.0, 5, monkeypatch) == [
        [1, 0.5, 0.25, 0.125, 0.0625],
        [1, 10, 5.5, 7.75, 6.625],
        [1, 10, 100, 1000, 10_000],
        [1, 10, 100, 1000, 10_000],
    ]
    assert max(tried([1e12], 1e8, 5, monkeypatch)[0]) == pytest.approx(1e10)


def test_successes_that_are_not_confident_do_not_lower_c(monkeypatch) -> None:
    assert tried([0.0, 7.0], 1.0, 4, monkeypatch, confident=False) == [[1, 10, 100, 1000]] * 2


def mean_model(x: Tensor) -> Outputs:
    """Class 1 above a mean of 0.5, where it leads by 10 at most; the mean as suspicion."""
    mean = x.mean((1, 2, 3))
    return Outputs(torch.stack([torch.zeros_like(mean), 20 * (mean - 0.5)], 1), mean[:, None].expand(-1, 2))


DARK, ZEROS = torch.tensor([0.3, 0.4, 0.45])[:, None, None, None].expand(3, 1, 2, 2), torch.zeros(3, dtype=torch.int64)
UNDER = Undetected(Bounds(torch.full((2,), 0.7), None, {0.05: torch.full((2,), 0.7)}))


def margins(images: Tensor) -> Tensor:
    return Margin()(mean_model(images), Aim(ZEROS))


def test_what_meets_the_criterion_is_a_success_even_if_none_of_it_is_confident() -> None:
    """Misclassified with a margin of 5 is suspicious, and misclassified without suspicion is no farther than a
    margin of 4."""
    settings = {"confidence": 5.0, "steps": 200, "learning_rate": 0.02, "searches": 4, "initial_c": 0.1}
    result = carlini_wagner(mean_model, DARK, ZEROS, criterion=Misclassified() & UNDER, **settings)
    assert result.success.all()
    assert (margins(result.images) < 4.01).all()
    assert (mean_model(result.images).suspicion_of_label <= 0.7).all()


def test_confident_successes_are_kept_before_nearer_ones() -> None:
    settings = {"steps": 200, "learning_rate": 0.02, "searches": 4, "initial_c": 1.0}
    near, sure = (carlini_wagner(mean_model, DARK, ZEROS, confidence=kappa, **settings) for kappa in (0.0, 3.0))
    assert near.success.all()
    assert sure.success.all()
    assert (margins(near.images) < 1).all()
    assert ((margins(sure.images) >= 3) & (margins(sure.images) < 3.6)).all()
    assert (near.l2 < sure.l2).all()


def test_an_image_whose_loss_stands_still_is_left_after_two_windows() -> None:
    def still(x: Tensor) -> Tensor:
        return torch.tensor([1.0, 0.0]) + 0 * x.mean((1, 2, 3))[:, None]

    settings = {"steps": 100, "searches": 3}
    early, full = (carlini_wagner(still, DARK, ZEROS, **settings, abort_early=abort) for abort in (True, False))
    assert early.steps.tolist() == [3 * 2 * 10] * 3
    assert full.steps.tolist() == [3 * 100] * 3


def test_stopping_early_saves_steps_and_loses_nothing() -> None:
    model = LinearClassifier.random(classes=3)
    images, labels = model.samples(6)
    settings = {"steps": 200, "learning_rate": 0.1, "searches": 4}
    full, early = (carlini_wagner(model, images, labels, **settings, abort_early=abort) for abort in (False, True))
    assert full.steps.tolist() == [4 * 200] * 6
    assert (early.steps < full.steps).all()
    assert early.success.all()
    assert (early.l2 <= 1.05 * full.l2).all()


def test_targets_are_reached() -> None:
    model = LinearClassifier.random(classes=4)
    images, labels = model.samples(8)
    targets = (labels + torch.tensor([1, 2] * 4)) % 4
    result = carlini_wagner(model, images, labels, targets=targets)
    assert result.success.all()
    assert torch.equal(result.labels, targets)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"searches": 0}, "searches is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"initial_c": -1.0}, "initial_c is -1.0"),
        ({"confidence": -0.5}, "confidence is -0.5"),
        ({"confidence": float("nan")}, "confidence is nan"),
    ],
)
def test_settings_without_sense_are_refused(settings, named: str) -> None:
    with pytest.raises(TwinlatentError, match=named) as caught:
        CarliniWagner(**settings)
    assert "\n" not in str(caught.value)
