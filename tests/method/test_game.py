"""Algorithm 1: its turns against formulas on separate networks, its rounds against themselves after interruptions."""

import json
import math
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from twinlatent.attacks.carlini_wagner import MARGIN_OF_W
from twinlatent.attacks.iterative import ascend
from twinlatent.attacks.models import frozen
from twinlatent.data import LabelledImages
from twinlatent.errors import TwinlatentError
from twinlatent.method import game, training
from twinlatent.method.adversaries import search
from twinlatent.method.adversaries.search import REFERENCE_MEMORY
from twinlatent.method.batches import BatchSampler
from twinlatent.method.checkpoints import load_tensors
from twinlatent.method.game import WATCHED_IMAGES, defender_turn, play
from twinlatent.method.game_state import GameSettings, GameState, new_state
from twinlatent.method.losses import loss_terms
from twinlatent.method.radii import OwnRadii, OwnSteps

CLASSES, BATCH, SIZE = 3, 6, 4
ADVERSARY = {
    "attack": "mim", "epsilon": 0.25, "steps": 3, "step_size": None, "stride": 2.5, "decay": 0.9,
    "objective": "bypass", "bypass_weight": 1.0, "reference": "mean", "quantile": 0.8,
}  # fmt: skip
SETTINGS: dict[str, Any] = {
    "encoder": f"c(3,4) z({SIZE},{SIZE})", "decoder": "d(9) ct(3,4) d(64)", "rounds": 12, "batch": BATCH,
    "ramp": 0.5, "negatives": {"benign": {"share": 0.25}}, "optimiser": "adam", "learning_rate": 5e-3,
    "schedule": "cosine", "stop_success": 0.0, "stop_rounds": 0, "checkpoint_every": 5, "watch_every": 4,
}  # fmt: skip


def tiny(adversary: dict[str, Any] | None = None, **changes: Any) -> GameSettings:
    """Small settings, none of them left to a default that matters here."""
    return GameSettings(**(SETTINGS | changes), adversary=ADVERSARY | (adversary or {}))


@pytest.fixture
def start(three_digits: LabelledImages, generator):
    """A function: settings → a fresh state, benign images of each class and images of others, (C, B, 1, 8, 8)."""

    def make(settings: GameSettings) -> tuple[GameState, Tensor, Tensor]:
        state = new_state((1, 8, 8), CLASSES, settings, 3, "cpu")
        with torch.no_grad():
            for parameter in state.vaes.encoders.parameters():
                parameter.mul_(2)  # latents that are not all close to 0
        benign, others = BatchSampler(three_digits, CLASSES, settings.batch, torch.device("cpu"), settings.augment)(
            generator
        )
        return state, benign, others

    return make


def adversary_turn(
    state: GameState, benign: Tensor, others: Tensor, epsilon: float, settings: GameSettings
) -> tuple[Tensor, float, float]:
    """What the defender gets of `others`, those spared first, and how often the adversary met C1 and C2, and passed."""
    spared = int(settings.negatives.benign.share * others.shape[1])
    found = search.adversary_turn(state.vaes, state.levels, benign, others[:, spared:], epsilon, settings.adversary,
                                  state.generator)  # fmt: skip
    state.levels = found.levels
    return torch.cat([others[:, :spared], found.images], 1), found.success, found.passed


def literal_densities(state: GameState, images: Tensor) -> tuple[Tensor, Tensor]:
    """log P_r^c and log P_v^c of each class's own images, (C, B), by separate networks."""
    rows = []
    for c in range(CLASSES):
        out = state.vaes.encoders.networks.single(c)(images[c])
        normal = torch.distributions.Normal(0.0, 1.0)
        rows.append([normal.log_prob(out[:, i * SIZE : (i + 1) * SIZE]).sum(1) for i in range(2)])
    return torch.stack([row[0] for row in rows]), torch.stack([row[1] for row in rows])


# --- dealing ------------------------------------------------------------------------------------------------------


def test_every_class_needs_images(three_digits: LabelledImages) -> None:
    with pytest.raises(TwinlatentError, match="class 3 has no training images"):
        play(three_digits, 4, tiny(), progress=False)
    with pytest.raises(TwinlatentError, match="at least 2 classes"):
        play(LabelledImages(three_digits.images, torch.zeros_like(three_digits.labels)), 1, tiny(), progress=False)


def test_the_accuracy_is_taken_over_every_class(digits) -> None:
    order = digits.train.labels.argsort(stable=True)  # as the images of a folder come, class after class
    data = digits.train.subset(order).subset(slice(0, 1000))
    assert len(data) > WATCHED_IMAGES
    watched = game._watched(data)
    assert set(watched.labels.tolist()) == set(data.labels.tolist())


