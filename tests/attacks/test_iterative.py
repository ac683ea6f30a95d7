"""FGSM, PGD and MIM against their formulas, and the loop itself."""

import pytest
import torch
from torch import Tensor, nn

from twinlatent.attacks import Ascent, Iterative, Margin, Restarts, fgsm, mim, pgd, run
from twinlatent.attacks.attack import again, seeds_of
from twinlatent.attacks.balls import LInf
from twinlatent.attacks.iterative import ascend
from twinlatent.attacks.objectives import LogOdds, Objective
from twinlatent.attacks.steps import SignStep
from twinlatent.criteria import Aim
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Outputs


@pytest.mark.parametrize("attack", [pgd, mim])
@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"steps": -3}, "steps is -3"),
        ({"epsilon": -0.1}, "epsilon is -0.1"),
        ({"epsilon": float("nan")}, "epsilon is nan"),
        ({"step_size": -1.0}, "step size is -1.0"),
        ({"norm": "l1"}, "norm 'l1' is unknown; choose linf or l2"),
    ],
)
def test_settings_without_sense_are_refused(attack, settings, complaint: str, network: nn.Module, batch) -> None:
    with pytest.raises(TwinlatentError, match=complaint):
        attack(network, *batch, **{"epsilon": 0.1} | settings)


# --- each against its formula -------------------------------------------------------------------------------------


def loss(network: nn.Module, x: Tensor, y: int) -> Tensor:
    """The logarithm of the odds that the label is another, of one image."""
    p = torch.softmax(network(x)[0].double(), 0)[y]
    return torch.log(1 - p) - torch.log(p)


def literal(network, images, labels, epsilon, step_size, steps, decay=None, noise=None) -> list[list[Tensor]]:
    """MIM, or PGD if `decay` is None: one image after another, all iterates of each."""
    found = []
    for i, (x0, y) in enumerate(zip(images.split(1), labels.tolist(), strict=True)):
        x = x0 if noise is None else (x0 + epsilon * (2 * noise[i : i + 1] - 1)).clamp(0, 1)
        g, path = torch.zeros_like(x), [x]
        for _ in range(steps):
            x = x.detach().requires_grad_()
            (grad,) = torch.autograd.grad(loss(network, x, y), x)
            g = grad if decay is None else decay * g + grad / grad.abs().sum()
            x = (x.detach() + step_size * g.sign()).clamp(x0 - epsilon, x0 + epsilon).clamp(0, 1)
            path.append(x.detach())
        found.append(path)
    return found


def best(network: nn.Module, paths: list[list[Tensor]], labels: Tensor) -> Tensor:
    """Of each path the misclassified iterate of highest loss, else that of highest loss."""

    def worth(x: Tensor, y: int) -> tuple[bool, float]:
        return network(x).argmax(1).item() != y, loss(network, x, y).item()

    return torch.cat([max(p, key=lambda x: worth(x, y)) for p, y in zip(paths, labels.tolist(), strict=True)]).detach()


def agree(a: Tensor, b: Tensor) -> bool:
    """Alike but for pixels whose gradient is zero but for rounding."""
    return ((a - b).abs() > 1e-5).double().mean().item() <= 0.02


@pytest.mark.parametrize("epsilon", [0.05, 0.3])
@pytest.mark.parametrize("decay", [0.5, 0.9])
def test_mim_is_its_formula(decay: float, epsilon: float, network: nn.Module, batch) -> None:
    found = mim(network, *batch, epsilon=epsilon, step_size=0.03, steps=7, decay=decay).images
    assert agree(found, best(network, literal(network, *batch, epsilon, 0.03, 7, decay), batch[1]))
    assert not agree(found, best(network, literal(network, *batch, epsilon, 0.03, 7, 0.2), batch[1]))


