"""Presets: whatever their values, they must name networks that fit the images and each other."""

import math
from typing import get_args

import pytest

from twinlatent import zoo
from twinlatent.data.augmentation import Augmentation
from twinlatent.errors import TwinlatentError
from twinlatent.method.game import GameSettings
from twinlatent.method.networks import Conv, plan
from twinlatent.method.outsider import new_outsider
from twinlatent.method.presets import Preset, override, plain_classifier, preset_detector, preset_settings

PRESETS = get_args(Preset)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("side", [8, 12, 13, 14, 27, 28, 32, 64])
def test_networks_fit_images_of_any_size(preset: str, side: int) -> None:
    settings = preset_settings(preset, (1, side, side))
    assert isinstance(settings, GameSettings)
    encoder = plan(settings.encoder, (1, side, side), "encoder")
    robust, vulnerable = encoder.latent
    assert robust == vulnerable
    assert plan(settings.decoder, (robust,), "decoder").output_shape == (math.prod((1, side, side)),)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_networks_of_fashion_mnist_have_twice_the_filters(preset: str) -> None:
    def filters(data: str) -> list[int]:
        operations = plan(preset_settings(preset, (1, 28, 28), data).encoder, (1, 28, 28), "encoder").operations
        return [operation.filters for operation in operations if isinstance(operation, Conv)]

    assert filters("fashion-mnist5") == filters("fashion-mnist") == [2 * count for count in filters("mnist")]


def test_presets_differ_in_their_work() -> None:
    smoke, standard, paper = (preset_settings(preset, (1, 28, 28)) for preset in ("smoke", "standard", "paper"))
    work = [settings.rounds * settings.batch * settings.adversary.steps for settings in (smoke, standard, paper)]
    assert work == sorted(work)
    assert (paper.loss.kl_weight, paper.loss.error_penalty_weight, paper.loss.margin_weight) == (1, 100, 0)


@pytest.mark.parametrize("preset", PRESETS)
def test_settings_survive_being_written_down(preset: str) -> None:
    settings = preset_settings(preset, (1, 28, 28), "mnist")
    assert GameSettings(**settings.model_dump()) == settings
    assert GameSettings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("attack", ["mim", "cw", "pgd"])
def test_the_training_attack_is_a_part_of_the_preset(preset: str, attack: str) -> None:
    assert preset_settings(preset, (1, 28, 28), "mnist", attack).adversary.attack == attack


def test_the_paper_preset_has_the_steps_of_table_7() -> None:
    made = [preset_settings("paper", (1, 28, 28), data, "cw").adversary for data in ("mnist", "fashion-mnist5")]
    assert [(a.steps, a.learning_rate, a.c) for a in made] == [(1000, 0.001, 1), (2000, 0.001, 1)]


def test_cats_and_dogs_have_their_own_line_in_table_7() -> None:
    mim, cw = (preset_settings("paper", (1, 64, 64), "cats-dogs", attack) for attack in ("mim", "cw"))
    assert (mim.adversary.epsilon, mim.adversary.steps, mim.adversary.step_size) == (0.2, 1200, 0.001)
    assert (cw.adversary.steps, cw.adversary.learning_rate) == (3000, 0.003)
    assert mim.encoder == "2(c(12,32)-bn-relu-mp(2)) c(12,32)-bn-relu-z(64,64)"
    assert mim.decoder == "d(24) d(49) 3(ct(4,64)) d(4096)"


def test_unknown_training_attacks_are_named() -> None:
    with pytest.raises(TwinlatentError, match="'fgsm' is unknown"):
        preset_settings("smoke", (1, 28, 28), "mnist", "fgsm")


def test_the_paper_preset_decides_as_the_paper_does() -> None:
    paper = preset_detector("paper")
    assert (paper.label_rule, paper.score) == ("nearest_mean", "vulnerable")


