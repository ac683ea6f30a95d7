"""The toy models: their closed forms are true, and their defences defend."""

import pytest
import torch
from torch import Tensor

from twinlatent import attacks
from twinlatent.criteria import Aim, Misclassified, Undetected
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Outputs
from twinlatent.testing import GaussianDetector, Honeypot, LinearClassifier, Noisy, Quantised, TradeOffDetector

SHAPES = [(1, 8, 8), (3, 4, 6)]


def unit(directions: Tensor, norm: str) -> Tensor:
    """Of length 1 in the norm, (n, pixels)."""
    return directions / torch.linalg.vector_norm(directions, 2 if norm == "l2" else torch.inf, dim=1, keepdim=True)


def steepest(slope: Tensor, norm: str) -> Tensor:
    return slope.sign() if norm == "linf" else slope / slope.norm()


# --- linear -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("classes", [2, 5])
def test_the_linear_radius_is_the_least(classes: int, shape, norm: str, generator) -> None:
    model = LinearClassifier.random(shape, classes, seed=1)
    images, labels = model.samples(6, seed=2)
    radius = model.optimal_radius(images, labels, norm)
    assert torch.equal(model(images).argmax(1), labels)
    for x, y, r in zip(images.flatten(1), labels.tolist(), radius.tolist(), strict=True):
        ways = torch.stack([steepest(model.weight[j] - model.weight[y], norm) for j in range(classes) if j != y])
        ends = [(x + size * r * ways).clamp(0, 1).unflatten(1, shape) for size in (0.999, 1.001)]
        inner, outer = (model(end).argmax(1) != y for end in ends)
        assert not inner.any()
        assert outer.any()
        assert not (ends[1] == 0).any()
        assert not (ends[1] == 1).any()
        tries = unit(torch.randn(500, len(x), generator=generator), norm)
        assert not (model((x + 0.999 * r * tries).unflatten(1, shape)).argmax(1) != y).any()


def test_the_linear_radius_of_what_is_misclassified_is_0() -> None:
    model = LinearClassifier.random(classes=3)
    images, labels = model.samples(5)
    assert model.optimal_radius(images, (labels + 1) % 3, "l2").tolist() == [0] * 5


