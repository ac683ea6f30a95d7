"""`twinlatent recipe`: those that ship are listed, and shown in full."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

from twinlatent.recipes import shipped


def test_recipes_are_listed_and_shown(ok: Callable, program: Callable) -> None:
    assert re.search(r"│ mnist-paper +│ mnist +│ paper +│", ok("recipe", "list").out)
    shown = tomllib.loads(ok("recipe", "show", "cats-dogs").out)
    assert shown["game"]["negatives"]["surrogate"]["share"] == 1.0
    assert shown["baselines"]["gat"]["rounds"] == shipped("cats-dogs").baseline_settings("gat").rounds
    assert tomllib.loads(ok("recipe", "show", "cats-dogs", "--attack", "cw").out)["game"]["rounds"] == 1200
    assert "recipe 'minst' is unknown; did you mean mnist" in program("recipe", "show", "minst").refusal


def test_the_recipe_of_a_data_set_or_a_file_is_shown(ok: Callable, program: Callable) -> None:
    Path("mine.toml").write_text("[game]\nrounds = 3\n", encoding="utf-8")
    assert ok("recipe", "show", "--data", "digits").out == ok("recipe", "show", "digits").out
    shown = ok("recipe", "show", "mine.toml", "--data", "digits").out
    assert shown.startswith("# recipe mine, standard\n")
    assert tomllib.loads(shown)["game"]["rounds"] == 3
    assert program("recipe", "show", "mine.toml").refusal == (
        "say whose images the recipe is for: --data NAME, or --data folder:PATH")  # fmt: skip
