"""The tables of docs/ name what is there: modules on their floors, files, settings with their defaults."""

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from inspect import signature
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from pydantic import BaseModel

import twinlatent as tl
from twinlatent.cli.program import app
from twinlatent.method.detector import DetectorSettings
from twinlatent.method.fit import fit_split
from twinlatent.method.game_state import GameSettings
from twinlatent.motivation.settings import MotivationSettings
from twinlatent.recipes import shipped
from twinlatent.settings import override

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
ARCHITECTURE = (DOCS / "architecture.md").read_text(encoding="utf-8")
SYMBOLS = (DOCS / "symbols.md").read_text(encoding="utf-8")
ADDING = (DOCS / "adding_an_attack.md").read_text(encoding="utf-8")
OWN = (DOCS / "your_own_detector.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
BASE = shipped("mnist-smoke").game_settings()
STANDARD = shipped("mnist").game_settings()
NONE_GIVEN = {"–", "by data set"}
OLD_WORDS = r"underway|outsider|misread|from (?:the )?(?:in|out)side"

Row = list[str]


def tables(text: str) -> Iterator[list[Row]]:
    """Every table of a Markdown text as rows of cells, the heading first, the rule left out."""
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        lines = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in block.splitlines()]
        yield [lines[0], *lines[2:]]


def table(text: str, heading: str) -> list[Row]:
    """The rows of the first table whose heading starts so, without it."""
    wanted = heading.split(", ")
    return next(rows for rows in tables(text) if rows[0][: len(wanted)] == wanted)[1:]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


SETTINGS = [row for row in table(SYMBOLS, "choice, setting") if not row[1].startswith("`--")]
OPTIONS = [row for row in table(SYMBOLS, "choice, setting") if row[1].startswith("`--")]


def default_of(model: type[BaseModel], name: str) -> object:
    first, _, rest = name.partition(".")
    field = model.model_fields[first]
    return attrgetter(rest)(field.default) if rest else field.default


def value_of(settings: BaseModel, name: str) -> object:
    for part in name.split("."):
        settings = getattr(settings, part)
    return settings


def same(said: str, value: object) -> bool:
    """Whether a cell says this value, as `--set` would read it."""
    (text,) = words(said)
    if value is None or isinstance(value, str | bool):
        return text == (value if isinstance(value, str) else str(value).lower())
    assert isinstance(value, int | float)
    return float(text) == value


def test_every_line_of_a_table_has_all_its_cells() -> None:
    for text in (ARCHITECTURE, SYMBOLS, ADDING, OWN):
        for rows in tables(text):
            assert {len(row) for row in rows} == {len(rows[0])}, rows[0]


def test_the_floors_are_those_that_are_enforced() -> None:
    tree = ast.parse((ROOT / "tests" / "test_architecture.py").read_text(encoding="utf-8"))
    (assigned,) = (n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "FLOORS")
    enforced = [{entry for entry in floor if is_there(entry)} for floor in ast.literal_eval(assigned)]
    said = [set(words(modules)) for _, modules, _ in table(ARCHITECTURE, "floor, modules")]
    assert said[::-1] == enforced
    assert [int(number) for number, *_ in table(ARCHITECTURE, "floor, modules")] == list(range(len(enforced)))[::-1]


def is_there(entry: str) -> bool:
    """Whether an entry of FLOORS, a module or all in a package, exists; packages by themselves are left out."""
    path = ROOT / "twinlatent" / entry.removesuffix(".*").replace(".", "/")
    return entry == "twinlatent" or (path.is_dir() if entry.endswith(".*") else path.with_suffix(".py").is_file())


def test_files_and_names_of_symbols_are_there() -> None:
    for symbol, _, ours, files in table(SYMBOLS, "paper, what it is"):
        paths = [ROOT / "twinlatent" / name for name in words(files)]
        assert paths or files == "everywhere", symbol
        assert [path.name for path in paths if not path.is_file()] == [], symbol
        source = "".join(path.read_text(encoding="utf-8") for path in paths)
        parts = [part for name in words(ours) for part in re.findall(r"[A-Za-z_]\w*", name)] if paths else []
        assert [part for part in parts if not re.search(rf"\b{part}\b", source)] == [], symbol


def test_budgets_have_the_fields_and_names_that_are_said() -> None:
    rows = table(SYMBOLS, "paper, what it is, in an attack")
    said = {name.removeprefix("Budget.") for _, _, _, budget, _ in rows for name in words(budget)}
    assert said <= {field.name for field in fields(tl.attacks.Budget)}
    assert len(said) == len(rows)
    tables_of_the_paper = {name.split(".")[1] for name in tl.attacks.BUDGETS}
    assert tables_of_the_paper == set(re.findall(r"`paper\.(\w+)\.DATA\.ATTACK`", SYMBOLS))