# --- the adversary's turn -----------------------------------------------------------------------------------------

ADVERSARIES = [
    {}, {"attack": "pgd"}, {"objective": "ratio"}, {"reference": "quantile"}, {"bypass_weight": 5.0},
    {"step_size": 0.02, "steps": 7}, {"decay": 0.0},
]  # fmt: skip


def gain_of(settings: GameSettings, robust: Tensor, vulnerable: Tensor, allowed: Tensor) -> Tensor:
    if settings.adversary.objective == "ratio":
        return robust - vulnerable
    return robust - settings.adversary.bypass_weight * (vulnerable - allowed[:, None]).relu()


@pytest.mark.parametrize("change", ADVERSARIES, ids=str)
@pytest.mark.parametrize("epsilon", [0.05, 0.3])
def test_the_adversary_raises_its_objective_within_ball_and_box(change, epsilon: float, start) -> None:
    settings = tiny({"steps": 10, "stride": 1.0} | change)
    state, benign, others = start(settings)
    kept = others.clone()
    modes = [(p.requires_grad, p.grad) for p in state.vaes.parameters()]
    attacked, _, _ = adversary_turn(state, benign, others, epsilon, settings)
    assert torch.equal(others, kept)
    assert [(p.requires_grad, p.grad) for p in state.vaes.parameters()] == modes == [(True, None)] * len(modes)
    assert state.vaes.training
    spared = int(0.25 * BATCH)
    assert torch.equal(attacked[:, :spared], others[:, :spared])
    assert (attacked - others).abs().max() <= epsilon + 1e-6
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    assert not attacked.requires_grad
    moved = (attacked != others).flatten(2).any(-1)[:, spared:]
    assert moved.all()
    before = gain_of(settings, *literal_densities(state, others), state.levels[1])
    after = gain_of(settings, *literal_densities(state, attacked), state.levels[1])
    assert (after > before)[:, spared:].double().mean() > 0.9


@pytest.mark.parametrize("objective", ["bypass", "ratio"])
def test_one_step_is_the_sign_of_the_gradient(objective: str, start) -> None:
    settings = tiny(
        {"steps": 1, "objective": objective, "step_size": 0.03, "bypass_weight": 2.0},
        negatives={"benign": {"share": 0.0}},
    )
    state, benign, others = start(settings)
    attacked, _, _ = adversary_turn(state, benign, others, 0.25, settings)
    x = others.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(gain_of(settings, *literal_densities(state, x), state.levels[1]).sum(), x)
    certain = gradient.abs() > 1e-5
    expected = (others + 0.03 * gradient.sign()).clamp(0, 1)
    assert certain.double().mean() > 0.8
    torch.testing.assert_close(attacked[certain], expected[certain], atol=1e-6, rtol=0)


def test_without_a_step_size_the_steps_reach_the_edge_of_the_ball(start) -> None:
    settings = tiny(
        {"objective": "ratio", "decay": 0.0, "steps": 5, "stride": 1.0}, negatives={"benign": {"share": 0.0}}
    )
    state, benign, others = start(settings)
    for epsilon in (0.02, 0.1):
        attacked, _, _ = adversary_turn(state, benign, others, epsilon, settings)
        assert (attacked - others).abs().max().item() == pytest.approx(epsilon, rel=1e-3)


@pytest.mark.parametrize("attack", ["mim", "pgd"])
def test_each_image_can_have_a_radius_of_its_own(attack: str, start) -> None:
    settings = tiny({"smallest": 0.1, "steps": 4, "attack": attack}, negatives={"benign": {"share": 0.0}}, batch=40)
    state, benign, others = start(settings)
    others = others.clamp(0.3, 0.7)  # far enough from black and white that no change is cut off
    attacked, *_ = adversary_turn(state, benign, others, 0.25, settings)
    reach = (attacked - others).abs().flatten(2).amax(-1)
    assert reach.max() <= 0.25 + 1e-6
    assert reach.min() >= 0.025 - 1e-6
    below = (reach < 0.25 * 0.1**0.5).double().mean()  # half of the logarithms
    assert 0.35 < below < 0.65