def test_single_settings_can_be_changed() -> None:
    before = preset_settings("smoke", (1, 8, 8))
    after = override(before, ["rounds=7", " adversary.epsilon=0.125", "adversary.attack=pgd", "loss.margin=2"])
    told = before.model_dump()
    told["rounds"] = 7
    told["adversary"] |= {"epsilon": 0.125, "attack": "pgd"}
    told["loss"]["margin"] = 2
    assert after.model_dump() == told
    assert override(before, []) == before
    assert before.rounds != 7


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("rounds", "no value"),
        ("rounds=0", "rounds = '0'"),
        ("rounds=many", "rounds = 'many'"),
        ("adversary.epsilon=2", "adversary.epsilon = '2'"),
        ("epsilon=0.1", "'epsilon' is unknown"),
        ("adversary.alpha=0.1", "'adversary.alpha' is unknown"),
        ("nothing.alpha=0.1", "nothing"),
        ("rounds.alpha=0.1", "rounds"),
    ],
)
def test_a_change_without_sense_is_named(change: str, complaint: str) -> None:
    with pytest.raises(TwinlatentError) as caught:
        override(preset_settings("smoke", (1, 8, 8)), [change])
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_standard_is_the_papers_game_but_where_cw_is_not_seen_without_more() -> None:
    def share(data: str, attack: str, side: int = 28) -> float:
        return preset_settings("standard", (1, side, side), data, attack).underway

    sets = ("mnist", "fashion-mnist5", "fashion-mnist", "folder:fashion-mnist5", "arrays", "")
    needed = {(data, attack) for data in sets for attack in ("mim", "cw", "pgd") if share(data, attack)}
    assert needed == {("fashion-mnist5", "mim"), ("fashion-mnist5", "cw"), ("fashion-mnist5", "pgd")}
    assert share("fashion-mnist5", "mim") == 0.25
    assert share("digits", "mim", 8) == share("cats-dogs", "cw", 64) == 0


@pytest.mark.parametrize("name", ["", "fast", "Smoke"])
def test_unknown_presets_are_refused(name: str) -> None:
    with pytest.raises(TwinlatentError, match="unknown; choose from smoke, standard, paper") as caught:
        preset_settings(name, (1, 28, 28))
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("attack", ["mim", "cw"])
def test_large_images_alone_have_an_outsider_and_it_fits_them(attack: str) -> None:
    settings = preset_settings("standard", (1, 64, 64), "cats-dogs", attack)
    assert settings.outsider.share > 0
    assert settings.underway == 0
    new_outsider(settings.outsider, (1, 64, 64), 2, 0, "cpu")
    assert settings.outsider.layers not in plain_classifier((1, 64, 64), 2, "cats-dogs")  # nor is it the substitute's
    others = [("standard", 28), ("standard", 8), ("smoke", 64), ("paper", 64)]
    assert not any(preset_settings(name, (1, side, side), "", attack).outsider.share for name, side in others)


OTHERS = (
    "",
    "arrays",
    "folder:photos/cats-dogs",
    "folder:cats-dogs",
    "cats-dogs-2",
    "my-cats-dogs",
    "Cats-Dogs",
    "cats",
)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("data", OTHERS)
@pytest.mark.parametrize("side", [28, 48, 64, 100])
def test_no_image_is_augmented_for_its_size(preset: str, data: str, side: int) -> None:
    settings = preset_settings(preset, (1, side, side), data)
    assert settings.augment == Augmentation()
    asked = override(settings, ["augment.flip=true", "augment.shift=2"])
    assert asked.augment == Augmentation(flip=True, shift=2)


@pytest.mark.parametrize("attack", ["mim", "cw"])
def test_the_published_trainings_of_cats_and_dogs_can_be_repeated(attack: str) -> None:
    settings = preset_settings("standard", (1, 64, 64), "cats-dogs", attack)
    assert settings.model_dump() == zoo.load(f"cats-dogs-{attack}").card["training"]
    assert settings.augment == Augmentation(flip=True, shift=3, brightness=0.1)


@pytest.mark.parametrize("data", ["fashion-mnist-2", "fashion-mnist50", "folder:fashion-mnist", "my-fashion-mnist"])
def test_a_name_that_only_begins_like_a_data_set_s_is_not_it(data: str) -> None:
    shape = (1, 28, 28)
    assert (
        plain_classifier(shape, 5, data)
        == plain_classifier(shape, 5, "")
        != plain_classifier(shape, 5, "fashion-mnist5")
    )
    for attack in ("mim", "cw"):
        assert preset_settings("paper", shape, data, attack) == preset_settings("paper", shape, "", attack)
