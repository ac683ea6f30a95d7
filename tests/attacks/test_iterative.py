"""The attacks: the same properties for each row of one table, and each against its formula."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlatent.attacks import AttackResult, fgsm, mim, pgd
from twinlatent.attacks.balls import LInf
from twinlatent.attacks.iterative import ascend
from twinlatent.attacks.steps import SignStep
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.method.detector import Detector
from twinlatent.outputs import Outputs


@dataclass(frozen=True)
class Row:
    attack: Callable[..., AttackResult]
    random: bool = False


ATTACKS = {
    "fgsm": Row(fgsm),
    "pgd": Row(partial(pgd, steps=6, step_size=0.04), random=True),
    "mim": Row(partial(mim, steps=6, step_size=0.04)),
    "mim without decay": Row(partial(mim, steps=6, step_size=0.04, decay=0.0)),
    "one long step": Row(partial(mim, steps=1, step_size=5.0)),
}
EPSILONS = [0.0, 0.02, 0.1, 0.3, 1.0]


@pytest.fixture(scope="module")
def network(digits: Split) -> nn.Module:
    """A small convolutional network with everything that has a mode, trained for a moment."""
    torch.manual_seed(0)
    made = nn.Sequential(
        *(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.2), nn.Linear(54, 10)),
    )
    optimiser = torch.optim.Adam(made.parameters(), 0.02)
    for _ in range(40):
        optimiser.zero_grad()
        F.cross_entropy(made(digits.train.images[:500]), digits.train.labels[:500]).backward()
        optimiser.step()
    optimiser.zero_grad()
    return made.eval()


@pytest.fixture(params=["network", "detector", "function"])
def model(request, network: nn.Module, trained_detector: Detector):
    return {"network": network, "detector": trained_detector, "function": lambda images: network(images)}[request.param]


@pytest.fixture
def batch(digits: Split) -> tuple[Tensor, Tensor]:
    return digits.test.images[:8], digits.test.labels[:8]


def logits_of(model: Callable[[Tensor], Tensor | Outputs], images: Tensor) -> Tensor:
    answer = model(images)
    return answer.logits if isinstance(answer, Outputs) else answer


# --- every attack -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_results_lie_in_ball_and_box_and_tell_the_truth(name: str, epsilon: float, model, batch) -> None:
    images, labels = batch
    kept = images.clone()
    result = ATTACKS[name].attack(model, images, labels, epsilon=epsilon)
    assert torch.equal(images, kept)
    assert (result.images - images).abs().max() <= epsilon + 1e-6
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    assert not result.images.requires_grad
    predicted = logits_of(model, result.images).argmax(1)
    assert torch.equal(result.labels, predicted)
    assert torch.equal(result.success, predicted != labels)


@pytest.mark.parametrize("name", ATTACKS)
def test_no_ball_no_change(name: str, model, batch) -> None:
    assert torch.equal(ATTACKS[name].attack(model, *batch, epsilon=0.0).images, batch[0])


@pytest.mark.parametrize("name", ATTACKS)
def test_the_answer_is_the_same_in_any_batch(name: str, model, batch) -> None:
    images, labels = batch
    whole = ATTACKS[name].attack(model, images, labels, epsilon=0.1).images
    parts = [slice(0, 1), slice(0, 3)]  # a random start is that of the image's place in the batch
    if not ATTACKS[name].random:
        parts += [slice(i, i + 1) for i in range(1, 8)] + [slice(3, 6), torch.tensor([6, 2, 4])]
    for part in parts:
        found = ATTACKS[name].attack(model, images[part], labels[part], epsilon=0.1).images
        differs = ((found - whole[part]).abs() > 1e-6).double().mean()
        assert differs <= 0.02  # rounding may turn the sign of a gradient that is zero but for rounding


@pytest.mark.parametrize("name", ATTACKS)
def test_the_seed_decides(name: str, network: nn.Module, batch) -> None:
    row = ATTACKS[name]
    attack = partial(row.attack, network, *batch, epsilon=0.1)
    before = torch.get_rng_state()
    first = attack().images
    torch.rand(3)
    torch.set_rng_state(before)
    assert torch.equal(first, attack().images)
    assert torch.equal(before, torch.get_rng_state())
    if row.random:
        assert torch.equal(attack(seed=0).images, first)
        assert not torch.equal(attack(seed=1).images, first)


@pytest.mark.parametrize("name", ATTACKS)
def test_the_loss_rises(name: str, model, digits: Split) -> None:
    images, labels = digits.test.images[:64], digits.test.labels[:64]
    epsilon = 0.02 if name in ("fgsm", "one long step") else 0.15
    found = ATTACKS[name].attack(model, images, labels, epsilon=epsilon).images
    before, after = (F.cross_entropy(logits_of(model, x), labels, reduction="none") for x in (images, found))
    told = before > 1e-5  # less is rounding: log-densities as logits saturate the softmax
    assert told.sum() > 20
    assert (after > before)[told].double().mean() > 0.9


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_found(name: str, training: bool, network: nn.Module, batch) -> None:
    network.train(training)
    network[0].weight.requires_grad_(False)
    network[6].weight.grad = torch.ones_like(network[6].weight)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    try:
        found = ATTACKS[name].attack(network, *batch, epsilon=0.1).images
        assert all(module.training == training for module in network.modules())
        assert [p.requires_grad for p in network.parameters()] == [False] + [True] * 5
        assert network[6].weight.grad.eq(1).all()
        assert all(p.grad is None for p in network.parameters() if p is not network[6].weight)
        assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
        network.eval()  # whatever its mode, it was attacked as it is used
        assert torch.equal(found, ATTACKS[name].attack(network, *batch, epsilon=0.1).images)
    finally:
        network.eval().requires_grad_(True).zero_grad()


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_asks_for_gradients_itself(name: str, network: nn.Module, batch) -> None:
    expected = ATTACKS[name].attack(network, *batch, epsilon=0.1).images
    with torch.no_grad():
        assert torch.equal(ATTACKS[name].attack(network, *batch, epsilon=0.1).images, expected)
    asking = batch[0].clone().requires_grad_()
    found = ATTACKS[name].attack(network, asking, batch[1], epsilon=0.1).images
    assert torch.equal(found, expected)
    assert asking.grad is None


@pytest.mark.parametrize("name", ATTACKS)
def test_any_objective_can_be_raised(name: str, trained_detector: Detector, batch) -> None:
    def unsuspicious(outputs: Outputs, labels: Tensor) -> Tensor:
        return -outputs.suspicion.gather(1, labels[:, None])[:, 0]

    images, labels = batch
    epsilon = 0.03 if name in ("fgsm", "one long step") else 0.1
    found = ATTACKS[name].attack(trained_detector, images, labels, epsilon=epsilon, objective=unsuspicious).images
    before, after = (unsuspicious(trained_detector(x), labels) for x in (images, found))
    assert (after > before).double().mean() > 0.8


@pytest.mark.parametrize("name", ATTACKS)
def test_large_logits_hide_nothing(name: str, network: nn.Module, digits: Split) -> None:
    """Log-densities as logits are 20 to 100 apart, where float32's softmax is 0 and 1; decisions stay the same."""
    images, labels = digits.test.images[:100], digits.test.labels[:100]
    plain, large = (
        ATTACKS[name].attack(model, images, labels, epsilon=0.1).success.double().mean().item()
        for model in (network, lambda x: 30 * network(x))
    )
    assert large >= plain - 0.03