def test_the_steps_of_cw_can_be_each_images_own(start) -> None:
    """One step of Adam moves every w by the learning rate, here by a share of it."""
    settings = tiny(
        {"smallest": 0.1, "steps": 1, "attack": "cw", "learning_rate": 0.2},
        negatives={"benign": {"share": 0.0}},
        batch=40,
    )
    state, benign, others = start(settings)
    others = others.clamp(0.3, 0.7)
    attacked, *_ = adversary_turn(state, benign, others, settings.adversary.epsilon, settings)
    before, after = torch.atanh((2 * others - 1) * (1 - 2 * MARGIN_OF_W)), torch.atanh(2 * attacked - 1)
    reach = (after - before).abs().flatten(2).median(-1).values
    assert reach.max() <= 0.2 + 1e-3
    assert reach.min() >= 0.02 - 1e-3
    below = (reach < 0.2 * 0.1**0.5).double().mean()  # half of the logarithms
    assert 0.35 < below < 0.65


def test_equal_radii_are_a_ball(start) -> None:
    """The attack with radii of its own, all of them alike, against the one with a ball."""
    settings = tiny({"decay": 0.5})
    state, benign, others = start(settings)
    plain, *_ = adversary_turn(state, benign, others, 0.2, settings)
    with frozen(state.vaes):
        robust_and_vulnerable = search.log_densities
        allowed = state.levels[1][:, None]

        def gain(images: Tensor) -> Tensor:
            robust, vulnerable = robust_and_vulnerable(state.vaes, images)
            return robust - (vulnerable - allowed).clamp_min(0)

        first = int(settings.negatives.benign.share * BATCH)
        radii = torch.full((CLASSES, BATCH - first, 1, 1, 1), 0.2)
        again = ascend(gain, others[:, first:], OwnRadii(radii), OwnSteps(2.5 * radii / 3, 0.5), 3)
    assert torch.allclose(again, plain[:, first:], atol=1e-6)


def test_cw_raises_its_objective_up_to_what_benign_images_have(start) -> None:
    change = {"attack": "cw", "objective": "ratio", "steps": 100, "learning_rate": 0.05, "c": 50.0, "epsilon": 0.2}
    settings = tiny(change, negatives={"benign": {"share": 0.5}})
    state, benign, others = start(settings)
    attacked, _, _ = adversary_turn(state, benign, others, 0.2, settings)
    spared = BATCH // 2
    assert torch.equal(attacked[:, :spared], others[:, :spared])
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    before, after = (gain_of(settings, *literal_densities(state, images), state.levels[1])[:, spared:]
                     for images in (others, attacked))  # fmt: skip
    enough = (state.levels[0] - state.levels[1])[:, None].expand_as(before)
    wanting = before < enough - 0.1
    assert wanting.any()
    assert (after > before)[wanting].all()
    assert (after <= torch.maximum(before, enough) + 0.5).all()  # it oscillates about the level
    moved = (attacked - others)[:, spared:].flatten(2).norm(dim=2)
    assert moved[wanting].min() > moved[~wanting].max()


def test_the_reach_of_cw_follows_the_ramp(start) -> None:
    settings = tiny({"attack": "cw", "steps": 3, "learning_rate": 0.1, "epsilon": 0.2})
    state, benign, others = start(settings)
    moved = [(adversary_turn(state, benign, others, epsilon, settings)[0] - others).norm() for epsilon in (0.05, 0.2)]
    assert 0 < moved[0] < moved[1]


def test_no_ball_no_change(start) -> None:
    for change in ADVERSARIES:
        state, benign, others = start(tiny(change))
        attacked, _, _ = adversary_turn(state, benign, others, 0.0, tiny(change))
        assert torch.equal(attacked, others)


@pytest.mark.parametrize("reference", ["mean", "quantile"])
def test_success_is_c1_and_c2_of_the_attacked_images(reference: str, start) -> None:
    settings = tiny({"reference": reference, "quantile": 0.6}, batch=40)
    state, benign, others = start(settings)
    for epsilon in (0.02, 0.05):  # small: some images meet both conditions, some one of them alone
        attacked, success, _ = adversary_turn(state, benign, others, epsilon, settings)
        robust, vulnerable = (values[:, 10:] for values in literal_densities(state, attacked))
        c1, c2 = vulnerable < state.levels[1][:, None], robust > state.levels[0][:, None]
        shares = [condition.double().mean().item() for condition in (c1 & c2, c1 & ~c2, ~c1 & c2)]
        assert min(shares) > 0
        assert success == pytest.approx(shares[0])


