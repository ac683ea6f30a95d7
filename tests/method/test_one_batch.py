"""Rounds with one batch for all classes: against the formula on separate networks, and against themselves."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from twinlatent.data import LabelledImages
from twinlatent.data.augmentation import Augmentation
from twinlatent.errors import TwinlatentError
from twinlatent.method.adversaries.bound import bounded_in_box, bounded_ratio
from twinlatent.method.adversaries.search import attack_batch
from twinlatent.method.batches import Epochs
from twinlatent.method.bounds import ball, bound_latents, bound_log_ratio
from twinlatent.method.game import play
from twinlatent.method.game_state import GameSettings, GameState, grown, new_state
from twinlatent.method.losses import log_ratio
from twinlatent.method.one_batch import Batch, one_batch_turn, terms_of
from twinlatent.method.training import TOTAL
from twinlatent.settings import override

CLASSES, BATCH = 3, 12
SETTINGS: dict[str, Any] = {
    "encoder": "c(3,4) d(8) | z(2,2)", "decoder": "", "deal": "one_batch", "weights": "narrow", "rounds": 12,
    "batch": BATCH, "warm": 0.25, "ramp": 0.5, "learning_rate": 5e-3, "schedule": "steps", "clip": 10.0,
    "benign": 0.4, "checkpoint_every": 5, "watch_every": 4,
    "loss": {"margin": 2.0, "kl_weight": 0.0, "others": "together"},
    "adversary": {"attack": "pgd", "epsilon": 0.2, "steps": 3}, "bound": {"share": 1.0, "epsilon": 0.1},
}  # fmt: skip
KINDS = {
    "bound": [],
    "search": ["bound.share=0"],
    "mixture": ["bound.share=0.3"],
    "box": ["bound.box=0.25"],
    "linear": ["bound.linear=0.75"],
    "linear, small box, bfloat16": ["bound.linear=1", "bound.box=0.5", "products=bfloat16"],
    "each": ["loss.others=each", "bound.share=0.5"],
    "hardest": ["bound.share=0", "adversary.target=hardest"],
    "random": ["bound.share=0", "adversary.target=random", "adversary.attack=mim"],
    "separate": ["encoder=c(3,4) z(2,2)", "bound.share=0.5"],
    "vae": ["decoder=d(9) ct(3,4) d(64)", "loss.kl_weight=0.1"],
    "separate vae": ["encoder=c(3,4) z(2,2)", "decoder=d(9) ct(3,4) d(64)"],
    "average": ["average=0.9"],
    "bfloat16": ["products=bfloat16", "bound.share=0.5"],
}


def tiny(*changes: str) -> GameSettings:
    return override(GameSettings(**SETTINGS), changes)


@pytest.fixture
def start(three_digits: LabelledImages):
    """A function: settings → a fresh state and the first batch."""

    def make(settings: GameSettings) -> tuple[GameState, Batch]:
        state = new_state((1, 8, 8), CLASSES, settings, 3, torch.device("cpu"))
        with torch.no_grad():
            for parameter in state.vaes.encoders.parameters():
                parameter.mul_(3).add_(0.05)  # latents that are not all close to 0
        deal = Epochs(three_digits, CLASSES, settings.batch, settings.augment, 0, torch.device("cpu"))
        return state, Batch(*deal(0, state.generator), CLASSES)

    return make


def softplus(value: float) -> float:
    return F.softplus(torch.tensor(value, dtype=torch.float64)).item()


def joined(values: list[float], how: str) -> float:
    if how == "together":
        return softplus(torch.tensor(values, dtype=torch.float64).logsumexp(0).item())
    return sum(softplus(value) for value in values)


@pytest.mark.parametrize("how", ["together", "each"])
def test_the_loss_is_the_formula(start, how: str) -> None:
    settings = tiny(f"loss.others={how}")
    state, batch = start(settings)
    terms = terms_of(state, batch, settings, 0.5)
    with torch.no_grad():
        ratio = log_ratio(state.vaes.encode(batch.images)).double()
        upper = bound_log_ratio(bound_latents(state.vaes.encoders, ball(batch.images, 0.05))).upper.double()
    benign, bound = [], []
    for i, y in enumerate(batch.labels.tolist()):
        wrong = [c for c in range(CLASSES) if c != y]
        benign.append(softplus(2 - ratio[y, i].item()) + joined([2 + ratio[c, i].item() for c in wrong], how))
        bound.append(joined([2 + upper[c, i].item() for c in wrong], how))
    assert terms.benign.item() == pytest.approx(sum(benign) / BATCH, rel=1e-5)
    assert terms.bound is not None
    assert terms.bound.item() == pytest.approx(sum(bound) / BATCH, rel=1e-5)
    total = 0.7 * sum(benign) / BATCH + 0.3 * sum(bound) / BATCH
    assert terms.total(settings, 0.7).item() == pytest.approx(total, rel=1e-5)
    bounded = sum(all(upper[c, i] <= 0 for c in range(CLASSES) if c != y) for i, y in enumerate(batch.labels.tolist()))
    assert terms.bounded == pytest.approx(bounded / BATCH)


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)
def test_a_bound_is_above_every_search(start, changes: list[str]) -> None:
    """Attacked images within the bound's ball never have more than the bound says."""
    settings = tiny(*changes, "bound.share=0.5", "adversary.epsilon=0.1", "bound.box=1")
    state, batch = start(settings)
    terms = terms_of(state, batch, settings, 1.0)
    assert terms.search is not None
    assert terms.bound is not None
    assert terms.benign.item() > 0
    assert terms.search.item() <= terms.bound.item() * (1 + 1e-5)