def test_samples_depend_on_the_seed_alone() -> None:
    for kind in (LinearClassifier, GaussianDetector):
        one, same, other = kind.random(seed=1), kind.random(seed=1), kind.random(seed=2)
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
        assert not any(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
        assert torch.equal(one.samples(3, 4)[0], same.samples(3, 4)[0])
        assert not torch.equal(one.samples(3, 4)[0], one.samples(3, 5)[0])


# --- Gaussian -----------------------------------------------------------------------------------------------------


def fooled(model: GaussianDetector | TradeOffDetector | Honeypot, images: Tensor, labels: Tensor) -> Tensor:
    return (Misclassified() & Undetected(model.bounds()))(model(images), Aim(labels))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("classes", [2, 4])
def test_gaussian_samples_are_benign_and_the_bounds_are_theirs(classes: int, shape) -> None:
    model = GaussianDetector.random(shape, classes, seed=1)
    images, labels = model.samples(4000, seed=2)
    outputs, bounds = model(images), model.bounds()
    assert images.min() >= 0
    assert images.max() <= 1
    assert torch.equal(outputs.labels, labels)
    assert Undetected(bounds)(outputs, Aim(labels)).all()
    assert outputs.latents.shape == (4000, classes, 2)
    own = outputs.latents[torch.arange(4000), labels]
    assert own.abs().max() <= 0.2001
    torch.testing.assert_close(outputs.suspicion_of_label.mean(), bounds.suspicion_mean[0], rtol=0, atol=5e-4)
    torch.testing.assert_close(outputs.logits.amax(1).mean(), bounds.robust_mean[0], rtol=0, atol=5e-4)
    torch.testing.assert_close(outputs.robust, torch.distributions.Normal(0, 1).log_prob(outputs.latents[..., 0]))
    torch.testing.assert_close(outputs.suspicion, -torch.distributions.Normal(0, 1).log_prob(outputs.latents[..., 1]))


def shortest(model: GaussianDetector, x: Tensor, y: int, j: int, norm: str) -> Tensor:
    """The least change of x towards j, of size 1 at the radius; found as two straight moves."""
    latents = model(x[None].unflatten(1, model.shape)).latents[0]
    (r, v), ends = latents.unbind(1), []
    slope = r[y].sign() * model.robust[y] - r[j].sign() * model.robust[j]
    gap = (r[j].abs() - r[y].abs()).item()
    ends.append((slope, gap))
    ends.append((-v[j].sign() * model.vulnerable[j], max(0.0, (v[j].abs() - model.limits[j]).item())))
    if norm == "linf":
        size = max(gap / s.abs().sum().item() for s, gap in ends)
        return size * sum(s.sign() for s, _ in ends)
    return sum(s * gap / s.square().sum() for s, gap in ends)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("classes", [2, 4])
def test_the_gaussian_radius_is_the_least(classes: int, shape, norm: str, generator) -> None:
    model = GaussianDetector.random(shape, classes, seed=1)
    images, labels = model.samples(6, seed=2)
    radius = model.optimal_radius(images, labels, norm)
    for image, y, r in zip(images, labels.tolist(), radius.tolist(), strict=True):
        x, label = image.flatten(), torch.tensor([y])
        ways = torch.stack([shortest(model, x, y, j, norm) for j in range(classes) if j != y]).detach()
        sizes = torch.linalg.vector_norm(ways, 2 if norm == "l2" else torch.inf, dim=1)
        assert sizes.min().item() == pytest.approx(r, rel=1e-4)
        best = ways[sizes.argmin()]
        assert (x + best).min() > 0
        assert (x + best).max() < 1
        assert not fooled(model, (x + 0.999 * best).reshape(1, *shape), label).any()
        assert fooled(model, (x + 1.001 * best).reshape(1, *shape), label).all()
        near = unit(best + best.abs().max() * torch.randn(500, len(x), generator=generator), norm)
        tries = torch.cat([unit(ways, norm), near])
        assert not fooled(model, (x + 0.999 * r * tries).unflatten(1, shape), label).any()


# --- trade-off and defences ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(20.0, 60.0), (0.5, 4.0)])
def test_the_trade_off_is_as_described(low: float, high: float) -> None:
    model = TradeOffDetector(low, high)
    images, labels = model.samples(3)
    assert torch.equal(model(images).labels, labels)
    assert model(images).suspicion.abs().max() < 1e-5
    wide = torch.ones(1, 1, 4, 2)

    def moved(left: float, right: float) -> Tensor:
        return images + model.epsilon * torch.cat([left * wide, right * wide], 3)

    corner, bypass, idle = moved(1, 1), moved(-low / high, 1), moved(0, 0)
    assert [fooled(model, x, labels).tolist() for x in (corner, bypass, idle)] == [[False] * 3, [True] * 3, [False] * 3]
    assert Misclassified()(model(corner), Aim(labels)).all()
    assert not any(fooled(model, moved(t / 100, t / 100), labels).any() for t in range(101))
    x = moved(0.1, 0.1).requires_grad_()
    for gamma, signs in [(0.9 * low, (1, 1)), (1.1 * low, (-1, 1)), (0.9 * high, (-1, 1)), (1.1 * high, (-1, -1))]:
        outputs = model(x)
        value = outputs.logits[:, 1] - outputs.logits[:, 0] - gamma * outputs.suspicion_of_label
        (slope,) = torch.autograd.grad(value.sum(), x)
        assert (slope[0, 0, 0, 0].sign(), slope[0, 0, 0, 3].sign()) == signs


@pytest.mark.parametrize("epsilon", [0.05, 0.2, 0.4])
def test_the_honeypot_is_as_described(epsilon: float) -> None:
    model = Honeypot(epsilon)
    images, labels = model.samples(20, seed=1)
    halves = torch.stack([half.mean((1, 2, 3)) - 0.5 for half in images.chunk(2, 3)])
    assert halves.abs().max() <= 0.05 * epsilon
    assert torch.equal(model(images).labels, labels)
    assert Undetected(model.bounds())(model(images), Aim(labels)).all()
    wide = torch.ones(1, 1, 4, 2)

    def moved(left: float, right: float) -> Tensor:
        return (0.5 + epsilon * torch.cat([left * wide, right * wide], 3)).requires_grad_()

    for left in (-1, -0.31, 0.31, 1):
        decoy = moved(left, 0.3)
        assert Misclassified()(model(decoy), Aim(labels[:1]))
        assert not fooled(model, decoy, labels[:1])
    assert fooled(model, moved(0, 1), labels[:1])
    assert not Misclassified()(model(moved(0, 0.39)), Aim(labels[:1]))
    for left, right, side in [(0.05, 0.1, 0), (0.2, 0.25, 0), (-0.2, 0.25, 0), (0.05, 0.2, 1)]:
        x = moved(left, right)
        (slope,) = torch.autograd.grad(model(x).logits[:, 1].sum(), x)
        assert slope.chunk(2, 3)[side].all()
        assert not slope.chunk(2, 3)[1 - side].any()


def test_the_honeypot_traps_gradients_and_is_won_without_them() -> None:
    model = Honeypot()
    images, labels = model.samples(30, seed=1)
    bounds = model.bounds()
    passed = Misclassified() & Undetected(bounds)
    raised = attacks.Margin(0.0) + attacks.Bypass(bounds.thresholds[0.05])
    asked = {"epsilon": model.epsilon, "criterion": passed}
    turns = attacks.Selective(-1.0 * attacks.Suspicion())
    from_the_image = attacks.Iterative(attacks.LInf(model.epsilon), attacks.SignStep(0.01), 40, turns)
    assert not attacks.run(from_the_image, model, images, labels, criterion=passed).success.any()
    assert not attacks.mim(model, images, labels, objective=raised, **asked).success.any()
    assert attacks.mim(model, images, labels, epsilon=model.epsilon).success.all()
    assert attacks.square(model, images, labels, queries=300, objective=raised, **asked).success.float().mean() > 0.3
    restarted = attacks.pgd(model, images, labels, restarts=10, objective=raised, early_stop=True, **asked)
    assert restarted.success.float().mean() > 0.5


def test_quantised_models_have_answers_but_no_gradient() -> None:
    model = LinearClassifier.random()
    images, _ = model.samples(4)
    defended = Quantised(model, 64)
    x = images.clone().requires_grad_()
    (slope,) = torch.autograd.grad(defended(x).sum(), x)
    assert not slope.any()
    assert len(defended.rounded(torch.rand(1, 1, 50, 50)).unique()) == 64
    assert 0 < (defended.rounded(images) - images).abs().max() <= 0.5 / 63 + 1e-6
    assert torch.equal(defended(images), model(defended.rounded(images)))


def test_noisy_models_answer_differently_each_time_and_rightly_on_average() -> None:
    model = GaussianDetector.random()
    images, _ = model.samples(2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second = Noisy(model, 0.02)(images), Noisy(model, 0.02)(images)
        many = torch.stack([Noisy(model, 0.02)(images).latents for _ in range(400)]).mean(0)
    assert isinstance(first, Outputs)
    assert not torch.equal(first.logits, second.logits)
    torch.testing.assert_close(many, model(images).latents, rtol=0, atol=0.01)
    assert torch.equal(Noisy(model, 0.0)(images).logits, model(images).logits)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: LinearClassifier(torch.zeros(2, 5), torch.zeros(2)), r"weight \(2, 5\)"),
        (lambda: LinearClassifier(torch.zeros(2, 64), torch.zeros(3)), r"bias \(3,\)"),
        (lambda: LinearClassifier.random(classes=1), "classes is 1"),
        (lambda: LinearClassifier.random((1, 2, 2), 5), "classes is 5; give 2 to 4"),
        (lambda: GaussianDetector.random(classes=1), "classes is 1"),
        (lambda: GaussianDetector.random(classes=9), "classes is 9; give 2 to 8"),
        (lambda: GaussianDetector(torch.zeros(2, 5), torch.zeros(2, 5), torch.ones(2)), r"features \(2, 5\)"),
        (lambda: GaussianDetector(torch.ones(1, 64), torch.ones(1, 64), torch.ones(1)), "the same pixel"),
        (lambda: TradeOffDetector(3, 2), "γ from 3 to 2"),
        (lambda: TradeOffDetector(epsilon=0.5), "epsilon 0.5"),
        (lambda: Honeypot(0.5), "epsilon is 0.5"),
        (lambda: Quantised(torch.sin, 1), "levels is 1"),
        (lambda: Noisy(torch.sin, -0.1), "deviation is -0.1"),
    ],
)
def test_toys_without_sense_are_refused(make, complaint: str) -> None:
    with pytest.raises(TwinlatentError, match=complaint):
        make()


@pytest.mark.parametrize("kind", [LinearClassifier, GaussianDetector])
def test_other_norms_are_refused(kind) -> None:
    model = kind.random()
    with pytest.raises(TwinlatentError, match="norm 'l1' is unknown"):
        model.optimal_radius(*model.samples(2), "l1")
