"""One table of attacks, a row each, and the same properties for all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from twinlatent.attacks import (
    L2,
    Ascent,
    AttackResult,
    Bypass,
    GammaSearch,
    Iterative,
    LInf,
    LogOdds,
    Probing,
    SignStep,
    Suspicion,
    UnitStep,
    carlini_wagner,
    fgsm,
    mim,
    multi_targeted,
    orthogonal_pgd,
    pgd,
    run,
    selective_pgd,
    square,
    transfer,
    uniform_noise,
)
from twinlatent.attacks.models import as_model
from twinlatent.criteria import Aim, HitsTarget, Misclassified, Undetected
from twinlatent.data import Split
from twinlatent.method.detector import Detector
from twinlatent.outputs import Outputs
from twinlatent.testing import GaussianDetector, LinearClassifier


@dataclass(frozen=True)
class Row:
    """An attack, (model, images, labels, epsilon, **options) → result, and what may be expected of it."""

    attack: Callable[..., AttackResult]
    norm: str | None = "linf"  # the norm that is bounded
    random: bool = False
    targeted: bool = False
    hops: bool = False  # compares near-equal answers, so that rounding may send it elsewhere

    def __call__(self, model: Any, images: Tensor, labels: Tensor, epsilon: float = 0.1, **options: Any):
        if self.targeted:
            options["targets"] = (labels + 1) % 3
        return self.attack(model, images, labels, epsilon, **options)

    def succeeded(self, model: Any, images: Tensor, labels: Tensor) -> Tensor:
        criterion = HitsTarget() if self.targeted else Misclassified()
        return criterion(as_model(model)(images), Aim(labels, (labels + 1) % 3))


def of(attack: Callable[..., AttackResult], **settings: Any) -> Callable[..., AttackResult]:
    """The attack with settings, its radius being a place."""
    return lambda model, x, y, epsilon, **options: attack(model, x, y, epsilon=epsilon, **settings, **options)


def built(make: Callable[[float], Any]) -> Callable[..., AttackResult]:
    return lambda model, x, y, epsilon, **options: run(make(epsilon), model, x, y, **options)


def searched(epsilon: float) -> GammaSearch:
    objective = LogOdds() + Bypass(torch.zeros(10))
    return GammaSearch(Iterative(LInf(epsilon), SignStep(0.04), 5, Ascent(objective)), searches=2)


def transferred(model: Any, x: Tensor, y: Tensor, epsilon: float, **options: Any) -> AttackResult:
    attack = Iterative(LInf(epsilon), SignStep(0.04), 3)
    return transfer(model, x, y, substitute=SUBSTITUTES[x.shape[1]], attack=attack, **options)


def smallest(model: Any, x: Tensor, y: Tensor, epsilon: float, **options: Any) -> AttackResult:
    return carlini_wagner(model, x, y, steps=8, learning_rate=0.1, initial_c=10, searches=2, **options)


SUBSTITUTES = {shape[0]: LinearClassifier.random(shape, 10) for shape in [(1, 8, 8), (3, 4, 6)]}
FEW = {"steps": 4, "step_size": 0.04}
ATTACKS = {
    "fgsm": Row(of(fgsm)),
    "pgd": Row(of(pgd, **FEW), random=True),
    "pgd in L2": Row(of(pgd, **FEW, norm="l2"), "l2", random=True),
    "pgd with restarts": Row(of(pgd, **FEW, restarts=3), random=True),
    "pgd that stops early": Row(of(pgd, **FEW, early_stop=True), random=True),
    "pgd towards a target": Row(of(pgd, **FEW), random=True, targeted=True),
    "mim": Row(of(mim, **FEW)),
    "mim in L2": Row(of(mim, **FEW, norm="l2"), "l2"),
    "mim without decay": Row(of(mim, **FEW, decay=0.0)),
    "one long step": Row(of(mim, steps=1, step_size=5.0)),
    "multi-targeted": Row(of(multi_targeted, **FEW)),
    "multi-targeted in L2": Row(of(multi_targeted, **FEW, norm="l2", targets_per_image=1), "l2"),
    "selective": Row(of(selective_pgd, **FEW), random=True),
    "selective in L2": Row(of(selective_pgd, **FEW, norm="l2", restarts=2), "l2", random=True),
    "orthogonal": Row(of(orthogonal_pgd, **FEW), random=True),
    "carlini-wagner": Row(smallest, None),
    "carlini-wagner towards a target": Row(smallest, None, targeted=True),
    "square": Row(of(square, queries=25), random=True, hops=True),
    "noise": Row(of(uniform_noise, draws=4), random=True, hops=True),
    "noise in L2": Row(of(uniform_noise, draws=4, norm="l2"), "l2", random=True, hops=True),
    "transfer": Row(transferred),
    "search for γ": Row(built(searched)),
    "probing": Row(built(lambda epsilon: Probing(LInf(epsilon), SignStep(0.08), 3, 3)), random=True),
    "probing in L2": Row(built(lambda epsilon: Probing(L2(epsilon), UnitStep(0.08), 3, 3)), "l2", random=True),
}  # fmt: skip
EPSILONS = [pytest.param(0.02, marks=pytest.mark.slow), 0.3, pytest.param(7.0, marks=pytest.mark.slow)]
ROUNDING = 2e-6


@pytest.fixture(params=["network", "detector", "linear", "gaussian"])
def attacked(request, network, trained_detector: Detector, batch, linear, gaussian):
    """A model, and images that it reads, most of them rightly, with their labels."""
    toys = {"linear": linear, "gaussian": gaussian}
    if request.param in toys:
        return toys[request.param], *toys[request.param].samples(8)
    return (network if request.param == "network" else trained_detector), *batch


@pytest.fixture(params=["network", "linear", "gaussian"])
def module(request, network, batch, linear, gaussian):
    """The same for modules."""
    toys = {"linear": linear, "gaussian": gaussian}
    return (network, *batch) if request.param == "network" else (toys[request.param], *toys[request.param].samples(8))


def size_of(change: Tensor, norm: str) -> Tensor:
    return torch.linalg.vector_norm(change.flatten(1).double(), 2 if norm == "l2" else torch.inf, dim=1)


DTYPES = {
    "labels": torch.int64, "steps": torch.int64, "dead_steps": torch.int64, "linf": torch.float32, "l2": torch.float32,
    "gamma": torch.float32, "success": torch.bool, "gamma_stuck": torch.bool,
}  # fmt: skip


@torch.no_grad()
def broken(row: Row, result: AttackResult, model: Any, images: Tensor, labels: Tensor, epsilon: float) -> list[str]:
    """What is true of each result, and not of this one."""
    sizes = {norm: size_of(result.images - images, norm) for norm in ("linf", "l2")}
    told = {norm: getattr(result, norm).double() for norm in sizes}
    fields = {name: getattr(result, name) for name in DTYPES}
    claims = {
        "the images are finite": result.images.isfinite().all(),
        "the images are as many and as large as they were": result.images.shape == images.shape,
        "the images are in the box": result.images.min() >= 0 and result.images.max() <= 1,
        "the images are in the ball": not row.norm or sizes[row.norm].max() <= epsilon + ROUNDING * (1 + epsilon),
        "the images are free of the graph": not result.images.requires_grad,
        "the norms are those of the change": all(torch.allclose(told[n], sizes[n], 1e-5, 1e-6) for n in sizes),
        "the labels are the model's": torch.equal(result.labels, as_model(model)(result.images).labels),
        "success is the criterion's": torch.equal(result.success, row.succeeded(model, result.images, labels)),
        "the fields have their types": {name: field.dtype for name, field in fields.items()} == DTYPES,
        "the fields have a number an image": {field.shape for field in fields.values()} == {(len(images),)},
        "a step at least was taken": (result.steps >= 1).all(),
        "no more steps were dead than taken": ((result.dead_steps >= 0) & (result.dead_steps <= result.steps)).all(),
        "what succeeded is not stuck": not (result.gamma_stuck & result.success).any(),
    }
    return [claim for claim, holds in claims.items() if not holds]


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_results_lie_in_ball_and_box_and_tell_the_truth(name: str, epsilon: float, attacked) -> None:
    model, images, labels = attacked
    kept = images.clone(), labels.clone()
    epsilon = min(epsilon, 1.0) if ATTACKS[name].norm == "linf" else epsilon  # 1 is the whole box
    result = ATTACKS[name](model, images, labels, epsilon)
    assert broken(ATTACKS[name], result, model, images, labels, epsilon) == []
    assert torch.equal(images, kept[0])
    assert torch.equal(labels, kept[1])


@pytest.mark.parametrize("name", [name for name, row in ATTACKS.items() if row.norm])
def test_no_ball_no_change(name: str, attacked) -> None:
    model, images, labels = attacked
    result = ATTACKS[name](model, images, labels, 0.0)
    assert broken(ATTACKS[name], result, model, images, labels, 0.0) == []
    assert torch.equal(result.images, images)


@pytest.mark.parametrize("name", ATTACKS)
def test_the_answer_is_the_same_in_any_batch_and_order(name: str, attacked) -> None:
    model, images, labels = attacked
    whole = ATTACKS[name](model, images, labels)
    parts = [slice(7, 8), torch.tensor([6, 2, 4]), torch.arange(7, -1, -1)]
    results = [(part, ATTACKS[name](model, images[part], labels[part])) for part in parts]
    results.append((slice(0, 8), ATTACKS[name](model, images, labels, batch_size=3)))
    for part, found in results:
        other = ((found.images - whole.images[part]).abs().amax((1, 2, 3)) > 1e-4).double()
        differs = ((found.images - whole.images[part]).abs() > 1e-4).double().mean()
        assert differs <= 0.02 or (ATTACKS[name].hops and other.sum() <= 1)  # rounding may turn the sign of a zero
        if differs == 0:
            assert torch.equal(found.success, whole.success[part])
            assert torch.equal(found.steps, whole.steps[part])


@pytest.mark.parametrize("name", ATTACKS)
def test_the_seed_decides_and_the_global_state_is_left_alone(name: str, module) -> None:
    model, images, labels = module
    row, before = ATTACKS[name], torch.get_rng_state()
    first = row(model, images, labels).images
    assert torch.equal(before, torch.get_rng_state())
    with torch.random.fork_rng():
        torch.rand(3)
        assert torch.equal(first, row(model, images, labels).images)
        assert torch.equal(first, row(model, images, labels, seed=0).images)
    other = row(model, images, labels, seed=1).images
    assert torch.equal(first, other) != row.random


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_found(name: str, training: bool, network: nn.Module, batch) -> None:
    network.train(training)
    network[0].weight.requires_grad_(False)
    network[6].weight.grad = torch.ones_like(network[6].weight)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    try:
        found = ATTACKS[name](network, *batch).images
        assert all(module.training == training for module in network.modules())
        assert [p.requires_grad for p in network.parameters()] == [False] + [True] * 5
        assert network[6].weight.grad.eq(1).all()
        assert all(p.grad is None for p in network.parameters() if p is not network[6].weight)
        assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
        network.eval()  # whatever its mode, it was attacked as it is used
        assert torch.equal(found, ATTACKS[name](network, *batch).images)
    finally:
        network.eval().requires_grad_(True).zero_grad()


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_asks_for_gradients_itself(name: str, module) -> None:
    model, images, labels = module
    expected = ATTACKS[name](model, images, labels).images
    with torch.no_grad():
        assert torch.equal(ATTACKS[name](model, images, labels).images, expected)
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        inside = images.clone(), labels.clone()  # tensors of inference mode
        assert torch.equal(ATTACKS[name](model, *inside).images, expected)
        assert torch.is_inference_mode_enabled()
    asking = images.clone().requires_grad_()
    assert torch.equal(ATTACKS[name](model, asking, labels).images, expected)
    assert asking.grad is None


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("kind", [LinearClassifier, GaussianDetector])
@pytest.mark.parametrize("n", [1, 3])
def test_colours_and_any_number_of_images(n: int, kind, name: str) -> None:
    model = kind.random((3, 4, 6), 3)
    images, labels = model.samples(n)
    assert broken(ATTACKS[name], ATTACKS[name](model, images, labels), model, images, labels, 0.1) == []


@pytest.mark.parametrize("name", ATTACKS)
def test_black_and_white_images(name: str, module) -> None:
    model, images, labels = module
    flat = torch.stack([torch.zeros_like(images[0]), torch.ones_like(images[0]), (images[0] > 0.5).float()])
    assert broken(ATTACKS[name], ATTACKS[name](model, flat, labels[:3]), model, flat, labels[:3], 0.1) == []


@pytest.mark.parametrize("name", ATTACKS)
def test_the_criterion_is_judged_on_the_final_images(name: str, gaussian: GaussianDetector) -> None:
    images, labels = gaussian.samples(8)
    criterion = Misclassified() & Undetected(gaussian.bounds())
    result = ATTACKS[name](gaussian, images, labels, 0.2, criterion=criterion)
    assert torch.equal(result.success, criterion(gaussian(result.images), Aim(labels)))


TAKES_AN_OBJECTIVE = ["fgsm", "pgd", "pgd in L2", "mim", "mim in L2", "one long step"]


@pytest.mark.parametrize("name", TAKES_AN_OBJECTIVE)
def test_any_objective_can_be_raised(name: str, trained_detector: Detector, batch) -> None:
    images, labels = batch
    objective, never = -1.0 * Suspicion(), Undetected(trained_detector.bounds(0.05)) & Misclassified()
    found = ATTACKS[name](trained_detector, images, labels, 0.03, objective=objective, criterion=never)
    before, after = (objective(trained_detector(x), Aim(labels)) for x in (images, found.images))
    told = ~found.success
    assert told.any()
    assert (after > before)[told].all()


@pytest.mark.parametrize("name", [name for name, row in ATTACKS.items() if "carlini" not in name and "cw" not in name])
def test_large_logits_hide_nothing(name: str, network: nn.Module, digits: Split) -> None:
    """Log-densities as logits are 20 to 100 apart, where float32's softmax is 0 and 1; decisions stay the same."""
    images, labels = digits.test.images[:60], digits.test.labels[:60]
    plain, large = (
        ATTACKS[name](model, images, labels).success.double().mean().item()
        for model in (network, lambda x: 30 * network(x))
    )
    assert large >= plain - 0.1  # large logits weigh wrong classes otherwise: a few images differ