@pytest.mark.parametrize("attack", [pgd, mim])
@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"steps": -3}, "steps is -3"),
        ({"epsilon": -0.1}, "epsilon is -0.1"),
        ({"epsilon": float("nan")}, "epsilon is nan"),
        ({"step_size": -1.0}, "step size -1.0"),
    ],
)
def test_settings_without_sense_are_refused(attack, settings, complaint: str, network: nn.Module, batch) -> None:
    with pytest.raises(TwinlatentError, match=complaint):
        attack(network, *batch, **{"epsilon": 0.1} | settings)


# --- each against its formula -------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [0.05, 0.3])
def test_fgsm_on_a_linear_model_is_the_closed_form(epsilon: float, batch, generator) -> None:
    """∇_x of the cross-entropy is Σ_j (softmax_j − [j = y]) w_j; for two classes, ± the difference of the weights."""
    images = batch[0]
    linear = nn.Linear(64, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(2, 64, generator=generator))
    labels = torch.arange(8) % 2
    away = torch.stack([linear.weight[1 - y] - linear.weight[y] for y in labels]).reshape(8, 1, 8, 8)
    expected = (images + epsilon * away.sign()).clamp(0, 1)
    result = fgsm(nn.Sequential(nn.Flatten(), linear), images, labels, epsilon=epsilon)
    torch.testing.assert_close(result.images, expected.detach())


