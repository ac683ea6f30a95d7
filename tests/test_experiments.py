"""The files of experiments/ parse, say what a reader needs, and name commands and settings that exist."""

import shlex
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer

from twinlatent.cells import OURS
from twinlatent.cli.program import app
from twinlatent.data.sources import SOURCES
from twinlatent.errors import TwinlatentError
from twinlatent.recipes import recipe_for
from twinlatent.settings import override

ROOT = Path(__file__).resolve().parent.parent
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.toml"))
KEYS = {"data", "preset", "seed", "settings", "steps"}
BLANK = "TO BE MEASURED"
GROUP: Any = typer.main.get_command(app)

Experiment = dict[str, Any]


def head(text: str) -> str:
    """The comment lines a experiment begins with, without their signs."""
    lines = text.splitlines()
    end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(line.removeprefix("#").strip() for line in lines[:end])


def changes(settings: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[str]:
    """A table of settings as `--set` takes them: {"loss": {"margin": 2}} -> "loss.margin=2"."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from changes(value, (*above, name))
        else:
            yield f"{'.'.join((*above, name))}={value}"


def parsed(command: str) -> tuple[str, dict[str, Any]]:
    """Name and values of a command line, as the program itself would read it; it is not run."""
    program, *words = shlex.split(command)
    assert program == "twinlatent"
    found, name = GROUP, ""
    while hasattr(found, "commands"):
        name, *words = words
        assert name in found.commands, f"{command}: there is no {name!r}"
        found = found.commands[name]
    return name, found.make_context(name, words).params


def settings_of(experiment: Experiment) -> Any:
    """Its preset with its settings, as its first training takes them."""
    side = SOURCES[experiment["data"]].size
    steps = (parsed(step["command"]) for step in experiment["steps"])
    trainings = [values for name, values in steps if name == "train"]
    attack = trainings[0]["attack"] if trainings else None
    method = trainings[0]["method"] if trainings else OURS
    classes = len(SOURCES[experiment["data"]].class_names)
    shape = (SOURCES[experiment["data"]].channels, side, side)
    made = recipe_for(experiment["data"], shape, classes, 1000, experiment["preset"])
    base = made.game_settings(attack or "mim") if method == OURS else made.baseline_settings(method, attack)
    return override(base, list(changes(experiment["settings"])))


def disagreements(experiment: Experiment) -> list[str]:
    """Where a command does something else than the experiment's own keys say."""
    wrong = []
    for step in experiment["steps"]:
        name, values = parsed(step["command"])
        if "preset" in values:
            values = values | {"preset": values["preset"] or "standard"}  # what it is if it is not said
        said = {key: experiment[key] for key in ("preset", "seed")}
        if name == "train":
            said |= {"data": experiment["data"], "change": list(changes(experiment["settings"])) or None}
        wrong += [f"{name}: {key} is {values[key]!r}, not {value!r}" for key, value in said.items()
                  if key in values and (values[key] or None) != (value or None)]  # fmt: skip
    return wrong


@pytest.fixture(params=EXPERIMENTS, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture
def experiment(path: Path) -> Experiment:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def test_there_are_recipes() -> None:
    assert {"digits-demo", "fashion-mnist5-mim", "mnist-mim"} <= {path.stem for path in EXPERIMENTS}


def test_a_recipe_has_its_keys_and_no_others(experiment: Experiment) -> None:
    assert set(experiment) == KEYS
    assert experiment["steps"]
    assert all(set(step) == {"command"} for step in experiment["steps"])


def test_its_settings_are_settings(experiment: Experiment) -> None:
    assert set(changes(experiment["settings"])) <= set(changes(settings_of(experiment).model_dump()))


def test_its_commands_exist_and_do_what_its_keys_say(experiment: Experiment) -> None:
    assert disagreements(experiment) == []


def test_its_head_states_commands_machine_time_and_numbers(path: Path, experiment: Experiment) -> None:
    said = head(path.read_text(encoding="utf-8"))
    for wanted in (*(step["command"] for step in experiment["steps"]), "machine ", "time ", "accuracy", "AUC",
                   f"results/{path.stem}.json"):  # fmt: skip
        assert wanted in said


def test_a_recipe_with_a_result_has_no_blanks(path: Path) -> None:
    measured = (ROOT / "results" / f"{path.stem}.json").exists()
    assert not (measured and BLANK in path.read_text(encoding="utf-8"))


# --- the checks can fail --------------------------------------------------------------------------------------------

GOOD: Experiment = {
    "data": "digits", "preset": "smoke", "seed": 3, "settings": {"rounds": 5, "loss": {"margin": 2.0}},
    "steps": [
        {"command": "twinlatent train digits --out x --preset smoke --seed 3 --set rounds=5 --set loss.margin=2.0"},
        {"command": "twinlatent evaluate x --seed 3"},
    ],
}  # fmt: skip


def test_a_good_recipe_passes() -> None:
    assert settings_of(GOOD).rounds == 5
    assert disagreements(GOOD) == []


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("seed", 0, "train: seed is 3, not 0"),
        ("preset", "standard", "train: preset is 'smoke', not 'standard'"),
        ("data", "mnist", "train: data is 'digits', not 'mnist'"),
        ("settings", {"rounds": 6}, "train: change is"),
    ],
)
def test_a_command_that_does_something_else_is_found(key: str, value: Any, complaint: str) -> None:
    assert disagreements({**GOOD, key: value})[0].startswith(complaint)


@pytest.mark.parametrize("command", ["twinlatent fly", "twinlatent evaluate x --wings 2", "twinlatent train digits"])
def test_a_command_that_does_not_exist_is_found(command: str) -> None:
    with pytest.raises(Exception, match=r"'fly'|--wings|folder"):
        parsed(command)


@pytest.mark.parametrize("settings", [{"round": 5}, {"rounds": -1}, {"loss": {"weight": 1}}])
def test_settings_that_do_not_exist_are_found(settings: dict[str, Any]) -> None:
    with pytest.raises(TwinlatentError, match=r"round|weight"):
        settings_of({**GOOD, "settings": settings})
