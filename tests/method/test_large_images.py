"""The networks for 64×64 images: gradients in 64 latent dimensions, and batch normalisation inside the game."""

import math

import pytest
import torch
from torch import Tensor

from twinlatent.attacks.models import frozen
from twinlatent.method import game
from twinlatent.method.adversaries import search
from twinlatent.method.adversaries.search import adversary_turn
from twinlatent.method.class_vaes import ClassEncoders
from twinlatent.method.densities import log_one_minus_density, log_standard_normal
from twinlatent.method.game import defender_turn
from twinlatent.method.game_state import GameSettings, new_state
from twinlatent.method.plans import plan
from twinlatent.recipes import shipped

SIDE = 64
SHAPE = (1, SIDE, SIDE)


@pytest.fixture(scope="module")
def images(real_images) -> Tensor:
    """Benign images (2 classes, 3, 1, 64, 64)."""
    return real_images(6, SIDE).unflatten(0, (2, 3))


@pytest.fixture(scope="module")
def encoders() -> ClassEncoders:
    made = ClassEncoders(
        plan(shipped("cats-dogs").networks.encoder, SHAPE, "encoder"), 2, torch.Generator().manual_seed(0)
    )
    return made.requires_grad_(False).eval()


def test_the_joint_density_is_too_small_to_be_learnt_from(encoders: ClassEncoders, images: Tensor) -> None:
    assert encoders.robust_size == encoders.vulnerable_size == 64
    assert log_standard_normal(torch.zeros(64)).exp() == pytest.approx(2.9e-26, rel=0.02)
    x = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(log_one_minus_density(encoders(x).robust.mean, "joint").sum(), x)
    assert gradient.abs().max() < 1e-20


def test_the_penalty_per_dimension_has_a_gradient(encoders: ClassEncoders, images: Tensor) -> None:
    for latents in ("robust", "vulnerable"):
        x = images.clone().requires_grad_()
        penalty = -log_one_minus_density(getattr(encoders(x), latents).mean, "per_dimension")
        assert (penalty > 0).all()
        (gradient,) = torch.autograd.grad(penalty.sum(), x)
        assert gradient.isfinite().all()
        assert (gradient.flatten(2).abs().amax(2) > 1e-6).all()  # of every image


def first_gradient(images: Tensor, monkeypatch: pytest.MonkeyPatch, level: float, **adversary: object) -> Tensor:
    """Of what the adversary raises, in its first step, (2, 3, 1, 64, 64); `level` is the benign log P_v so far."""
    settings = shipped("cats-dogs-smoke").game_settings()
    changed = settings.adversary.model_copy(update={"steps": 1, **adversary})
    state = new_state(SHAPE, 2, settings, 0, "cpu")
    state.levels = torch.full_like(state.levels, level)
    found = []

    def looked_at(gain, _enough, others, *_rest) -> Tensor:
        x = others.clone().requires_grad_()
        found.append(torch.autograd.grad(gain(x).sum(), x)[0])
        return others

    monkeypatch.setattr(search, "_attack", looked_at)
    adversary_turn(state.vaes, state.levels, images, images.roll(1, 0), 0.1, changed, state.generator)
    assert found[0].isfinite().all()
    return found[0]


def test_what_the_adversary_raises_has_a_gradient(images: Tensor, monkeypatch) -> None:
    gradient = first_gradient(images, monkeypatch, math.nan, objective="ratio")
    assert (gradient.flatten(2).abs().amax(2) > 1e-6).all()  # of every image


@pytest.mark.parametrize(("level", "exceeded"), [(-1e6, True), (1e6, False)])
def test_the_bypass_term_has_a_gradient_where_it_is_exceeded(
    level: float, exceeded: bool, images: Tensor, monkeypatch
) -> None:
    """The gradient with the term less the one without it: of every image above the benign level, of none below."""
    whole, robust = (
        first_gradient(images, monkeypatch, level, objective="bypass", bypass_weight=weight) for weight in (1.0, 0.0)
    )
    of_term = (whole - robust).flatten(2).abs().amax(2)
    assert (of_term > 1e-6).all() if exceeded else (of_term == 0).all()


SMALL = GameSettings(
    encoder="2(c(8,8)-bn-relu-mp(2)) c(8,8)-bn-relu-z(4,4)",
    decoder="d(9) ct(3,4) d(256)",
    batch=4,
    adversary={"steps": 2, "epsilon": 0.2},
)


def statistics(state: game.GameState) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state.vaes.named_buffers()}


def test_the_adversary_sees_the_network_as_it_is_used_afterwards(real_images) -> None:
    """Running statistics, which its turn leaves alone: what becomes of an image depends on no other one."""
    benign = real_images(8, 16).unflatten(0, (2, 4))
    others = benign.roll(1, 0)
    state = new_state((1, 16, 16), 2, SMALL, 0, "cpu")
    defender_turn(state, benign, others, SMALL)  # statistics that are neither the first nor the batch's
    before = statistics(state)

    def attacked(images: Tensor) -> Tensor:
        return adversary_turn(state.vaes, state.levels, benign, images, 0.2, SMALL.adversary, state.generator).images

    together = attacked(others)
    assert all(torch.equal(value, before[name]) for name, value in statistics(state).items())
    assert state.vaes.training
    torch.testing.assert_close(attacked(others[:, 1:2]), together[:, 1:2], atol=1e-4, rtol=0)


def test_the_defender_moves_the_statistics_of_each_class(real_images) -> None:
    benign = real_images(8, 16).unflatten(0, (2, 4))
    state = new_state((1, 16, 16), 2, SMALL, 0, "cpu")
    before = statistics(state)
    defender_turn(state, benign, benign.roll(1, 0) * 0.5, SMALL)
    means = [name for name in before if name.endswith("running_mean")]
    assert means
    for name in means:
        moved = statistics(state)[name] - before[name]
        assert (moved.abs().amax(1) > 0).all()
        assert not torch.equal(moved[0], moved[1])


def test_in_use_normalising_is_the_running_statistics(encoders: ClassEncoders, images: Tensor) -> None:
    with frozen(encoders):
        whole, one = encoders(images[0]).robust.mean, encoders(images[0, :1]).robust.mean
    torch.testing.assert_close(one[:, 0], whole[:, 0], atol=1e-5, rtol=1e-4)