def test_the_search_passes_the_ends_of_ramps(start) -> None:
    """Dark pixels are all the same to ramps; an attack must find the way to where they begin, all the same."""
    settings = tiny("encoder=ramp(2) c(3,4) d(8) | z(2,2)", "adversary.attack=mim", "adversary.epsilon=0.3")
    state, batch = start(settings)
    dark = batch.images.clamp_max(0.05)
    attacked = attack_batch(state.vaes.encoders, dark, batch.labels, 0.3, settings.adversary, state.generator)
    assert ((attacked - dark).abs().amax((1, 2, 3)) > 0.2).all()


def test_a_small_box_lies_in_the_ball(start) -> None:
    settings = tiny("bound.box=0.25")
    state, batch = start(settings)
    encoders = state.vaes.encoders
    attacked = (batch.images + 0.075).clamp(0, 1)
    small = bounded_in_box(encoders, batch.images, attacked, 0.1, settings.bound)
    whole, at_centre = bounded_ratio(encoders, batch.images, 0.1), bounded_ratio(encoders, attacked, 0.0)
    assert (small <= whole + 1e-5).all()
    assert (small >= at_centre - 1e-5).all()
    assert (small < whole - 1e-3).any()


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)
def test_every_kind_learns_and_resumes_bit_for_bit(
    three_digits: LabelledImages, tmp_path: Path, changes: list[str]
) -> None:
    settings = tiny(*changes)
    whole = play(three_digits, CLASSES, settings, seed=4, progress=False)
    again = play(three_digits, CLASSES, settings, seed=4, progress=False)

    class Stop(Exception):
        pass

    done = 0

    def broken(*_: Any) -> tuple[Tensor, Tensor]:
        nonlocal done
        if done == 7:
            raise Stop
        done += 1
        return deal(*_)

    deal = Epochs.__call__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Epochs, "__call__", broken)
        with pytest.raises(Stop):
            play(three_digits, CLASSES, settings, seed=4, folder=tmp_path, progress=False)
    resumed = play(three_digits, CLASSES, settings, seed=4, folder=tmp_path, resume=True, progress=False)
    before = new_state((1, 8, 8), CLASSES, settings, 4, torch.device("cpu")).vaes.state_dict()
    for name, value in whole.vaes.state_dict().items():
        assert torch.equal(value, again.vaes.state_dict()[name]), name
        assert torch.equal(value, resumed.vaes.state_dict()[name]), name
    assert any(not torch.equal(value, before[name]) for name, value in whole.vaes.state_dict().items())


def test_the_bound_falls(three_digits: LabelledImages) -> None:
    settings = tiny("rounds=150", "learning_rate=0.02", "bound.epsilon=0.05")
    state = play(three_digits, CLASSES, settings, seed=1, progress=False)
    batch = Batch(three_digits.images, three_digits.labels, CLASSES)
    first = new_state((1, 8, 8), CLASSES, settings, 1, torch.device("cpu"))
    bounded = terms_of(state, batch, settings, 1.0).bounded
    assert bounded is not None
    assert bounded > 0.5
    assert terms_of(first, batch, settings, 1.0).bounded == 0


def test_a_start_is_gone_on_from(three_digits: LabelledImages) -> None:
    settings = tiny()
    begun = play(three_digits, CLASSES, settings, seed=1, progress=False).vaes.encoders
    still = settings.model_copy(update={"learning_rate": 1e-12})
    went_on = play(three_digits, CLASSES, still, seed=2, start=begun, progress=False).vaes.encoders
    for name, value in begun.state_dict().items():
        torch.testing.assert_close(went_on.state_dict()[name], value, atol=1e-6, rtol=0)
    with pytest.raises(TwinlatentError, match="the start has 3 encoders c\\(3,4\\)"):
        play(three_digits, CLASSES, tiny("encoder=c(3,2) d(8) | z(2,2)"), start=begun, progress=False)


