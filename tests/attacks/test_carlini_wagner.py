"""CW-L2: its Adam, its search for c and its settings; see test_optimal_radius.py for what it finds."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from twinlatent.attacks import CarliniWagner, carlini_wagner, run
from twinlatent.attacks import carlini_wagner as package_name
from twinlatent.attacks.attack import Found
from twinlatent.criteria import Misclassified
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Outputs
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
    """Carlini and Wagner's loss in w under torch's Adam: the nearest misread iterate, else that of largest margin."""
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


def tried(wins: list[float], initial_c: float, searches: int, monkeypatch) -> list[list[float]]:
    """The c that are tried for each image, when image i falls from c = wins[i] on."""
    seen = []

    def descend(self, model, images, aim, criterion, c) -> Found:
        seen.append(c.tolist())
        nothing = Found.nothing(images)
        return Found(**{**vars(nothing), "success": c >= torch.tensor(wins)})

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
        ({"steps": 0}, "steps=0"),
        ({"searches": 0}, "searches=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"initial_c": -1.0}, "initial_c=-1.0"),
        ({"confidence": -0.5}, "confidence=-0.5"),
        ({"confidence": float("nan")}, "confidence=nan"),
    ],
)
def test_settings_without_sense_are_refused(settings, named: str) -> None:
    with pytest.raises(TwinlatentError, match=named) as caught:
        CarliniWagner(**settings)
    assert "\n" not in str(caught.value)