def test_passing_is_a_ratio_that_most_benign_images_of_the_class_reach(start) -> None:
    settings = tiny(batch=40, loss={"margin_weight": 50}, learning_rate=1e-2, schedule="constant")
    state, benign, others = start(settings)
    for _ in range(25):  # some know-how, so that not everything passes
        defender_turn(state, benign, others, settings)
    attacked, _, passed = adversary_turn(state, benign, others, 0.1, settings)
    (robust_b, vulnerable_b), (robust_a, vulnerable_a) = (literal_densities(state, x) for x in (benign, attacked))
    thresholds = np.quantile((vulnerable_b - robust_b).detach().numpy(), 0.95, axis=1)
    within = (vulnerable_a - robust_a)[:, 10:].detach().numpy() <= thresholds[:, None]
    assert passed == pytest.approx(within.mean())
    assert len(set(within.mean(1))) > 1, "the classes differ, so that each threshold counts"
    assert 0 < passed < 1


@pytest.mark.parametrize(("attack", "spread"), [("pgd", 0.25), ("mim", 1e-4)])
def test_pgd_alone_starts_at_random(attack: str, spread: float, start) -> None:
    settings = tiny({"attack": attack, "steps": 1, "step_size": 1e-4}, negatives={"benign": {"share": 0.0}})
    state, benign, others = start(settings)
    generator = torch.Generator()
    generator.set_state(state.generator.get_state())
    attacked, _, _ = adversary_turn(state, benign, others, 0.25, settings)
    assert (attacked - others).abs().max().item() == pytest.approx(spread, rel=0.05)
    if attack == "pgd":  # from the game's own generator, so that a resumed game starts at the same points
        noise = 0.25 * (2 * torch.rand(others.shape, generator=generator) - 1)
        assert (attacked - (others + noise).clamp(0, 1)).abs().max() < 2e-4


@pytest.mark.parametrize("reference", ["mean", "quantile"])
def test_the_levels_follow_the_benign_images_of_each_class(reference: str, start) -> None:
    settings = tiny({"reference": reference, "quantile": 0.8})
    state, benign, others = start(settings)
    expected = None
    for _ in range(3):
        adversary_turn(state, benign, others, 0.1, settings)
        robust, vulnerable = (values.detach().numpy() for values in literal_densities(state, benign))
        if reference == "mean":
            now = np.stack([robust.mean(1), vulnerable.mean(1)])
        else:
            now = np.stack([np.quantile(robust, 0.2, axis=1), np.quantile(vulnerable, 0.8, axis=1)])
        expected = now if expected is None else REFERENCE_MEMORY * expected + (1 - REFERENCE_MEMORY) * now
        torch.testing.assert_close(state.levels, torch.from_numpy(expected).float(), rtol=1e-4, atol=1e-4)
        benign = benign.flip(0)  # images of other classes move the levels


def test_batch_normalisation_learns_nothing_from_the_adversary(start) -> None:
    settings = tiny(encoder=f"c(3,4)-bn-relu z({SIZE},{SIZE})")
    state, benign, others = start(settings)
    before = {name: value.clone() for name, value in state.vaes.named_buffers()}
    assert before
    attacked, _, _ = adversary_turn(state, benign, others, 0.1, settings)
    assert all(torch.equal(value, before[name]) for name, value in state.vaes.named_buffers())
    defender_turn(state, benign, attacked, settings)
    assert not any(torch.equal(value, before[name]) for name, value in state.vaes.named_buffers())


# --- the defender's turn ------------------------------------------------------------------------------------------