def test_a_clipped_step_is_no_longer(start) -> None:
    settings = tiny("optimiser=sgd", "learning_rate=1", "clip=0.01", "schedule=constant")
    state, batch = start(settings)
    before = [parameter.detach().clone() for parameter in state.vaes.parameters()]
    record = one_batch_turn(state, batch, settings)
    after = torch.cat([parameter.detach().flatten() for parameter in state.vaes.parameters()])
    assert (after - torch.cat([value.flatten() for value in before])).norm().item() == pytest.approx(0.01, rel=1e-3)
    assert record["epsilon"] == 0
    assert record["bounded"] is None
    assert record[TOTAL] > 0


@pytest.mark.parametrize(("round_", "share"), [(0, 0.0), (24, 0.0), (25, 0.02), (49, 0.5), (74, 1.0), (99, 1.0)])
def test_the_radius_grows_after_the_warm_up(round_: int, share: float) -> None:
    assert grown(round_, 100, ramp=0.5, warm=0.25) == pytest.approx(share)


def test_an_epoch_deals_every_image_once(three_digits: LabelledImages) -> None:
    data = three_digits.subset(slice(0, 3 * BATCH))
    deal = Epochs(data, CLASSES, BATCH, Augmentation(), 5, torch.device("cpu"))
    generator = torch.Generator()
    epochs = [[deal(3 * epoch + place, generator) for place in range(3)] for epoch in (0, 1)]
    for epoch in epochs:
        dealt = torch.cat([images for images, _ in epoch]).flatten(1)
        distances = torch.cdist(dealt, data.images.flatten(1))
        assert sorted(distances.argmin(1).tolist()) == list(range(3 * BATCH))
        assert torch.equal(torch.cat([labels for _, labels in epoch]), data.labels[distances.argmin(1)])
    assert not torch.equal(epochs[0][0][0], epochs[1][0][0])


def test_what_does_not_go_together_is_refused(three_digits: LabelledImages) -> None:
    with pytest.raises(TwinlatentError, match="bounds need deal one_batch"):
        tiny("deal=by_class")
    for changes, complaint in (
        (["warm=0.6"], "warm and ramp are 0.6 and 0.5, together more than 1"),
        (["deal=by_class", "bound.share=0"], "there is no decoder"),
        (["encoder=c(3,4) bn d(8) | z(2,2)"], "bound.share needs an encoder without bn"),
        (["stop_rounds=3"], "stop_rounds is 3, which the deal one_batch does not read"),
        (["negatives.partway.share=0.2"], "negatives.partway.share is 0.2, which the deal one_batch does not read"),
    ):
        with pytest.raises(TwinlatentError, match=re.escape(complaint)):
            tiny(*changes)
    with pytest.raises(TwinlatentError, match="one_batch has no attack cw"):
        play(three_digits, CLASSES, tiny("adversary.attack=cw", "bound.share=0"), progress=False)


def test_a_class_without_images_is_named(three_digits: LabelledImages) -> None:
    with pytest.raises(TwinlatentError, match="class 3 has no training images"):
        Epochs(three_digits, 4, BATCH, Augmentation(), 0, torch.device("cpu"))


def test_short_products_are_near_and_end_with_the_training(three_digits: LabelledImages) -> None:
    settings = tiny("products=bfloat16", "rounds=1", "learning_rate=1e-9")
    trained = play(three_digits, CLASSES, settings, seed=1, progress=False)
    assert trained.vaes.encoders.trunk is not None
    assert trained.vaes.encoders.trunk.products == torch.float32
    exact = trained.vaes.encode(three_digits.images).robust.mean
    trained.vaes.encoders.trunk.products = torch.bfloat16
    short = trained.vaes.encode(three_digits.images).robust.mean
    assert short.dtype == torch.float32
    assert 0 < (short - exact).abs().max() <= 0.05 * exact.abs().max()


def test_the_mean_of_the_weights_is_kept_in_either_deal(three_digits: LabelledImages) -> None:
    by_class = GameSettings(encoder="c(3,4) z(2,2)", decoder="d(64)", rounds=6, batch=4, adversary={"steps": 1})
    for settings in (by_class, tiny("rounds=6")):
        first = new_state((1, 8, 8), CLASSES, settings, 4, torch.device("cpu")).vaes.state_dict()
        last = play(three_digits, CLASSES, settings, seed=4, progress=False).vaes.state_dict()
        kept = settings.model_copy(update={"average": 0.9})
        mean = play(three_digits, CLASSES, kept, seed=4, progress=False).vaes.state_dict()
        for name, value in mean.items():
            assert not torch.equal(value, first[name]), name
            assert (value - first[name]).norm() < (last[name] - first[name]).norm(), name
