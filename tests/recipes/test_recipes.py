"""Recipes: whatever their values, they name networks that fit the images, and are chosen by name or asked for."""

import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from twinlatent import zoo
from twinlatent.baselines import ATTACKS, METHODS
from twinlatent.data import Split
from twinlatent.data.augmentation import Augmentation
from twinlatent.data.sources import SOURCES
from twinlatent.errors import TwinlatentError
from twinlatent.method.game_state import GameSettings
from twinlatent.method.negatives import Setup
from twinlatent.method.negatives.surrogate import new_surrogate
from twinlatent.method.networks import build_classifier
from twinlatent.method.plans import Conv, plan
from twinlatent.recipes import PURPOSES, Recipe, names, recipe_for, recipe_of, shipped
from twinlatent.recipes.files import FOLDER, RULES
from twinlatent.settings import as_toml, override


def generic(side: int, purpose: str = "standard", data: str = "", classes: int = 3, images: int = 60_000) -> Recipe:
    return recipe_for(data, (1, side, side), classes, images, purpose)


# --- what ships -----------------------------------------------------------------------------------------------------


def test_every_known_data_set_has_one_for_each_purpose() -> None:
    recipes = [shipped(name) for name in names()]
    found = [(recipe.data, recipe.purpose) for recipe in recipes if recipe.data]
    grey = [data for data, source in SOURCES.items() if source.channels == 1]
    wanted = [(data, purpose) for data in grey for purpose in PURPOSES]
    coloured = [(data, "standard") for data in SOURCES if data not in grey]  # other purposes get the rules
    assert sorted(found) == sorted(wanted + coloured)
    for data, source in SOURCES.items():
        recipe = shipped(data)
        assert recipe.image_shape == (source.channels, source.size, source.size)
        assert recipe.classes == len(source.class_names)
        assert recipe == recipe_for(data, recipe.image_shape, recipe.classes, 60_000)


@pytest.mark.parametrize("name", names())
def test_a_file_says_nothing_that_the_rules_say_already(name: str) -> None:
    """Every value of a file makes a difference."""
    found = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    about = ("about", "data", "purpose", "image_shape", "classes")
    ruled = generic(found["image_shape"][1], found["purpose"], "", found["classes"]).model_dump()

    def same(values: dict[str, Any], others: dict[str, Any], above: str = "") -> list[str]:
        nested = [line for key, value in values.items() if isinstance(value, dict) and isinstance(others.get(key), dict)
                  for line in same(value, others[key], f"{above}{key}.")]  # fmt: skip
        return nested + [f"{above}{key}" for key, value in values.items() if others.get(key) == value]

    kept = {name: value for name, value in found.items() if name not in about}
    filled = {table: {key: str(value).replace("{classes}", str(found["classes"])) if table == "networks" else value
                      for key, value in values.items()} for table, values in kept.items()}  # fmt: skip
    assert not same(filled, ruled)


@pytest.mark.parametrize("name", names())
def test_the_full_settings_are_a_recipe_themselves(name: str, tmp_path: Path) -> None:
    recipe = shipped(name)
    path = tmp_path / f"{name}.toml"
    path.write_text(as_toml(recipe.resolved()), encoding="utf-8")
    again = recipe_for("other", recipe.image_shape, recipe.classes, 60_000, asked=path)
    for attack in ("mim", "cw", "pgd"):
        assert again.game_settings(attack) == recipe.game_settings(attack)
    for method in METHODS if recipe.purpose != "paper" else ():
        for attack in ATTACKS[method]:
            assert again.baseline_settings(method, attack) == recipe.baseline_settings(method, attack)
    assert (again.substitutes, again.judges, again.detector) == (recipe.substitutes, recipe.judges, recipe.detector)
    assert again.motivation_settings("cw") == recipe.motivation_settings("cw")


def test_the_published_training_can_be_repeated() -> None:
    """The zoo's detector of cats and dogs was trained with what the recipe says, by names of version 0.1.0."""
    trained = GameSettings.model_validate(zoo.load("cats-dogs-mim").card["training"])
    settings = shipped("cats-dogs").game_settings("mim")
    assert settings == trained
    assert settings.augment == Augmentation(flip=True, shift=3, brightness=0.1)


@pytest.mark.parametrize("purpose", ["smoke", "standard", "paper"])
def test_the_networks_of_fashion_mnist_have_twice_the_filters(purpose: str) -> None:
    def filters(data: str) -> list[int]:
        recipe = recipe_for(data, (1, 28, 28), len(SOURCES[data].class_names), 60_000, purpose)
        operations = plan(recipe.networks.encoder, (1, 28, 28), "encoder").operations
        return [operation.filters for operation in operations if isinstance(operation, Conv)]

    assert filters("fashion-mnist5") == filters("fashion-mnist") == [2 * count for count in filters("mnist")]