@pytest.mark.parametrize("name", [name for name, row in ATTACKS.items() if row.norm])
@pytest.mark.parametrize("toy", ["linear", "gaussian"])
def test_success_never_falls_as_the_ball_grows(toy: str, name: str, request) -> None:
    model = request.getfixturevalue(toy)
    images, labels = model.samples(8)
    row = ATTACKS[name]
    radii = [0.0, 0.01, 0.02, 0.04, 0.08, 0.16, 0.24] if row.norm == "linf" else [0.0, 0.1, 0.2, 0.4, 0.8]
    share = [row(model, images, labels, radius).success.double().mean().item() for radius in radii]
    slack = 1 / 8 if row.random else 0
    assert all(later >= earlier - slack for earlier, later in pairwise(share)), share
    assert share[0] == 0


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("attack", [pgd, mim, multi_targeted, selective_pgd, orthogonal_pgd])
@pytest.mark.parametrize("toy", ["linear", "gaussian"])
def test_success_never_falls_as_steps_double(toy: str, attack, norm: str, request) -> None:
    """The first steps are the same, and the best iterate is kept; but for those whose steps shrink."""
    model = request.getfixturevalue(toy)
    images, labels = model.samples(8)
    epsilon, size = (0.15, 0.01) if norm == "linf" else (0.8, 0.05)
    success = torch.zeros(8, dtype=torch.bool)
    for steps in (1, 2, 4, 8, 16, 32):
        found = attack(model, images, labels, epsilon=epsilon, step_size=size, steps=steps, norm=norm).success
        assert (found | ~success).all()
        success = found
    assert success.any()


def test_a_result_of_several_batches_is_in_their_order(network: nn.Module, batch) -> None:
    images, labels = batch
    done: list[int] = []
    result = pgd(network, images, labels, epsilon=0.1, steps=3, batch_size=3, progress=done.append)
    assert done == [3, 6, 8]
    alone = [pgd(network, images[i : i + 1], labels[i : i + 1], epsilon=0.1, steps=3).images for i in range(8)]
    assert ((result.images - torch.cat(alone)).abs() > 1e-5).double().mean() <= 0.02


def test_a_function_is_asked_once_a_step(gaussian: GaussianDetector) -> None:
    images, labels = gaussian.samples(3)
    asked = []

    def spy(x: Tensor) -> Outputs:
        asked.append(x)
        return gaussian(x)

    pgd(spy, images, labels, epsilon=0.1, steps=4)
    assert len(asked) == 1 + 5 + 1  # the check of one image, an iterate more than steps, the verdict
