"""The code of the pages runs, or at least can be read; links to parts of pages lead there.

Every Python block is Python, every line of `twinlatent` is a command with options that there are, and what is fast on
embedded data is run. Some pages have tests of their own: adding_an_attack, your_own_detector (test_docs.py), bridges,
export, guarding_a_classifier, monitor, serve.
"""

import ast
import re
import shlex
from collections.abc import Callable, Iterator
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image

import twinlatent as tl
from twinlatent.attacks.suites import KINDS
from twinlatent.cli.program import app
from twinlatent.method.fit import fit_split
from twinlatent.running.ray import Ray

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *sorted(DOCS.glob("*.md")))}
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELL = {"", "sh", "bash"}
UsageError: Any = typer.BadParameter.__base__
"""Of the click that typer uses, which may be one of its own."""


def python_blocks(text: str) -> list[str]:
    return [block for language, block in FENCED.findall(text) if language == "python"]


def shell_lines(text: str) -> Iterator[str]:
    """Lines of `twinlatent` in fenced shell blocks and in indented code."""
    shell = "".join(block for language, block in FENCED.findall(text) if language in SHELL)
    rest = FENCED.sub("", text)
    for line in (*shell.splitlines(), *re.findall(r"^    (.*)$", rest, re.MULTILINE)):
        if line.startswith("twinlatent "):
            yield line


def words_of(line: str) -> list[str]:
    """What the program would be given: without a comment, and what is the shell's own."""
    words = shlex.split(line, comments=True)[1:]
    ends = [number for number, word in enumerate(words) if word in {"&", "|", ">", "..."}]
    return words[: ends[0]] if ends else words


def read_by_the_program(words: list[str]) -> list[str]:
    """Read the words as the program does, without running the command; its names.

    Raises:
        UsageError: an option or command that there is not, or a value of another kind.
    """
    command: Any = typer.main.get_command(app)
    context = command.make_context("twinlatent", list(words))
    names = []
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
        names.append(name)
    return names


COMMANDS = [(page, line) for page, text in PAGES.items() for line in shell_lines(text)]


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{page}: {line.split('#')[0]}" for page, line in COMMANDS])
def test_the_program_understands_a_command(page: str, line: str) -> None:
    assert read_by_the_program(words_of(line))


def test_most_pages_show_commands() -> None:
    assert len({page for page, _ in COMMANDS}) > 10
    assert len(COMMANDS) > 60


@pytest.mark.parametrize("line", ["twinlatent detekt mnist-mim a.png", "twinlatent attack mnist-mim --radius 1",
                                  "twinlatent evaluate mnist-mim --images few", "twinlatent zoo print"])  # fmt: skip
def test_another_command_is_not_understood(line: str) -> None:
    with pytest.raises(UsageError):
        read_by_the_program(words_of(line))


@pytest.mark.parametrize("page", PAGES)
def test_python_is_python(page: str) -> None:
    for block in python_blocks(PAGES[page]):
        ast.parse(block)


# --- what is fast is run ----------------------------------------------------------------------------------------------


@pytest.fixture
def quickly(trained_detector: tl.Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict]:
    """A function: run the Python of a page, in an empty folder; what it would train is there already."""

    def trained(*given: Any, **named: Any) -> tl.Detector:
        signature(fit_split).bind(*given, **named)
        return trained_detector

    def run(page: str, **names: Any) -> dict[str, Any]:
        blocks = python_blocks(PAGES[page])
        assert blocks
        with torch.random.fork_rng():
            torch.manual_seed(0)
            for number, block in enumerate(blocks):
                exec(compile(block, f"{page}, block {number}", "exec"), names)
        return names

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tl, "fit_split", trained)
    return run