def test_the_defender_descends_the_sum_of_the_losses(start) -> None:
    settings = tiny(optimiser="sgd", schedule="constant", learning_rate=1e-3)
    state, benign, others = start(settings)
    before = [parameter.detach().clone() for parameter in state.vaes.parameters()]
    noise = state.generator.get_state()
    defender_turn(state, benign, others, settings)
    after = [parameter.detach().clone() for parameter in state.vaes.parameters()]
    for parameter, old in zip(state.vaes.parameters(), before, strict=True):
        parameter.data.copy_(old)
    state.generator.set_state(noise)
    loss = loss_terms(state.vaes, benign, others, settings.loss, state.generator).total(settings.loss)
    gradients = torch.autograd.grad(sum(loss[c] for c in range(CLASSES)), list(state.vaes.parameters()))
    for old, new, gradient in zip(before, after, gradients, strict=True):
        torch.testing.assert_close(new, old - 1e-3 * gradient, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_defending_lowers_the_loss(optimiser: str, start) -> None:
    settings = tiny(optimiser=optimiser, schedule="constant", learning_rate={"adam": 5e-3, "sgd": 1e-4}[optimiser])
    state, benign, others = start(settings)
    first = defender_turn(state, benign, others, settings).total(settings.loss)
    for _ in range(30):
        last = defender_turn(state, benign, others, settings).total(settings.loss)
    assert (last < first).all()


def test_some_rounds_may_leave_the_decoders_alone(start) -> None:
    settings = tiny(loss={"reconstruct_every": 3}, schedule="constant", optimiser="sgd", learning_rate=1e-4)
    state, benign, others = start(settings)
    reconstructed = []
    for round_ in range(7):
        state.round = round_
        reconstructed.append(defender_turn(state, benign, others, settings).reconstruction_robust is not None)
    assert reconstructed == [True, False, False, True, False, False, True]


def test_the_learning_rate_rises_and_falls(three_digits: LabelledImages) -> None:
    def rates(**changes: Any) -> list[float]:
        settings = tiny(rounds=100, learning_rate=1.0, **changes)
        state, seen = new_state((1, 8, 8), CLASSES, settings, 0, "cpu"), []
        images = three_digits.images[: 2 * CLASSES].unflatten(0, (CLASSES, 2))
        for state.round in range(100):
            state.vaes.requires_grad_(True)
            defender_turn(state, images, images, settings)
            seen.append(state.optimiser.param_groups[0]["lr"])
            with torch.no_grad():
                for parameter in state.vaes.parameters():
                    parameter.zero_()  # rate 1 must not diverge
        return seen

    assert rates(schedule="constant") == [1.0] * 100
    cosine = rates(schedule="cosine")
    assert cosine[:11] == sorted(cosine[:11])
    assert cosine[10:] == sorted(cosine[10:], reverse=True)
    assert cosine[10] == 1
    assert cosine[55] == pytest.approx(0.5)
    assert 0 < cosine[0] < 0.2
    assert 0 < cosine[-1] < 0.01


# --- whole games --------------------------------------------------------------------------------------------------


def playing(data: LabelledImages, settings: GameSettings, folder: Path | None = None, **more: Any) -> GameState:
    return play(
        data, CLASSES, settings, folder=folder, progress=False, fingerprint=more.pop("fingerprint", "f"), **more
    )


def log_of(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [{name: value for name, value in json.loads(line).items() if name != "seconds"} for line in lines]


def assert_same_folder(a: Path, b: Path) -> None:
    """Same weights, moments, levels, generator and log, bit for bit."""
    (first, told_a), (second, told_b) = (load_tensors(path / "state.safetensors", "training state") for path in (a, b))
    assert set(first) == set(second)
    assert [name for name, value in first.items() if not torch.equal(value, second[name])] == []
    assert {**told_a, "seconds": 0} == {**told_b, "seconds": 0}
    assert log_of(a) == log_of(b)


def weights(state: GameState) -> list[Tensor]:
    return [value.detach() for value in state.vaes.state_dict().values()]


@pytest.mark.parametrize("surrogate", [{}, {"share": 0.5, "layers": "c(3,4) d(8)"}])
def test_the_seed_decides_everything(surrogate, three_digits: LabelledImages, tmp_path: Path) -> None:
    settings, before = tiny(negatives={"surrogate": surrogate}), torch.get_rng_state()
    a, b, c = (
        playing(three_digits, settings, tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert torch.equal(before, torch.get_rng_state())
    assert_same_folder(tmp_path / "a", tmp_path / "b")
    assert all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))
    assert not any(torch.equal(x, y) for x, y in zip(weights(a), weights(c), strict=True))


def test_keeping_a_folder_changes_nothing(three_digits: LabelledImages, tmp_path: Path) -> None:
    kept, not_kept = playing(three_digits, tiny(), tmp_path), playing(three_digits, tiny())
    assert all(torch.equal(x, y) for x, y in zip(weights(kept), weights(not_kept), strict=True))
    assert kept.round == not_kept.round == 12


def test_every_round_is_a_line_of_the_log(three_digits: LabelledImages, tmp_path: Path) -> None:
    settings = tiny(stop_rounds=0)
    state = playing(three_digits, settings, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = {f"loss_{name}" for name in (
        "total", "reconstruction_robust", "reconstruction_vulnerable", "kl_robust", "kl_vulnerable", "penalty_robust",
        "penalty_vulnerable", "margin",
    )}  # fmt: skip
    assert [line["round"] for line in lines] == list(range(1, 13))
    for line in lines:
        assert set(line) == {"round", "epsilon", "success", "passed", "accuracy", "seconds"} | losses
        assert all(math.isfinite(line[name]) for name in losses)
        assert 0 <= line["success"] <= 1
        # ε grows over the first half: sixths of it in the first six rounds
        assert line["epsilon"] == pytest.approx(0.25 * min(1, line["round"] / 6))
        assert (line["accuracy"] is not None) == (line["round"] % 4 == 0)
        parts = {name: line[f"loss_{name}"] for name in ("reconstruction_robust", "kl_robust", "penalty_robust")}
        parts |= {
            name: line[f"loss_{name}"] for name in ("reconstruction_vulnerable", "kl_vulnerable", "penalty_vulnerable")
        }
        weighted = sum(value * (100 if "penalty" in name else 1) for name, value in parts.items())
        assert line["loss_total"] == pytest.approx(weighted, rel=1e-4)
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds)
    state.vaes.eval()
    watched = three_digits.images[:WATCHED_IMAGES]
    robust, vulnerable = literal_densities(state, watched.expand(CLASSES, *watched.shape))
    right = (robust - vulnerable).argmax(0) == three_digits.labels[:WATCHED_IMAGES]
    assert lines[-1]["accuracy"] == pytest.approx(right.double().mean().item())


def test_a_game_teaches_something(three_digits: LabelledImages, tmp_path: Path) -> None:
    settings = tiny(rounds=60, learning_rate=2e-2, watch_every=60, loss={"margin_weight": 50})
    playing(three_digits, settings, tmp_path)
    log = log_of(tmp_path)
    assert log[-1]["accuracy"] > 0.9
    assert log[-1]["loss_total"] < 0.5 * log[0]["loss_total"]


VARIANTS = {
    "adam, mim": tiny(),
    "sgd, pgd, quantile": tiny(
        {"attack": "pgd", "reference": "quantile", "objective": "ratio"}, optimiser="sgd", learning_rate=1e-5
    ),
    "batch normalisation": tiny(
        encoder=f"c(3,4)-bn-relu z({SIZE},{SIZE})", ramp=0.0, negatives={"benign": {"share": 0.0}}, schedule="constant",
        loss={"reconstruct_every": 2},
    ),
    "surrogate": tiny(negatives={"surrogate": {"share": 0.5, "layers": "c(3,4)-bn-relu-mp(2) d(8)"}}),
}  # fmt: skip


def interrupt_at(monkeypatch: pytest.MonkeyPatch, round_: int, error: type[BaseException] | None = None) -> None:
    """Make Ctrl-C come, or an error, in the middle of a round."""
    turn = game.defender_turn

    def interrupted(state: GameState, *rest: Any) -> Any:
        if state.round == round_ - 1:
            if error is not None:
                raise error
            signal.raise_signal(signal.SIGINT)
        return turn(state, *rest)

    monkeypatch.setattr(game, "defender_turn", interrupted)


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_ctrl_c_saves_and_resuming_changes_nothing(settings, three_digits, tmp_path: Path, monkeypatch) -> None:
    whole = playing(three_digits, settings, tmp_path / "whole", seed=5)
    for rounds in ((1,), (5,), (7,), (11,), (2, 3, 9)):
        folder = tmp_path / str(rounds)
        for number, round_ in enumerate(rounds):
            with monkeypatch.context() as patched:
                interrupt_at(patched, round_)
                with pytest.raises(KeyboardInterrupt, match=f"after round {round_} of 12"):
                    playing(three_digits, settings, folder, seed=5, resume=number > 0)
            assert len(log_of(folder)) == round_
        resumed = playing(three_digits, settings, folder, seed=5, resume=True)
        assert all(torch.equal(x, y) for x, y in zip(weights(whole), weights(resumed), strict=True))
        assert_same_folder(tmp_path / "whole", folder)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_after_a_crash_the_rounds_since_the_last_save_are_played_again(three_digits, tmp_path, monkeypatch) -> None:
    playing(three_digits, tiny(), tmp_path / "whole")
    with monkeypatch.context() as patched:
        interrupt_at(patched, 9, RuntimeError)
        with pytest.raises(RuntimeError):
            playing(three_digits, tiny(), tmp_path / "crashed")
    assert len(log_of(tmp_path / "crashed")) == 8
    assert load_tensors(tmp_path / "crashed" / "state.safetensors", "training state")[1]["round"] == 5
    playing(three_digits, tiny(), tmp_path / "crashed", resume=True)
    assert_same_folder(tmp_path / "whole", tmp_path / "crashed")


def test_resuming_a_finished_game_plays_no_round(three_digits, tmp_path: Path) -> None:
    whole = playing(three_digits, tiny(), tmp_path)
    before = (tmp_path / "state.safetensors").read_bytes(), (tmp_path / "log.jsonl").read_bytes()
    again = playing(three_digits, tiny(), tmp_path, resume=True)
    assert again.round == 12
    assert all(torch.equal(x, y) for x, y in zip(weights(whole), weights(again), strict=True))
    assert before == ((tmp_path / "state.safetensors").read_bytes(), (tmp_path / "log.jsonl").read_bytes())


def test_other_code_does_not_go_on_with_half_a_game(three_digits, tmp_path: Path, monkeypatch) -> None:
    """A finished one it may take up, to calibrate the detector again."""
    playing(three_digits, tiny(), tmp_path / "whole")
    with monkeypatch.context() as patched:
        interrupt_at(patched, 7)
        with pytest.raises(KeyboardInterrupt):
            playing(three_digits, tiny(), tmp_path / "half")
    before = (tmp_path / "half" / "state.safetensors").read_bytes()
    other = training.code_identity(training.LEARNING) | {"code": "0" * 64}
    monkeypatch.setattr(training, "code_identity", lambda _: other)
    with pytest.raises(TwinlatentError, match=r"begun with other code; resume with the version that began it"):
        playing(three_digits, tiny(), tmp_path / "half", resume=True)
    assert (tmp_path / "half" / "state.safetensors").read_bytes() == before
    assert playing(three_digits, tiny(), tmp_path / "whole", resume=True).round == 12


@pytest.mark.parametrize("asked", range(1, 7))
def test_whenever_ctrl_c_is_noticed_the_state_is_saved(asked: int, three_digits, tmp_path, monkeypatch) -> None:
    """Ctrl-C may come between any two questions whether it came."""

    @contextmanager
    def comes_before_question():
        questions = 0

        def interrupted() -> bool:
            nonlocal questions
            questions += 1
            return questions >= asked

        yield interrupted

    monkeypatch.setattr(training, "deferred_interrupt", comes_before_question)
    with pytest.raises(KeyboardInterrupt):
        playing(three_digits, tiny(checkpoint_every=100, rounds=30), tmp_path)
    rounds = len(log_of(tmp_path))
    assert load_tensors(tmp_path / "state.safetensors", "training state")[1]["round"] == rounds


PROGRAM = """
import sys
from pathlib import Path
from twinlatent.data import load
from twinlatent.method.game import play
from twinlatent.method.game_state import GameSettings
train = load("digits", progress=False).train
data = train.subset((train.labels < 3).nonzero()[:, 0])
settings = GameSettings.model_validate_json(sys.argv[2])
play(data, 3, settings, folder=Path(sys.argv[1]), progress=False, fingerprint="f")
"""


@pytest.mark.slow  # tests/cli/test_train.py presses it, too
def test_a_real_ctrl_c(three_digits, tmp_path: Path, monkeypatch) -> None:
    settings = tiny(rounds=100_000, checkpoint_every=100_000)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "a"), settings.model_dump_json()]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        log = tmp_path / "a" / "log.jsonl"
        for _ in range(600):
            if log.exists() and log.read_text(encoding="utf-8").count("\n") >= 3:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1]
    finally:
        process.kill()
    played = len(log_of(tmp_path / "a"))
    assert f"KeyboardInterrupt: stopped after round {played} of 100000" in said
    assert played >= 3
    for folder, resume in ((tmp_path / "a", True), (tmp_path / "b", False)):
        with monkeypatch.context() as patched:
            interrupt_at(patched, played + 2)
            with pytest.raises(KeyboardInterrupt):
                playing(three_digits, settings, folder, resume=resume)
    assert_same_folder(tmp_path / "a", tmp_path / "b")