def run_blocks(blocks: list[str], names: dict[str, Any]) -> dict[str, Any]:
    """Run pieces of code one after the other with common names, leaving the global random state alone."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for number, block in enumerate(blocks):
            exec(compile(block, f"block {number}", "exec"), names)
    return names


def python_blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_code_of_adding_an_attack_runs(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = python_blocks(ADDING)
    assert len(blocks) > 8
    names = run_blocks(blocks, {"__name__": "adding_an_attack"})
    assert "sign-flips: " in capsys.readouterr().out
    attack, network = names["SignFlips"](0.2, queries=50), names["network"]
    images, labels = names["images"], names["labels"]
    whole = tl.attacks.run(attack, network, images, labels)
    single = tl.attacks.run(attack, network, images[3:4], labels[3:4])
    torch.testing.assert_close(single.images, whole.images[3:4], msg="the example must not depend on the batch")


def test_the_code_of_your_own_detector_runs_and_its_commands_are_there(
    capsys: pytest.CaptureFixture[str], fewer_steps, fewer_radii, monkeypatch: pytest.MonkeyPatch
) -> None:
    fewer_steps(monkeypatch, 20)
    fewer_radii(monkeypatch)
    usual, weaker = tl.evaluate, {"steps": 2, "shift_images": 20, "blackbox_images": 20, "judges": {"steps": 5}}
    monkeypatch.setattr(tl, "evaluate", lambda *given, **named: usual(*given, **named | weaker))
    names = run_blocks(python_blocks(OWN), {})
    assert names["report"].accuracy.value > 0.9
    assert "margin on digits, 359 test images" in capsys.readouterr().out
    known: Any = typer.main.get_command(app)
    commands = [line.split("#")[0].split()[1:] for line in OWN.splitlines() if line.startswith("twinlatent ")]
    assert [name for name, *_ in commands] == ["new", "evaluate"]
    assert commands[0][1] in known.commands["new"].commands
    options = {name for option in known.commands["evaluate"].params for name in option.opts}
    assert {word for word in commands[1] if word.startswith("--")} <= options


def test_the_code_of_the_readme_runs(
    trained_detector: tl.Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it stands, but with a detector that is trained already."""

    def trained(*given: Any, **named: Any) -> tl.Detector:
        signature(fit_split).bind(*given, **named)
        return trained_detector

    (block,) = python_blocks(README)
    assert len(block.splitlines()) <= 30
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tl, "fit_split", trained)
    names = run_blocks([block], {})
    assert names["worst"].success.shape == names["verdict"].label.shape == (20,)
    assert tl.load("digits.safetensors").class_names == trained_detector.class_names
    assert "20 test images" in capsys.readouterr().out or names["report"].accuracy.n > 20
    assert Path("digits", "results.json").exists()


def test_the_first_page_is_short() -> None:
    assert len(README.splitlines()) <= 160
    assert len(table(README, "images, detector")) <= 10


def test_commands_that_the_readme_names_are_there() -> None:
    known: Any = typer.main.get_command(app)
    fenced = r"^```\w+\n(.*?)^```"
    lines = [*"".join(re.findall(fenced, README, re.MULTILINE | re.DOTALL)).splitlines(),
             *words(re.sub(fenced, "", README, flags=re.MULTILINE | re.DOTALL))]  # fmt: skip
    said = [line.split()[1:3] for line in lines if line.startswith("twinlatent ")]
    assert len(said) > 12
    for name, *inner in said:
        group = known.commands[name]
        for one in inner[0].split("\\|") if hasattr(group, "commands") else ():
            assert one in group.commands, f"{name} {one}"


def test_files_that_pages_point_at_are_there() -> None:
    for path in (ROOT / "README.md", *DOCS.glob("*.md")):
        for link in re.findall(r"\]\((?!http)([^)#]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


@pytest.mark.parametrize("name", ["README.md", *(f"docs/{path.name}" for path in sorted(DOCS.glob("*.md")))])
def test_pages_have_the_fields_words(name: str) -> None:
    prose = re.sub(r"`[^`]*`", "", (ROOT / name).read_text(encoding="utf-8"))  # commands stand as they were run
    assert re.findall(OLD_WORDS, prose, re.IGNORECASE) == []


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row[1].strip("`"))
def test_settings_have_the_defaults_that_are_said(row: Row) -> None:
    _, setting, default, standard, _ = row
    (name,) = words(setting)
    if default not in NONE_GIVEN:
        assert same(default, default_of(GameSettings, name))
    in_standard = value_of(STANDARD, name)
    if standard == "–":
        assert in_standard == default_of(GameSettings, name), f"the preset says {in_standard}"
    else:
        assert same(standard, in_standard), f"the preset says {in_standard}"


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row[1].strip("`"))
def test_literal_alternatives_can_be_chosen(row: Row) -> None:
    (name,) = words(row[1])
    for value in words(row[4]):
        assert same(f"`{value}`", value_of(override(BASE, [f"{name}={value}"]), name))


def test_every_setting_is_in_the_table() -> None:
    def names(model: type[BaseModel]) -> Iterator[str]:
        for name, field in model.model_fields.items():
            if isinstance(field.default, BaseModel):
                yield from (f"{name}.{inner}" for inner in names(type(field.default)))
            else:
                yield name

    machinery = {"checkpoint_every", "watch_every"}  # decide nothing of the result
    assert {words(row[1])[0] for row in SETTINGS} == set(names(GameSettings)) - machinery


def test_settings_of_section_3_are_said() -> None:
    preset = shipped("mnist").motivation_settings("cw")
    rows = table(SYMBOLS, "what, name, preset `standard`")
    assert {words(name)[0] for _, name, _, _ in rows} == set(MotivationSettings.model_fields) - {"seed"}
    for _, name, said, _ in rows:
        if words(said) and "DATA" not in said:
            assert same(said, getattr(preset, words(name)[0])), name


def test_options_have_the_defaults_that_are_said() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for _, option, default, _, literal in OPTIONS:
        command = "detect" if "detect" in option else "train"
        (found,) = (p for p in commands[command].params if words(option)[0] in p.opts)
        assert same(default, found.default)
        for value in words(literal):
            DetectorSettings(**{found.name: value})


@pytest.mark.parametrize(
    ("cell", "value", "agree"),
    [("`4`", 4.0, True), ("`4`", 5, False), ("`none`", None, True), ("`adam`", "sgd", False), ("`0.002`", 2e-3, True)],
)
def test_a_cell_can_disagree(cell: str, value: object, agree: bool) -> None:
    assert same(cell, value) is agree