def test_the_papers_steps_are_those_of_table_7() -> None:
    made = [shipped(f"{data}-paper").game_settings("cw").adversary for data in ("mnist", "fashion-mnist5")]
    assert [(a.steps, a.learning_rate, a.c) for a in made] == [(1000, 0.001, 1), (2000, 0.001, 1)]
    mim = shipped("mnist-paper").game_settings().adversary  # also after those of cw were asked for
    assert (mim.steps, mim.step_size, mim.epsilon) == (3000, 0.001, 0.5)


def test_cats_and_dogs_have_their_own_line_in_table_7() -> None:
    mim, cw = (shipped("cats-dogs-paper").game_settings(attack) for attack in ("mim", "cw"))
    assert (mim.adversary.epsilon, mim.adversary.steps, mim.adversary.step_size) == (0.2, 1200, 0.001)
    assert (cw.adversary.steps, cw.adversary.learning_rate) == (3000, 0.003)
    assert mim.encoder == "2(c(12,32)-bn-relu-mp(2)) c(12,32)-bn-relu-z(64,64)"
    assert mim.decoder == "d(24) d(49) 3(ct(4,64)) d(4096)"


def test_the_paper_decides_as_the_paper_does() -> None:
    paper = shipped("mnist-paper").detector
    assert (paper.label_rule, paper.score) == ("nearest_mean", "vulnerable")


def test_standard_is_the_papers_game_but_where_cw_is_not_seen_without_more() -> None:
    sets = {data: shipped(data).game_settings().negatives for data in SOURCES}
    assert {data: found.partway.share for data, found in sets.items() if found.partway.share} == {
        "fashion-mnist5": 0.25
    }
    assert {data: found.surrogate.share for data, found in sets.items() if found.surrogate.share} == {"cats-dogs": 1.0}


def test_the_surrogate_fits_its_images_and_is_no_substitute() -> None:
    recipe = shipped("cats-dogs")
    settings = recipe.game_settings().negatives.surrogate
    new_surrogate(settings, Setup(recipe.image_shape, recipe.classes, 0, torch.device("cpu")))
    assert not any(settings.layers in substitute.layers for substitute in recipe.substitutes.values())


# --- rules ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("side", [8, 12, 13, 16, 26, 27, 28, 47, 48, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_networks_fit_images_of_any_size(purpose: str, side: int, channels: int) -> None:
    shape = (channels, side, side)
    recipe = recipe_for("mine", shape, 3, 500, purpose)
    settings = recipe.game_settings()
    robust, vulnerable = plan(settings.encoder, shape, "encoder").latent
    assert robust == vulnerable
    if settings.decoder:
        assert plan(settings.decoder, (robust,), "decoder").output_shape == (math.prod(shape),)
    assert plan(recipe.networks.binary, shape, "encoder").latent == (1, 1)
    others = [recipe.networks.classifier, recipe.networks.robust, recipe.networks.learner]
    for layers in [*others, *(substitute.layers for substitute in recipe.substitutes.values())]:
        assert build_classifier(layers, shape)(torch.zeros(2, *shape)).shape == (2, 3)


def test_purposes_differ_in_their_work() -> None:
    made = [shipped(name).game_settings() for name in ("mnist-smoke", "mnist", "mnist-paper")]
    work = [settings.rounds * settings.batch * settings.adversary.steps for settings in made]
    assert work == sorted(work)
    assert (made[2].loss.kl_weight, made[2].loss.error_penalty_weight, made[2].loss.margin_weight) == (1, 100, 0)


def test_no_more_images_are_attacked_beforehand_than_there_are() -> None:
    few, many = (generic(28, images=n).baseline_settings("gong").attacked_images for n in (300, 60_000))
    assert (few, many) == (300, 4000)


STRANGERS = ("", "arrays", "folder:cats-dogs", "cats-dogs-2", "my-cats-dogs", "Cats-Dogs", "fashion-mnist5-shoes",
             "fashion-mnist-2", "folder:fashion-mnist5")  # fmt: skip


@pytest.mark.parametrize("side", [28, 64])
def test_a_name_that_only_resembles_a_data_set_s_changes_nothing(side: int) -> None:
    for purpose in PURPOSES:
        found = [generic(side, purpose, name) for name in STRANGERS]
        assert {recipe.name for recipe in found} == {"generic"}
        assert len({as_toml(recipe.resolved()) for recipe in found}) == 1
    assert generic(side).augment == Augmentation()  # mirroring may change the class


