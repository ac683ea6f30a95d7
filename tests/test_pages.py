"""scripts/pages.py: every page shows what results/ holds, and a page that does not is named."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from jinja2 import UndefinedError

from twinlatent.evaluation.results.records import read_records

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


@pytest.fixture(scope="module")
def pages(script_of: Callable[[str], ModuleType]) -> ModuleType:
    return script_of("pages")


@pytest.fixture
def copies(pages: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[Path, str]:
    """The pages, in another folder, as they are."""
    texts = {tmp_path / path.name: path.read_text(encoding="utf-8") for path in pages.pages()}
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(pages, "pages", lambda: texts)
    monkeypatch.setattr(sys, "argv", ["pages.py", "--check"])
    return texts


def test_pages_show_what_results_hold(pages: ModuleType) -> None:
    assert [path.name for path, wanted in pages.pages().items() if path.read_text(encoding="utf-8") != wanted] == []


def test_a_page_that_shows_another_number_is_named(
    pages: ModuleType, copies: dict[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert pages.main() == 0
    path = next(path for path in copies if path.name == "ablations.md")
    path.write_text(copies[path].replace(".240", ".140"), encoding="utf-8")
    assert pages.main() == 1
    assert capsys.readouterr().err.startswith("ablations.md does not show")
    path.unlink()
    assert pages.main() == 1
    sys.argv.pop()
    assert pages.main() == 0
    assert path.read_text(encoding="utf-8") == copies[path]


def test_every_detector_and_every_command_is_on_a_page(pages: ModuleType) -> None:
    texts = {path.name: text for path, text in pages.pages().items()}
    for title, records in pages.tables.detectors().items():
        page = "ablations.md" if pages.tables.LEFT in title else "results.md"
        assert f"| {title} |" in texts[page]
        assert all(f"`{record.command}`, commit {record.commit}" in texts["results.md"] for record in records)


def test_the_first_table_takes_the_best_baseline_and_the_worst_attack(pages: ModuleType) -> None:
    """By hand from the records of MNIST."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in pages.tables.headline()][2:]
    of_mnist = {cells[1]: cells for cells in rows if cells[0] == "MNIST"}
    assert list(of_mnist) == ["the paper's, `mnist-mim`", "best baseline, `adversarial-training`"]
    for name, cells in zip(("mim", "adversarial-training"), of_mnist.values(), strict=True):
        records = read_records(SCRIPTS.parent / "results" / f"mnist-{name}.json")
        score = "ratio" if name == "mim" else "confidence"
        areas = [r.value for r in records if (r.metric, r.score, r.budget) == ("auc", score, "blackbox")]
        (won,) = (r for r in records if (r.metric, r.attack, r.score, r.epsilon) == ("sr@5", "worst", score, 0.3))
        assert cells[3].split()[0] == f"{min(areas):.3f}".removeprefix("0")
        assert cells[4].split()[0] == f"{won.value:.3f}".removeprefix("0")
    everything = [r for path in SCRIPTS.parent.glob("results/mnist-*.json") for r in read_records(path)]
    won_there = [r for r in everything if (r.metric, r.attack, r.epsilon) == ("sr@5", "worst", 0.3)]
    best = float(of_mnist["best baseline, `adversarial-training`"][4].split()[0])
    assert min(r.value for r in won_there if r.method in ("gong", "rce", "gat")) > best


def test_a_template_names_only_what_there_is(
    pages: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.md.j2").write_text("{{ no_such_table() }}")
    monkeypatch.setattr(pages, "TEMPLATES", tmp_path)
    with pytest.raises(UndefinedError, match="no_such_table"):
        pages.rendered("a.md")


def test_the_example_of_the_form_is_one(pages: ModuleType, tmp_path: Path) -> None:
    (block,) = re.findall(r"```json\n(.*?)```", pages.rendered("results.md"), re.DOTALL)
    (tmp_path / "a.json").write_text(block, encoding="utf-8")
    (record,) = read_records(tmp_path / "a.json")
    assert (record.attack, record.value, record.budget) == ("worst", 0.24, "standard")