# --- what does not fit --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"settings": tiny(learning_rate=1e-3)}, rf"other settings \(learning_rate={tiny().learning_rate}\); resume"),
        ({"settings": tiny({"steps": 4})}, rf"other settings \(adversary\.steps={tiny().adversary.steps}\); resume"),
        (
            {"settings": tiny(rounds=13, augment={"flip": True})},
            rf"other settings \(augment\.flip=False, rounds={tiny().rounds}\); resume",
        ),
        ({"seed": 1}, "other seed"),
        ({"fingerprint": "g"}, "other data"),
    ],
)
def test_another_game_is_not_resumed(change, complaint: str, three_digits, tmp_path: Path) -> None:
    playing(three_digits, tiny(), tmp_path)
    before = (tmp_path / "log.jsonl").read_bytes()
    arguments = {"settings": tiny(), "seed": 0, "fingerprint": "f"} | change
    with pytest.raises(TwinlatentError, match=complaint):
        playing(three_digits, arguments.pop("settings"), tmp_path, resume=True, **arguments)
    assert (tmp_path / "log.jsonl").read_bytes() == before


def test_resuming_needs_a_state(three_digits, tmp_path: Path) -> None:
    with pytest.raises(TwinlatentError, match="is no file"):
        playing(three_digits, tiny(), tmp_path, resume=True)
    with pytest.raises(TwinlatentError, match="needs the folder"):
        playing(three_digits, tiny(), resume=True)
    (tmp_path / "state.safetensors").write_bytes(b"damaged")
    with pytest.raises(TwinlatentError, match="truncated"):
        playing(three_digits, tiny(), tmp_path, resume=True)