def test_a_known_name_with_other_images_gets_the_rules() -> None:
    for shape, classes in (((1, 32, 32), 5), ((3, 28, 28), 5), ((1, 28, 28), 4)):
        assert recipe_for("fashion-mnist5", shape, classes, 1000).name == "generic"


# --- recipes of one's own -------------------------------------------------------------------------------------------


def test_a_file_of_ones_own_stands_over_the_rules(digits: Split, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[game]\nrounds = 7\n[game.negatives.partway]\nshare = 0.5\n", encoding="utf-8")
    found = recipe_of(digits, "smoke", path)
    expected = override(generic(8, "smoke", classes=10).game_settings(), ["rounds=7", "negatives.partway.share=0.5"])
    assert found.game_settings() == expected
    assert (found.name, found.purpose) == ("mine", "smoke")


def test_a_file_may_extend_a_shipped_recipe(tmp_path: Path) -> None:
    path = tmp_path / "faces.toml"
    path.write_text('extends = "cats-dogs"\n[game]\nrounds = 9\n', encoding="utf-8")
    found = recipe_for("folder:faces", (1, 64, 64), 5, 400, asked=path)
    assert found.augment == shipped("cats-dogs").augment
    assert found.game_settings().rounds == 9
    assert found.game_settings().negatives.surrogate.share == 1
    assert found.substitutes["f_p"].layers.endswith("sm(5)")


def test_a_shipped_one_may_be_asked_for_by_name() -> None:
    assert recipe_for("mnist", (1, 28, 28), 10, 60_000, asked="mnist-smoke") == shipped("mnist-smoke")
    with pytest.raises(TwinlatentError, match=r"recipe mnist is for classes 10; letters has 26"):
        recipe_for("letters", (1, 28, 28), 26, 60_000, asked="mnist")
    with pytest.raises(TwinlatentError, match=r"recipe mnist is for image_shape \[1, 28, 28\]; mine has \[1, 32, 32\]"):
        recipe_for("mine", (1, 32, 32), 10, 60_000, asked="mnist")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("[game]\nepsilom = 1", "setting 'game.epsilom' is unknown; "),
        ("[game.adversary]\nepsilom = 1", "'game.adversary.epsilom' is unknown; did you mean game.adversary.epsilon?"),
        ("[gmae]\nrounds = 1", "setting 'gmae' is unknown; did you mean game?"),
        ("[baselines.gat]\nround = 1", "did you mean baselines.gat.rounds?"),
        ("[baselines.gta]\nrounds = 1", "did you mean baselines.gat?"),
        ("[baselines.plain]\nreferences = 50", "plain does not read it"),
        ("[substitutes.f_q]\nlayers = 'd(3)'", "did you mean substitutes.f_p?"),
        ("[substitutes.f_p]\nstep = 3", "did you mean substitutes.f_p.steps?"),
        ("[judges]\nepsilon = 3", "setting judges.epsilon = 3: "),
        ("[against.wc]\nrounds = 3", "against"),
        ("[game]\nrounds = -1", "setting game.rounds = -1: "),
        ("[motivation.with.cw]\niteration = 3", "did you mean motivation.iterations?"),
        ("extends = 'mnits'", "recipe 'mnits' is unknown; did you mean mnist"),
        ("[game", "mine.toml is no recipe in TOML: "),
        ("game = 3", "setting game = 3: it is a table; write [game] and its settings below"),
        *(
            (f"{table} = 3", f"setting {table} = 3: it is a table")
            for table in (
                "networks",
                "augment",
                "detector",
                "against",
                "baselines",
                "substitutes",
                "judges",
                "motivation",
                "evaluation",
            )
        ),
        ("[baselines]\ngong = 3", "setting baselines.gong = 3: it is a table; write [baselines.gong]"),
        ("[against]\ncw = 3", "setting against.cw = 3: it is a table"),
        ("[substitutes]\nf_p = 'd(3)'", "setting substitutes.f_p = 'd(3)': it is a table"),
        ("[game]\nadversary = 3", "setting game.adversary = 3: it is a table"),
        ("[motivation]\nwith = 3", "write a table for each attack, as [motivation.with.cw]"),
        ("[motivation.with]\ncw = 3", "write a table for each attack, as [motivation.with.cw]"),
        ("[game]\nencoder = 'c(3,3) z(2,2)'", "setting game.encoder: write networks.encoder in its place"),
        ("[game.augment]\nflip = true", "setting game.augment: write [augment] in its place"),
        ("[game.adversary]\nattack = 'fgsm'", "training attack 'fgsm' is unknown; choose from mim, pgd, cw"),
        ("[substitutes.f_p]\nlayers = 'c(5,20 mp(2)'", "setting substitutes.f_p.layers: network 'c(5,20 mp(2)'"),
        ("[networks]\nrobust = 'd(3) d(4)'", "setting networks.robust: network 'd(3) d(4)'"),
        ("name = 'other'", "a recipe is called as its file is; leave it out"),
        ("purpose = 'fast'", "purpose"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_in_one_line(content: str, line: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TwinlatentError) as caught:
        recipe_for("mine", (1, 28, 28), 3, 1000, asked=path)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_attack_of_a_file_is_played_against_with_what_it_has_against_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[game.adversary]\nattack = 'cw'\n[against.cw]\nrounds = 77\n", encoding="utf-8")
    found = recipe_for("mine", (1, 28, 28), 3, 1000, asked=path)
    assert (found.game_settings().adversary.attack, found.game_settings().rounds) == ("cw", 77)
    assert (found.game_settings("mim").adversary.attack, found.game_settings("mim").rounds) == ("mim", 2000)


def test_the_purpose_of_a_recipe_is_its_own() -> None:
    options = ("digits", (1, 8, 8), 10, 1000)
    assert recipe_for(*options, asked="digits-smoke").purpose == "smoke"
    assert recipe_for(*options, "smoke", "digits-smoke").purpose == "smoke"
    with pytest.raises(TwinlatentError, match="digits-smoke is for the purpose smoke, not paper; leave the preset out"):
        recipe_for(*options, "paper", "digits-smoke")


@pytest.mark.parametrize("purpose", ["", "fast", "Smoke"])
def test_unknown_purposes_are_refused(purpose: str) -> None:
    with pytest.raises(TwinlatentError, match="unknown; choose from smoke, standard, paper") as caught:
        generic(28, purpose)
    assert repr(purpose) in str(caught.value)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(TwinlatentError, match=r"recipe 'minst' is unknown; did you mean mnist.*or give a file"):
        recipe_for("mnist", (1, 28, 28), 10, 60_000, asked="minst")
    with pytest.raises(TwinlatentError, match="recipe 'minst' is unknown; did you mean mnist"):
        shipped("minst")
    with pytest.raises(TwinlatentError, match="training attack 'fgsm' is unknown; choose from mim, pgd, cw"):
        shipped("mnist").game_settings("fgsm")
    with pytest.raises(TwinlatentError, match="preset 'paper' is none of a baseline's"):
        shipped("mnist-paper").baseline_settings("plain")
    with pytest.raises(TwinlatentError, match="gong is not trained with 'pgd'; choose from mim, cw"):
        shipped("mnist").baseline_settings("gong", "pgd")


def test_every_rule_is_read() -> None:
    sizes, read = ("small", "medium", "large"), {"base", "narrow", *PURPOSES}
    read |= {*sizes, *(f"{size}-{purpose}" for size in sizes for purpose in PURPOSES)}
    assert {path.stem for path in RULES.glob("*.toml")} <= read


@pytest.mark.parametrize("data", [data for data, source in SOURCES.items() if source.channels == 1])
def test_robust_is_another_name_of_certified(data: str) -> None:
    certified = shipped(f"{data}-certified")
    assert shipped(f"{data}-robust") == certified
    shape, classes = certified.image_shape, certified.classes
    for asked in ({"purpose": "robust"}, {"asked": f"{data}-robust"}, {"purpose": "robust", "asked": f"{data}-robust"}):
        assert recipe_for(data, shape, classes, 5000, **asked) == certified


def test_so_it_is_in_a_file_of_one_s_own(tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text('purpose = "robust"\n[game]\nrounds = 7\n')
    for asked in (None, "robust", "certified"):
        made = recipe_for("digits", (1, 8, 8), 10, 5000, asked, own)
        assert (made.purpose, made.game["rounds"]) == ("certified", 7)


def test_no_other_name_is_invented() -> None:
    with pytest.raises(TwinlatentError, match="recipe 'letters-robust' is unknown"):
        shipped("letters-robust")
    with pytest.raises(TwinlatentError, match=r"preset 'sturdy' is unknown; choose from .*, certified, robust"):
        recipe_for("digits", (1, 8, 8), 10, 100, "sturdy")
