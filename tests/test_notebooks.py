"""Every notebook of examples/ runs from top to bottom, without the network, and shows what it says it shows."""

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import twinlatent as tl

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
LONGEST = 100  # lines of code of a notebook
SHARE = r"(\d+)%"
PRINTED = {
    "break_this_detector.ipynb": [
        rf"PGD: {SHARE} misclassified and not flagged",
        rf"{SHARE} of the gradients were zero",
        rf"Square: {SHARE} misclassified and not flagged",
        rf"BPDA: {SHARE} misclassified and not flagged",
        rf"one of both: {SHARE}",
        rf"the detector, asked again: {SHARE}",
    ],
    "detect_and_attack.ipynb": [
        rf"PGD: {SHARE} misclassified, {SHARE} not flagged either",
        rf"selective PGD: {SHARE} misclassified and not flagged",
    ],
}
SHOWN = {  # the kinds of what cells end with, in their order
    "break_this_detector.ipynb": ["png"],
    "detect_and_attack.ipynb": ["text", "html", "png", "png", "html", "html", "png"],
}


def cells(path: Path) -> list[dict[str, Any]]:
    book = json.loads(path.read_text(encoding="utf-8"))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert book["metadata"]["kernelspec"]["name"] == "python3"
    return book["cells"]


def code_of(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "code"]


def run(source: str, names: dict[str, Any]) -> object:
    """Run a cell as Jupyter does: the value of its last line, where that is an expression, is what it shows."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def shown(value: object) -> tuple[str, Any]:
    """Kind and content of what Jupyter shows of a value."""
    for kind, method in (("html", "_repr_html_"), ("png", "_repr_png_")):
        content = getattr(value, method, lambda: None)()
        if content is not None:
            return kind, content
    return "text", repr(value)


LONG = "detect_and_attack.ipynb"
NOTEBOOKS = [pytest.param(path, marks=pytest.mark.slow if path.name == LONG else (), id=path.name)
             for path in sorted(EXAMPLES.glob("*.ipynb"))]  # fmt: skip
WEAKER = {"steps": 2, "images": 10, "subset": 10, "blackbox_images": 10, "judges": {"steps": 5}}
"""Of an evaluation, than the notebook asks for."""


@pytest.mark.parametrize("weaker", [WEAKER, pytest.param({}, marks=pytest.mark.slow)], ids=["weaker", "as it stands"])
@pytest.mark.parametrize("path", NOTEBOOKS)
def test_a_notebook_runs_and_shows_what_it_should(
    path: Path, weaker: dict[str, Any], tmp_path: Path, monkeypatch, capsys
) -> None:
    """In this process, where all that is slow to import is there already; warnings are errors here, too."""
    usual = tl.evaluate
    monkeypatch.setattr(tl, "evaluate", lambda *given, **named: usual(*given, **named | weaker))
    monkeypatch.chdir(tmp_path)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    names: dict[str, Any] = {"__name__": "__main__"}
    with torch.random.fork_rng():
        values = [value for source in code_of(path) if (value := run(source, names)) is not None]
    done = capsys.readouterr()
    assert done.err == ""
    lines = done.out.splitlines()
    said = [re.fullmatch(pattern, line) for pattern, line in zip(PRINTED[path.name], lines, strict=True)]
    assert all(said), done.out
    found = [shown(value) for value in values]
    assert [kind for kind, _ in found] == SHOWN[path.name]
    assert all(content.startswith(b"\x89PNG") for kind, content in found if kind == "png")
    assert "matplotlib.pyplot" not in sys.modules
    assert list(tmp_path.iterdir()) == []
    numbers = [int(number) for match in said if match for number in match.groups()]
    if path.name.startswith("detect"):
        wrong, missed, aware = numbers
        assert 20 < missed <= wrong, "the attack is worth showing"
        assert aware > 20
    else:
        pgd, dead, square, bpda, both, again = numbers
        assert pgd < 10, "it looks unbreakable"
        assert dead > 90, "since the attack is blind"
        assert min(square, bpda) > 30, "attacks that are not blind break it"
        assert both >= max(square, bpda)
        assert again == bpda, "the detector itself has the last word"


def test_notebooks_are_short_and_kept_without_outputs() -> None:
    paths = sorted(EXAMPLES.glob("*.ipynb"))
    assert [path.name for path in paths] == sorted(PRINTED)
    for path in paths:
        ids = [cell["id"] for cell in cells(path)]
        assert len(set(ids)) == len(ids)
        code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
        assert all((cell["outputs"], cell["execution_count"]) == ([], None) for cell in code), "clear all outputs"
        assert sum(len(source.splitlines()) for source in code_of(path)) <= LONGEST


def test_links_of_notebooks_lead_somewhere() -> None:
    texts = [(path, "".join(cell["source"])) for path in EXAMPLES.glob("*.ipynb") for cell in cells(path)]
    links = [(path, link) for path, text in texts for link in re.findall(r"\]\(([^)]+)\)", text)]
    assert len(links) > 3
    assert [(path.name, link) for path, link in links if not (path.parent / link).is_file()] == []


@pytest.mark.parametrize("source", ["1 +", "import warnings\nwarnings.warn('x')", "raise SystemExit"])
def test_a_cell_that_fails_is_not_passed_over(source: str) -> None:
    with pytest.raises((SyntaxError, UserWarning, SystemExit)):
        run(source, {})