def test_the_start_runs(quickly: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    quickly("index.md")
    benign, attacked = (int(re.findall(r"(\d+)% classified", line)[0]) for line in capsys.readouterr().out.splitlines())
    assert benign > 80
    assert attacked < benign


def test_detect_runs(quickly: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    names = quickly("detect.md")
    assert len(names["verdict"].label) == len(names["split"].test)
    assert "of 359 benign images flagged" in capsys.readouterr().out


def test_attack_runs_and_names_every_attack(quickly: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    text = PAGES["attack.md"]
    said = {name: kind for kind, _, cell in re.findall(r"^\| (\w+) \| (.*?) \| (`.*) \|$", text, re.MULTILINE)
            for name in re.findall(r"`([^`]+)`", cell)}  # fmt: skip
    assert said == {**KINDS, "none": "blind"}
    images = np.zeros((4, 1, 8, 8), np.float32)
    saved = {"worst": images + 0.1, "benign": images, "worst_attack": np.array(["pgd", "", "", ""]),
             "labels": np.arange(4), "pgd.images": images, "pgd.success": images[:, 0, 0, 0] > 0}  # fmt: skip
    np.savez("saved.npz", **saved)
    names = quickly("attack.md", file="saved.npz")
    out = capsys.readouterr().out
    assert "25% lost; changed most by 0.10" in out
    rates = [int(rate) for rate in re.findall(r"ε = .*: (\d+)% misclassified", out)]
    assert rates == sorted(rates)
    assert rates[-1] > 90
    assert names["aware"].success.sum() >= names["blind"].success.sum() - 2
    assert names["worst"].success.sum() >= max(tried.wins.sum() for tried in names["worst"].by_attack.values())


def test_sections_of_the_report_are_those_that_are_said() -> None:
    template = (ROOT / "twinlatent" / "report" / "templates" / "report.html.j2").read_text(encoding="utf-8")
    there = re.findall(r'^  \("\w+", "([^"]+)", ', template, re.MULTILINE)
    table = PAGES["your_own_detector.md"].partition("| section |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| (\w.*?) \|", table, re.MULTILINE) == there


def test_the_equations_are_those_of_the_code(quickly: Callable) -> None:
    assert 0 <= quickly("method.md")["proof"].rate <= 1


def test_own_arrays_run(quickly: Callable, digits: tl.data.Split, trained_detector, monkeypatch) -> None:
    report = object()
    monkeypatch.setattr(tl, "fit", lambda given, class_names: trained_detector)
    monkeypatch.setattr(tl, "evaluate", lambda detector, split: report)
    dataset = torch.utils.data.TensorDataset(digits.train.images[:200], digits.train.labels[:200])
    test = torch.utils.data.TensorDataset(digits.test.images[:50], digits.test.labels[:50])
    names = quickly("own_data.md", tl=tl, dataset=dataset, test_dataset=test, images=digits.test.images[:3])
    assert len(names["split"].test) == 50
    assert len(names["verdict"].label) == 3
    assert names["report"] is report


def test_calls_of_scale_can_be_made(quickly: Callable, trained_detector, digits, monkeypatch) -> None:
    """Not made, since they start processes: their arguments are those of the functions. Ray may be missing."""
    called = []
    monkeypatch.setattr(Ray, "__post_init__", lambda asked: None)
    for name in ("evaluate", "attack_detector"):
        real = signature(getattr(tl, name))
        monkeypatch.setattr(tl, name, lambda *given, real=real, **named: called.append(real.bind(*given, **named)))
    quickly("scale.md", tl=tl, detector=trained_detector, split=digits)
    assert len(called) == 3
    assert all("workers" in call.arguments for call in called)


def test_commands_of_detect_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: tl.data.Split, capsys) -> None:
    """In their order, on digits in a folder `new` and benign ones in `scans`."""
    monkeypatch.chdir(tmp_path)
    for folder, images in (("new", digits.test.images[:2]), ("scans", digits.test.images[2:42])):
        Path(folder).mkdir()
        for number, image in enumerate(images):
            Image.fromarray((255 * image[0]).byte().numpy()).save(Path(folder, f"{number}.png"))
    lines = list(shell_lines(PAGES["detect.md"]))
    assert len(lines) == 7
    for line in lines:
        words = words_of(line)
        given = [name for word in words for name in (sorted(map(str, tmp_path.glob(word))) if "*" in word else [word])]
        app(given, standalone_mode=False)
        out = capsys.readouterr().out
        assert "Traceback" not in out
        if words[0] == "detect":
            assert out.count(".png") == 2


# --- how to install ---------------------------------------------------------------------------------------------------


def by_name(text: str) -> list[str]:
    """Lines that have pip install twinlatent by its name: no release of it is on an index, so another's may come."""
    return re.findall(r"^.*\bpip install\b[^`\n]*?[ '\"]twinlatent\b(?!\.)(?!-[\d.]+-py3).*$", text, re.MULTILINE)


def test_nothing_is_installed_from_an_index_by_our_name() -> None:
    folders = [ROOT / name for name in ("twinlatent", "examples", "experiments", "scripts", "docs", "results")]
    kinds = {".py", ".md", ".ipynb", ".toml", ".j2", ".html"}
    files = [*ROOT.glob("*.md"), *(path for folder in folders for path in folder.rglob("*") if path.suffix in kinds)]
    found = {path.name: lines for path in files if (lines := by_name(path.read_text(encoding="utf-8")))}
    assert len(files) > 300
    assert found == {}
    wheels = re.findall(r"twinlatent-([\w.]+)-py3-none-any\.whl", PAGES["index.md"])
    assert set(wheels) == {tl.__version__}
    bad = ["pip install twinlatent", "pip install 'twinlatent[serve]'", 'pip install -U "twinlatent"',
           "pip install jupyterlab twinlatent"]  # fmt: skip
    assert [by_name(line) for line in bad] == [[line] for line in bad]
    assert by_name("pip install . jupyterlab\npip install 'dist/twinlatent-0.2.0-py3-none-any.whl[serve]'") == []


# --- links ------------------------------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """Those of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def lost(pages: dict[str, str]) -> list[str]:
    """Links to a part of a page that is not there."""
    return [
        f"{name}: {link}#{anchor}"
        for name, text in pages.items()
        for link, anchor in re.findall(r"\]\((?!http)([^)#]*)#([^)]+)\)", text)
        if anchor not in anchors(pages[Path(link).name if link else name])
    ]


def test_parts_of_pages_that_are_pointed_at_are_there() -> None:
    assert lost(PAGES) == []
    assert lost({"a.md": "# A `b`, c\n[x](#a-b-c) [y](b.md#d) [z](b.md#e)", "b.md": "## D"}) == ["a.md: b.md#e"]


def test_no_page_is_left_alone() -> None:
    pointed = {(name, target) for name, text in PAGES.items() for target in re.findall(r"\]\((\w+\.md)", text)}
    assert set(PAGES) - {"README.md", "index.md"} <= {target for name, target in pointed if target != name}