@pytest.mark.parametrize("epsilon", [0.05, 0.3])
def test_pgd_is_its_formula(epsilon: float, network: nn.Module, batch) -> None:
    seeds = again(Aim(batch[1], seeds=seeds_of(batch[0], 3)), 0).seeds.tolist()  # of the first start
    noise = torch.stack([torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    found = pgd(network, *batch, epsilon=epsilon, step_size=0.03, steps=7, seed=3).images
    assert agree(found, best(network, literal(network, *batch, epsilon, 0.03, 7, noise=noise), batch[1]))
    assert not agree(found, best(network, literal(network, *batch, epsilon, 0.03, 7), batch[1]))


def test_fgsm_is_its_formula(network: nn.Module, batch) -> None:
    paths = literal(network, *batch, 0.05, 0.05, 1)
    found = fgsm(network, *batch, epsilon=0.05).images
    assert agree(found, best(network, paths, batch[1]))
    stepped = [not torch.equal(image, start) for image, start in zip(found, batch[0], strict=True)]
    assert sum(stepped) >= 6  # the others are worse after the step


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


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_the_bare_loop_returns_the_last_iterate(decay: float, network: nn.Module, batch) -> None:
    images, labels = batch

    def objective(x: Tensor) -> Tensor:
        logits = network(x)
        return LogOdds()(Outputs(logits, logits), Aim(labels))

    last = torch.cat([path[-1] for path in literal(network, *batch, 0.2, 0.03, 7, decay or None)])
    assert agree(ascend(objective, images, LInf(0.2), SignStep(0.03, decay), 7), last)


# --- the loop -----------------------------------------------------------------------------------------------------


class Peak(Objective):
    """−(mean − 0.6)²: an ascent with long steps goes past it."""

    def __call__(self, outputs: Outputs, aim: Aim) -> Tensor:
        return -(outputs.suspicion[:, 0] - 0.6).square()


def mean_model(x: Tensor) -> Outputs:
    """Class 1 where the mean is above 0.72; the mean as suspicion."""
    mean = x.mean((1, 2, 3))
    return Outputs(torch.stack([torch.full_like(mean, 0.72), mean], 1), mean[:, None].expand(-1, 2))


def test_the_best_iterate_is_kept_and_successes_are_better_than_any_other() -> None:
    grey, zero = torch.full((1, 1, 2, 2), 0.47), torch.zeros(1, dtype=torch.int64)
    short = Iterative(LInf(0.5), SignStep(0.1), 6, Ascent(Peak()))
    assert run(short, mean_model, grey, zero).images.mean().item() == pytest.approx(0.57)  # 0.47, 0.57, 0.67, 0.57, ...
    long = Iterative(LInf(0.5), SignStep(0.3), 6, Ascent(Peak()))
    result = run(long, mean_model, grey, zero)  # 0.47, 0.77, 0.47, ...: 0.77 lies lower, but is a success
    assert result.success.all()
    assert result.images.mean().item() == pytest.approx(0.77)


def test_an_early_stop_keeps_the_first_success_and_asks_no_more() -> None:
    images = torch.stack([torch.full((1, 2, 2), start) for start in (0.5, 0.6, 0.9, 0.1)])
    zeros, asked = torch.zeros(4, dtype=torch.int64), []

    def spy(x: Tensor) -> Outputs:
        asked.append(len(x))
        return mean_model(x)

    attack = Iterative(LInf(0.4), SignStep(0.1), 5, Ascent(Margin()), early_stop=True)
    result = run(attack, spy, images, zeros)
    assert asked[1:-1] == [4, 3, 3, 2, 1, 1]  # the first call checks the shape, the last judges
    torch.testing.assert_close(result.images.mean((1, 2, 3)), torch.tensor([0.8, 0.8, 0.9, 0.5]))
    assert result.success.tolist() == [True, True, True, False]
    full = run(Iterative(LInf(0.4), SignStep(0.1), 5, Ascent(Margin())), mean_model, images, zeros)
    torch.testing.assert_close(full.images.mean((1, 2, 3)), torch.tensor([0.9, 1.0, 1.0, 0.5]))
    assert full.steps.tolist() == [5] * 4


def test_steps_may_shrink_to_nothing() -> None:
    images, zeros = torch.full((1, 1, 2, 2), 0.1), torch.zeros(1, dtype=torch.int64)
    attack = Iterative(LInf(1.0), SignStep(0.1), 4, Ascent(Margin()), shrink=True)
    assert run(attack, mean_model, images, zeros).images.mean().item() == pytest.approx(
        0.1 + 0.1 + 0.075 + 0.05 + 0.025
    )


def test_options_of_the_functions_arrive(network: nn.Module, batch) -> None:
    step, settings = SignStep(0.08), {"epsilon": 0.1, "step_size": 0.08, "steps": 4}
    for shrink in (False, True):
        attack = Restarts(Iterative(LInf(0.1), step, 4, Ascent(), random_start=True, shrink=shrink), 1)
        assert torch.equal(pgd(network, *batch, shrink=shrink, **settings).images, run(attack, network, *batch).images)
    for start, count in ((False, 1), (True, 1), (True, 3)):
        attack = Restarts(Iterative(LInf(0.1), SignStep(0.08, 0.9), 4, Ascent(), random_start=start), count)
        found = mim(network, *batch, random_start=start, restarts=count, **settings).images
        assert torch.equal(found, run(attack, network, *batch).images)


def test_restarts_from_the_image_itself_are_refused(network: nn.Module, batch) -> None:
    with pytest.raises(TwinlatentError, match=r"restarts is 2, .* set random_start=True"):
        mim(network, *batch, epsilon=0.1, restarts=2)


def test_what_is_no_number_is_no_step() -> None:
    def model(x: Tensor) -> Tensor:
        mean = x.mean((1, 2, 3))
        return torch.stack([mean, (mean - 0.5).sqrt()], 1)  # its slope at 0.5 is infinite, below it is no number

    images = torch.stack([torch.full((1, 2, 2), start) for start in (0.4, 0.6)])
    labels = torch.tensor([1, 0])  # argmax takes NaN for the largest, so the first image is read rightly
    result = mim(model, images, labels, epsilon=0.2, steps=3, step_size=0.05)
    assert result.images.isfinite().all()
    assert result.dead_steps.tolist() == [3, 0]
    assert torch.equal(result.images[0], images[0])


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
