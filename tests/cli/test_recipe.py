"""`twinlatent recipe`: those that ship are listed, and shown in full."""

import re
import tomllib
from collections.abc import Callable

from twinlatent.recipes import shipped


def test_recipes_are_listed_and_shown(ok: Callable, program: Callable) -> None:
    assert re.search(r"│ mnist-paper +│ mnist +│ paper +│", ok("recipe", "list").out)
    shown = tomllib.loads(ok("recipe", "show", "cats-dogs").out)
    assert shown["game"]["negatives"]["surrogate"]["share"] == 1.0
    assert shown["baselines"]["gat"]["rounds"] == shipped("cats-dogs").baseline_settings("gat").rounds
    assert tomllib.loads(ok("recipe", "show", "cats-dogs", "--attack", "cw").out)["game"]["rounds"] == 1200
    assert "recipe 'minst' is unknown; did you mean mnist" in program("recipe", "show", "minst").refusal