# --- the end ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 100])
def test_divergence_stops_and_names_the_last_state(every: int, three_digits, tmp_path: Path) -> None:
    settings = tiny(learning_rate=1e20, schedule="constant", checkpoint_every=every)
    with pytest.raises(TwinlatentError, match="is not finite any more in round") as caught:
        playing(three_digits, settings, tmp_path)
    message = str(caught.value)
    assert "learning rate" in message
    rounds = len(log_of(tmp_path))
    assert f"in round {rounds + 1};" in message
    if every == 100:
        assert "no state was saved yet" in message
    else:
        assert str(tmp_path / "state.safetensors") in message
        assert load_tensors(tmp_path / "state.safetensors", "training state")[1]["round"] == rounds
    with pytest.raises(TwinlatentError, match="no state was saved yet"):
        playing(three_digits, settings)


def test_the_state_called_good_is_finite(three_digits, tmp_path: Path) -> None:
    settings = tiny(learning_rate=1e39, schedule="constant", checkpoint_every=1)
    with pytest.raises(TwinlatentError, match="is not finite any more in round") as caught:
        playing(three_digits, settings, tmp_path)
    if "last good state" in str(caught.value):
        tensors = load_tensors(tmp_path / "state.safetensors", "training state")[0]
        assert all(value.isfinite().all() for name, value in tensors.items() if name.startswith("vaes."))


