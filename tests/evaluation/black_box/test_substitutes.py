"""The attacker's own classifiers: their networks, what they learn from, attacks on them, and what is kept of both."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from twinlatent.attacks import suite_runs
from twinlatent.attacks.budgets import Budget
from twinlatent.attacks.suite_runs import SuiteResult
from twinlatent.data import LabelledImages, Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.black_box import substitutes
from twinlatent.evaluation.black_box.substitutes import (
    SUBSTITUTES,
    Substitute,
    attack_substitute,
    substitute_network,
    train_substitute,
)
from twinlatent.evaluation.results import keeping as kept_module
from twinlatent.evaluation.results.keeping import reused
from twinlatent.method.networks import PlainNetwork
from twinlatent.provenance import provenance
from twinlatent.recipes import recipe_of

SEED = 5
BUDGETS = (
    Budget("fgsm", 0.2),
    Budget("pgd", 0.3, steps=6, step_size=0.06),
    Budget("mim", 0.25, steps=5, step_size=0.05, decay=0.3),
)
by_attack = pytest.mark.parametrize("budget", BUDGETS, ids=lambda budget: budget.attack)
by_name = pytest.mark.parametrize("name", SUBSTITUTES)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch, fewer_steps) -> None:
    """Most tests do not ask how good a substitute is."""
    fewer_steps(monkeypatch, 3)


@pytest.fixture(scope="module")
def substitute(digits: Split, fewer_steps) -> Substitute:
    """Weak, but it classifies most images correctly."""
    with pytest.MonkeyPatch.context() as patch:
        fewer_steps(patch, 60)
        return train_substitute(digits, seed=SEED, progress=False)


@pytest.fixture(scope="module")
def images(digits: Split) -> LabelledImages:
    return digits.test.subset(slice(40))


def share(flags: Tensor) -> float:
    return flags.double().mean().item()


def attack(network: PlainNetwork, data: LabelledImages, budget: Budget, **options: object) -> Tensor:
    return attack_substitute(network, data, [budget], progress=False, **options).by_attack[budget.attack].result.images


# --- networks and training ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "side", "classes", "name", "wanted"),
    [
        ("mnist", 28, 10, "f_p", "c(2,20) mp(2) c(2,50) mp(2) d(500) sm(10)"),  # Table 5
        ("fashion-mnist5", 28, 5, "f_p", "c(5,20) mp(2) c(5,50) mp(2) d(500) sm(5)"),
        ("digits", 8, 10, "f_p", "c(2,20) c(2,50) mp(2) d(500) sm(10)"),
        ("mnist", 28, 10, "cnn5", "2(c(5,16) mp(2)) d(128) sm(10)"),
        ("mnist", 28, 10, "cleverhans", "c(8,64,2) cv(6,128,2) cv(5,128) sm(10)"),
        ("cats-dogs", 64, 2, "cleverhans", "c(8,32,2) cv(6,64,2) cv(5,64) sm(2)"),
    ],
)
def test_each_has_its_network(data: str, side: int, classes: int, name: str, wanted: str) -> None:
    images = LabelledImages(torch.zeros(classes, 1, side, side), torch.arange(classes))
    split = Split(data, images, images, images, tuple(map(str, range(classes))))
    network = substitute_network(split, recipe_of(split).substitute_settings(name))
    assert str(network) == wanted
    assert network(images.images[:1]).shape == (1, classes)


def test_an_unknown_one_is_named(digits: Split) -> None:
    with pytest.raises(TwinlatentError, match="'resnet' is unknown; choose from f_p, cnn5, cleverhans"):
        train_substitute(digits, "resnet", progress=False)


@by_name
def test_one_is_decided_by_its_seed(name: str, digits: Split) -> None:
    a, b, c = (list(train_substitute(digits, name, seed=seed, progress=False).network.parameters())
               for seed in (1, 1, 2))  # fmt: skip
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert not torch.equal(a[0], c[0])


def test_one_learns_from_training_images_alone(digits: Split, substitute: Substitute) -> None:
    assert share(substitute.labels(digits.test.images) == digits.test.labels) > 0.8
    nothing = LabelledImages(torch.zeros(3, 1, 8, 8), torch.zeros(3, dtype=torch.int64))
    a, b = (train_substitute(s, progress=False).network for s in (digits, replace(digits, calibration=nothing,
                                                                                  test=nothing)))  # fmt: skip
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


# --- attacks --------------------------------------------------------------------------------------------------------


@by_attack
def test_attacked_images_lie_in_the_ball_and_the_box(budget: Budget, images: LabelledImages, substitute) -> None:
    found = attack(substitute.network, images, budget, seed=SEED)
    change = (found - images.images).abs()
    assert change.max() <= budget.epsilon + 1e-6
    assert change.flatten(1).amax(1).min() > budget.epsilon / 4, "an image was left as it was"
    assert found.min() >= 0
    assert found.max() <= 1


@by_attack
def test_attacks_fool_the_substitute(budget: Budget, images: LabelledImages, substitute: Substitute) -> None:
    found = attack(substitute.network, images, budget, seed=SEED)
    before, after = (share(substitute.labels(x) == images.labels) for x in (images.images, found))
    assert after < before - 0.2


@by_attack
def test_a_radius_of_zero_changes_nothing(budget: Budget, images: LabelledImages, substitute: Substitute) -> None:
    data = images.subset(slice(9))
    assert torch.equal(attack(substitute.network, data, replace(budget, epsilon=0.0)), data.images)


@by_attack
def test_an_image_is_attacked_alike_in_any_batch(budget: Budget, digits: Split, monkeypatch) -> None:
    network = substitute_network(
        digits, recipe_of(digits).substitute_settings("f_p")
    ).double()  # float64, so that no sign of a gradient hangs on rounding
    data = LabelledImages(digits.test.images[:10].double(), digits.test.labels[:10])
    whole = attack(network, data, budget)
    monkeypatch.setattr(substitutes, "BATCH", 3)
    torch.testing.assert_close(attack(network, data, budget), whole)


def test_random_starts_are_the_image_s_own_and_hang_on_the_seed(images, substitute, monkeypatch) -> None:
    monkeypatch.setattr(substitutes, "BATCH", 1)
    two = images.subset(torch.tensor([0, 1]))
    budget = Budget("pgd", 0.3, steps=1, step_size=0.0)
    a, b, c = (attack(substitute.network, two, budget, seed=s) for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a[0] - two.images[0], a[1] - two.images[1])
    assert not torch.equal(a[0], c[0])


def test_an_unknown_attack_is_named(images: LabelledImages, substitute: Substitute) -> None:
    with pytest.raises(TwinlatentError, match="'magic' is unknown; choose from fgsm, pgd, mim"):
        attack(substitute.network, images.subset(slice(2)), Budget("magic", 0.1))


# --- what is kept ---------------------------------------------------------------------------------------------------


def kept_images(folder: Path, substitute: Substitute, images: LabelledImages, **options: object) -> SuiteResult:
    return attack_substitute(substitute.network, images, BUDGETS[:1], folder=folder, progress=False, **options)


def test_attacked_images_are_kept_and_used_again(substitute, images, tmp_path: Path, monkeypatch) -> None:
    first = kept_images(tmp_path / "kept", substitute, images)
    monkeypatch.setattr("twinlatent.attacks.iterative.Iterative.__call__", None)  # a new attack would fail
    again = kept_images(tmp_path / "kept", substitute, images)
    assert torch.equal(again.images, first.images)
    assert again.origins == first.origins == (provenance(),)


def test_attacked_images_of_other_code_are_refused(substitute, images, tmp_path: Path, monkeypatch) -> None:
    kept_images(tmp_path / "kept", substitute, images)
    before = {path: path.read_bytes() for path in (tmp_path / "kept").iterdir()}
    monkeypatch.setattr(suite_runs, "code_identity", lambda: {"code": "0" * 64})
    with pytest.raises(TwinlatentError, match=r"kept holds unfinished work with other .*code.*; remove it"):
        kept_images(tmp_path / "kept", substitute, images)
    assert {path: path.read_bytes() for path in (tmp_path / "kept").iterdir()} == before


def test_a_changed_attack_refuses_what_another_kept(substitute, images, tmp_path: Path) -> None:
    kept_images(tmp_path / "kept", substitute, images)
    changed = [replace(BUDGETS[0], epsilon=0.1)]
    with pytest.raises(TwinlatentError, match="kept holds unfinished work with other attacks"):
        attack_substitute(substitute.network, images, changed, folder=tmp_path / "kept", progress=False)


def test_a_substitute_is_kept_and_says_who_trained_it(digits: Split, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["twinlatent", "evaluate", "one"])
    first = train_substitute(digits, folder=tmp_path, progress=False)
    monkeypatch.setattr("sys.argv", ["twinlatent", "evaluate", "another"])
    monkeypatch.setattr(substitutes, "_trained", None)  # a new training would fail
    again = train_substitute(digits, folder=tmp_path, progress=False)
    for mine, theirs in zip(again.network.parameters(), first.network.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert again.origin == first.origin
    now = provenance()
    assert reused([now], now) is None
    said = reused([again.origin, again.origin, now], now)
    assert said == f"`twinlatent evaluate one`, commit {first.origin.commit}, {first.origin.date}"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"steps": 4}, "steps"),
        ({"learning_rate": 1e-3}, "learning rate"),
        ({"batch": 32}, "batch"),
        ({"layers": "d(9) sm(10)"}, "network"),
    ],
    ids=["steps", "rate", "batch", "network"],
)
def test_a_substitute_with_other_settings_is_refused(change, named, digits: Split, tmp_path) -> None:
    train_substitute(digits, folder=tmp_path, progress=False)
    other = recipe_of(digits).substitute_settings("f_p").model_copy(update=change)
    with pytest.raises(TwinlatentError, match=rf"substitute-f_p.safetensors holds a substitute of other {named} \(`"):
        train_substitute(digits, settings=other, folder=tmp_path, progress=False)


def test_a_substitute_of_other_images_seed_or_code_is_refused(digits: Split, tmp_path: Path, monkeypatch) -> None:
    train_substitute(digits, folder=tmp_path, progress=False)
    with pytest.raises(TwinlatentError, match="of other seed"):
        train_substitute(digits, seed=1, folder=tmp_path, progress=False)
    with pytest.raises(TwinlatentError, match="of other data"):
        train_substitute(replace(digits, test=digits.calibration), folder=tmp_path, progress=False)
    monkeypatch.setattr(kept_module, "code_identity", lambda: {"code": "0" * 64})
    with pytest.raises(TwinlatentError, match="of other code"):
        train_substitute(digits, folder=tmp_path, progress=False)


def test_the_identity_of_a_kept_batch_holds_the_code(substitute, images, tmp_path: Path) -> None:
    kept_images(tmp_path, substitute, images)
    assert json.loads((tmp_path / "identity.json").read_text())["code"] == kept_module.code_identity()["code"]