def literal(network, images, labels, epsilon, step_size, steps, decay=None, noise=None) -> Tensor:
    """MIM, or PGD if `decay` is None: one image after another."""
    found = []
    for i, (x0, y) in enumerate(zip(images.split(1), labels.split(1), strict=True)):
        x = x0 if noise is None else (x0 + epsilon * (2 * noise[i : i + 1] - 1)).clamp(0, 1)
        g = torch.zeros_like(x)
        for _ in range(steps):
            x = x.detach().requires_grad_()
            (grad,) = torch.autograd.grad(-torch.log_softmax(network(x), 1)[0, y[0]], x)
            g = grad if decay is None else decay * g + grad / grad.abs().sum()
            x = (x.detach() + step_size * g.sign()).clamp(x0 - epsilon, x0 + epsilon).clamp(0, 1)
        found.append(x.detach())
    return torch.cat(found)


def agree(a: Tensor, b: Tensor) -> bool:
    """Alike but for pixels whose gradient is zero but for rounding."""
    return ((a - b).abs() > 1e-5).double().mean().item() <= 0.02


@pytest.mark.parametrize("epsilon", [0.05, 0.3])
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9])
def test_mim_is_its_formula(decay: float, epsilon: float, network: nn.Module, batch) -> None:
    found = mim(network, *batch, epsilon=epsilon, step_size=0.03, steps=7, decay=decay).images
    assert agree(found, literal(network, *batch, epsilon, 0.03, 7, decay))
    assert not agree(found, literal(network, *batch, epsilon, 0.03, 7, 0.2))


@pytest.mark.parametrize("epsilon", [0.05, 0.3])
def test_pgd_is_its_formula(epsilon: float, network: nn.Module, batch) -> None:
    noise = torch.rand(batch[0].shape, generator=torch.Generator().manual_seed(3))
    found = pgd(network, *batch, epsilon=epsilon, step_size=0.03, steps=7, seed=3).images
    assert agree(found, literal(network, *batch, epsilon, 0.03, 7, noise=noise))
    assert not agree(found, literal(network, *batch, epsilon, 0.03, 7))


def test_fgsm_is_its_formula(network: nn.Module, batch) -> None:
    assert agree(fgsm(network, *batch, epsilon=0.1).images, literal(network, *batch, 0.1, 0.1, 1))


# --- the loop -----------------------------------------------------------------------------------------------------


def test_the_loop_finds_the_nearest_corner(batch) -> None:
    """−‖x − target‖₁ is highest at the projection of the target."""
    images = batch[0].unflatten(0, (2, 4))  # any leading dimensions
    target = images.flip(1).flip(-1)
    ball = LInf(0.2)
    found = ascend(lambda x: -(x - target).abs().sum((-1, -2, -3)), images, ball, SignStep(0.01), 30)
    assert (found - ball.project(target, images)).abs().max() <= 0.0101


def test_no_steps_leave_the_start(batch, generator) -> None:
    images = batch[0]

    def nothing(x: Tensor) -> Tensor:
        raise AssertionError("asked")

    assert torch.equal(ascend(nothing, images, LInf(0.2), SignStep(0.1), 0), images)
    start = ascend(nothing, images, LInf(0.2), SignStep(0.1), 0, random_start=True, generator=generator)
    assert torch.equal(start, LInf(0.2).random(images, torch.Generator().manual_seed(0)))