@pytest.mark.parametrize(("ramp", "expected"), [(0.0, 3), (0.5, 8)])
def test_the_game_stops_when_the_adversary_keeps_failing(ramp: float, expected: int, three_digits, tmp_path) -> None:
    """A success of at most 1 is always met: only the ramp (full ε from round 6 of 12) and the count decide."""
    settings = tiny(ramp=ramp, stop_success=1.0, stop_rounds=3)
    state = playing(three_digits, settings, tmp_path)
    assert (state.round, state.calm) == (expected, 3)
    assert len(log_of(tmp_path)) == expected
    assert load_tensors(tmp_path / "state.safetensors", "training state")[1]["round"] == expected
    assert playing(three_digits, settings, tmp_path, resume=True).round == expected


def test_one_success_starts_the_count_again(three_digits, monkeypatch) -> None:
    turn, successes = search.adversary_turn, iter([0.0, 0.05, 0.2, 0.1, 0.0, 0.1, 1.0])
    monkeypatch.setattr(search, "adversary_turn", lambda *arguments: replace(turn(*arguments), success=next(successes)))
    state = playing(three_digits, tiny(ramp=0.0, stop_success=0.1, stop_rounds=3))
    assert state.round == 6


def test_settings_of_version_0_1_0_are_read_by_their_names_of_today() -> None:
    former = {"unattacked": 0.5, "underway": 0.3, "underway_from": 0.1, "underway_to": 0.4, "outsider": {"share": 0.2}}
    before = {name: value for name, value in tiny().model_dump().items() if name != "negatives"}
    found = GameSettings.model_validate(before | former)
    assert found == tiny(negatives={"benign": {"share": 0.5}, "surrogate": {"share": 0.2},
                                    "partway": {"share": 0.3, "nearest": 0.1, "farthest": 0.4}})  # fmt: skip
    assert GameSettings.model_validate(found.model_dump()) == found


def test_a_class_must_learn_from_something() -> None:
    with pytest.raises(ValueError, match="every share is 0"):
        tiny(negatives={"benign": {"share": 0}, "attacked": {"share": 0}})


def test_settings_refuse_what_they_do_not_know() -> None:
    for wrong in (
        {"rounds": -1},
        {"negatives": {"benign": {"share": 1.0}}},
        {"epochs": 3},
        {"optimiser": "lbfgs"},
        {"learning_rate": 0},
    ):
        with pytest.raises(ValueError, match="validation error"):
            tiny(**wrong)
    for wrong in ({"epsilon": 1.5}, {"steps": 0}, {"attack": "fgsm"}, {"alpha": 1}):
        with pytest.raises(ValueError, match="validation error"):
            tiny(wrong)
