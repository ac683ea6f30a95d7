"""The ladders of experiments/ladders: every rung is a game that can be played, and what was measured is of a rung."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from twinlatent.evaluation.results import read_records
from twinlatent.method.game_state import GameSettings
from twinlatent.method.plans import plan as network_plan
from twinlatent.recipes import shipped
from twinlatent.settings import override

ROOT = Path(__file__).resolve().parent.parent
LADDERS = sorted((ROOT / "experiments" / "ladders").glob("*.toml"))


@pytest.fixture(scope="module")
def ladder(script_of: Callable[[str], ModuleType]) -> ModuleType:
    return script_of("ladder")


@pytest.mark.parametrize("path", LADDERS, ids=lambda path: path.stem)
def test_every_rung_is_another_game(ladder: ModuleType, path: Path) -> None:
    plan = tomllib.loads(path.read_text(encoding="utf-8"))
    recipe = shipped(plan["recipe"])
    assert recipe.data == plan["data"]
    games: dict[str, tuple[GameSettings, int]] = {}
    for rung in ladder.rungs(plan):
        settings = override(recipe.game_settings(), rung.changes)
        assert (settings.deal == "one_batch") is (recipe.purpose == "certified")
        assert network_plan(settings.encoder, recipe.image_shape, "encoder").latent is not None
        games[rung.budget] = settings, rung.seed
    assert len(games) == len(plan["rung"])
    assert all(list(games.values()).count(game) == 1 for game in games.values())
    assert all(rung["expected"] for rung in plan["rung"])


@pytest.mark.parametrize("path", LADDERS, ids=lambda path: path.stem)
def test_what_was_measured_is_of_a_rung(ladder: ModuleType, path: Path) -> None:
    results = ROOT / "results" / f"ladder-{path.stem}.json"
    if not results.exists():
        pytest.skip("no rung was run yet")
    plan = tomllib.loads(path.read_text(encoding="utf-8"))
    budgets, norm = [rung.budget for rung in ladder.rungs(plan)], plan.get("norm", "linf")
    at_radius = [f"{budget}, L2 radius {e:g}" for budget in budgets for e in plan["epsilons"] if norm == "l2"]
    for record in read_records(results):
        in_ball = record.metric in ("sr@5", "sr_certified")
        assert record.budget in (at_radius if in_ball and norm == "l2" else budgets)


def test_a_rung_after_none_is_named(ladder: ModuleType) -> None:
    plan = {"seed": 0, "base": {"settings": [], "encoder": "d(3) z(1,1)"}, "rung": [{"name": "a", "after": "b"}]}
    with pytest.raises(SystemExit, match="rung 'a' comes after 'b', which stands not before it"):
        ladder.rungs(plan)
    plan["rung"] = [{"name": "a", "change": [], "start": "b"}]
    with pytest.raises(SystemExit, match="rung 'a' starts from 'b', which stands not before it"):
        ladder.rungs(plan)
