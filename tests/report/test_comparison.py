"""The page of several runs keeps them apart, beside the paper's numbers, and stands alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.results.report import Report
from twinlatent.report.comparison import comparison, write_comparison

NASTY = '<b>&"$x</b>'


@pytest.fixture(scope="module")
def runs(make_full_run: Callable[..., Report], make_run: Callable[..., Report]) -> list[Report]:
    """Ours twice, a baseline, and no defence without a white box."""
    ours, again, gong = make_full_run(), make_full_run(trained_with="cw"), make_full_run(method="gong")
    stronger = tuple(r.model_copy(update={"value": 0.75, "low": 0.7, "high": 0.8})
                     if (r.metric, r.attack) == ("sr@5", "worst") else r for r in gong.records)  # fmt: skip
    plain, about = make_run(), {"data": "mnist", "method": "plain", "trained_with": "none"}
    return [ours, again, replace(gong, records=stronger),
            replace(plain, model=plain.model.model_copy(update=about),
                    records=tuple(r.model_copy(update=about) for r in plain.records))]  # fmt: skip


@pytest.fixture(scope="module")
def html(runs: list[Report]) -> str:
    return comparison(runs)


@pytest.fixture(scope="module")
def tables(html: str, read_page: Any) -> dict[str, list[list[str]]]:
    found: dict[str, list[list[str]]] = read_page(html).tables
    return found


def test_the_page_stands_alone(html: str, read_page: Any) -> None:
    reader = read_page(html)
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in reader.tags}
    links = [value for _, tag in reader.tags for name, value in tag.items() if name in ("src", "href", "xlink:href")]
    assert all(str(link).startswith(("data:", "#")) for link in links)
    assert [tag["id"] for tag in reader.all("h2")] == [
        "overview", "blackbox", "radii", "conditions", "pictures", "runs", "provenance"
    ]  # fmt: skip
    assert len(reader.all("svg")) == 4


def test_every_detector_is_at_a_glance_beside_the_paper(tables: dict[str, list[list[str]]]) -> None:
    rows = tables["Benign images, black box and white box"]
    assert [row[0] for row in rows[1:]] == [
        "twinlatent, MIM",
        "twinlatent, CW-L2",
        "Gong et al. 2017, MIM",
        "no defence",
    ]
    assert [row[2] for row in rows[1:]] == ["97 %", "98 %", "–", "99 %"]
    assert [row[5][:6] for row in rows[1:]] == ["60.0 %", "60.0 %", "75.0 %", "–"]
    assert [row[6] for row in rows[1:]] == ["0.3", "0.3", "0.3", "–"]
    assert rows[1][-1] == "1 pass, 1 warn, 1 fail"
    assert rows[4][-1] == "–"


def test_areas_are_of_all_images_beside_the_papers(tables: dict[str, list[list[str]]]) -> None:
    head, pgd, _ = tables["AUC of the score of each method's own paper"]
    assert head[2:5] == ["twinlatent, MIM vulnerable", "paper", "twinlatent, CW-L2 vulnerable"]
    assert (pgd[0], pgd[3], pgd[5]) == ("PGD", "0.99", "0.99")
    assert {cell[-5:] for cell in pgd if "n " in cell} == {"n 200"}


def test_radii_and_conditions_have_a_column_a_detector(tables: dict[str, list[list[str]]]) -> None:
    worst = tables["Worst of all attacks at a false-positive rate of 5 %"]
    assert worst[0] == ["ε", "twinlatent, MIM", "twinlatent, CW-L2", "Gong et al. 2017, MIM"]
    assert [cell[:6] for cell in worst[1]] == ["0.1", "20.0 %", "20.0 %", "75.0 %"]
    member = tables["MIM_W: misclassified, C1 and C2"]
    assert [row[0] for row in member[1:]] == ["benign images", "0.1", "0.2", "0.3"]
    assert member[1][1].startswith("29.0 %")
    change = tables["CW-L2_W: the smallest change"]
    assert [(row[2], row[7]) for row in change[1:]] == [("32 %", "45.08"), ("28 %", "48.25"), ("–", "–")]


def test_what_is_proved_stands_beside_the_detectors_of_which_it_is_known(
    runs: list[Report], make_proved: Callable[..., Report], read_page: Any
) -> None:
    ours, again, gong, plain = runs
    reader = read_page(comparison([make_proved(ours), make_proved(again, (1.0, 1.0, 1.0), beyond=1.0), gong, plain]))
    proved = reader.tables["Proved of any attack at a false-positive rate of 5 %, at most"]
    assert proved[0] == ["ε", "twinlatent, MIM", "twinlatent, CW-L2"]
    assert [[cell[:6] for cell in row] for row in proved[1:]] == [
        ["0.1", "40.0 %", "100.0 "], ["0.2", "60.0 %", "100.0 "], ["0.3", "80.0 %", "100.0 "]
    ]  # fmt: skip
    glance = reader.tables["Benign images, black box and white box"]
    column = glance[0].index("proved at most")
    assert [row[column][:6] for row in glance[1:]] == ["75.0 %", "–", "–", "–"]
    assert "Thin dashed" in reader.text
    assert "Thin dashed" not in read_page(comparison(runs)).text


def test_another_score_than_the_papers_has_a_table_of_its_own(runs: list[Report], read_page: Any) -> None:
    ours = runs[0]
    areas = tuple(r.model_copy(update={"score": "ratio", "value": 0.97}) for r in ours.records if r.metric == "auc")
    run = replace(ours, model=ours.model.model_copy(update={"score": "ratio"}), records=(*ours.records, *areas))
    found = read_page(comparison([run])).tables
    paper, own = (found[f"AUC of the score {which}"][1]
                  for which in ("of each method's own paper", "by which each detector flags"))  # fmt: skip
    assert (paper[2][:5], paper[3]) == ("0.985", "0.99")
    assert own[2][:5] == "0.970"


def test_twins_are_numbered(runs: list[Report], read_page: Any) -> None:
    rows = read_page(comparison([runs[0]] * 3)).tables["The detectors"]
    assert [row[0] for row in rows[1:]] == ["twinlatent, MIM", "twinlatent, MIM (2)", "twinlatent, MIM (3)"]


def test_grids_of_other_images_are_said_to_be_so(runs: list[Report], read_page: Any) -> None:
    assert runs[1].grid
    other = replace(runs[1], grid=replace(runs[1].grid, benign=1 - runs[1].grid.benign))
    reader = read_page(comparison([runs[0], other]))
    assert "No pictures are shown: the grid of 'twinlatent, CW-L2' begins with other benign images" in reader.text
    assert len(reader.all("svg")) == 3


def test_one_run_and_runs_without_a_white_box_can_be_shown(runs: list[Report], read_page: Any) -> None:
    headings = {tag["id"] for tag in read_page(comparison(runs[3:])).all("h2")}
    assert headings == {"overview", "blackbox", "runs", "provenance"}


def test_all_text_is_escaped(runs: list[Report], read_page: Any) -> None:
    nasty = []
    for number, run in enumerate(runs[:2]):
        assert run.grid
        free = dict.fromkeys(("title", "data", "network", "method", "score", "label_rule"), NASTY)
        records = tuple(r.model_copy(update={"budget": NASTY, "command": NASTY, "attack": NASTY}) for r in run.records)
        grid = replace(run.grid, true=np.array([NASTY] * 3), columns=np.array([NASTY, "cw_w"]))
        model = run.model.model_copy(update={**free, "trained_with": f"{NASTY}{number}"})
        nasty.append(replace(run, model=model, records=records, grid=grid))
    html = comparison(nasty)
    assert NASTY not in html
    assert "<b>&amp;" not in html
    assert read_page(html).text.count(NASTY) > 10


def test_the_same_runs_give_the_same_bytes(runs: list[Report], tmp_path: Path) -> None:
    one, two = (write_comparison(runs[:2], tmp_path / name / "comparison.html") for name in ("one", "two"))
    assert one == tmp_path / "one" / "comparison.html"
    assert one.read_bytes() == two.read_bytes()


def test_what_cannot_be_compared_is_one_clear_line(runs: list[Report], tmp_path: Path) -> None:
    other = replace(runs[1], model=runs[1].model.model_copy(update={"data": "digits"}))
    for given, line in (([], "there are no runs to compare"), ([runs[0], other], "runs of mnist, digits cannot be")):
        with pytest.raises(TwinlatentError, match=line):
            write_comparison(given, tmp_path / "comparison.html")
    assert not list(tmp_path.iterdir())
