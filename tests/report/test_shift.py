"""Mildly changed images on a page."""

from dataclasses import replace

import pytest

import twinlatent as tl
from twinlatent.data import Split
from twinlatent.evaluation.results.report import Report, read_run
from twinlatent.evaluation.shift import CHANGES, Shifted, measure_shift
from twinlatent.report import shift
from twinlatent.report.cells import share
from twinlatent.report.console import print_run
from twinlatent.report.page import page, write_page


@pytest.fixture(scope="module")
def shifted(trained_detector: tl.Detector, digits: Split) -> Shifted:
    return measure_shift(trained_detector, digits, images=30, progress=False)


@pytest.fixture
def run(make_run, shifted: Shifted) -> Report:
    """A run of 200 made-up images, with real changes of 30."""
    made = make_run(k=0)
    score = {"score": "ratio", "trained_with": "mim", "method": "twinlatent"}
    same_seed = tuple(record.model_copy(update={"seed": 7}) for record in shifted.records)
    return replace(shifted.added_to(replace(made, model=made.model.model_copy(update=score))),
                   records=(*made.records, *same_seed))  # fmt: skip


def test_the_page_has_a_row_a_change_and_a_row_a_class(run: Report, read_page) -> None:
    found = read_page(page(run)).tables
    flagged = found[f"Flagged where {share(0.05)} was asked for"]
    assert [row[0].split()[0] for row in flagged] == ["change", "no", *CHANGES]
    assert flagged[0][1:] == ["strength 1", "strength 2", "strength 3", "images"]
    assert flagged[2][0] == "blur 0.5, 0.75, 1: Gaussian of so many pixels σ"
    (blurred,) = (r for r in run.records if (r.metric, r.attack, r.asked, r.n) == ("flagged_shift", "blur 2", 0.05, 30))
    assert flagged[2][2].startswith(f"{100 * blurred.value:.1f} % [")
    by_class = found["Classified correctly, by true class, at strength 1"]
    assert by_class[0] == ["true class", "no change", *CHANGES, "images"]
    assert [row[0] for row in by_class[1:]] == sorted({row[0] for row in by_class[1:]})
    assert sum(int(row[-1]) for row in by_class[1:]) == 30


def test_the_page_says_what_is_wrong_and_shows_an_image(run: Report, read_page) -> None:
    html = page(run)
    assert "A benign image under blur, resampling" in html
    assert "mild-changes" in read_page(html).text
    texts = [text.strip() for text in read_page(html).texts if text.strip()]
    assert texts[texts.index("attacks", texts.index("Where the numbers come from")) + 1] == "blackbox"


def test_a_run_without_changes_has_no_section(make_run) -> None:
    made = make_run(k=0)
    assert (shift.tables(made), shift.pictures(made)) == ([], [])
    assert 'id="shift"' not in page(made)


def test_the_picture_comes_back_from_the_folder(run: Report, tmp_path) -> None:
    run.save(tmp_path)
    found = read_run(tmp_path)
    assert found.shifted is not None
    assert run.shifted is not None
    assert found.shifted.columns.tolist() == list(CHANGES)
    assert (found.shifted.images == run.shifted.images).all()
    assert found.records == run.records
    write_page(tmp_path)


def test_the_console_has_a_line_a_change(run: Report, capsys: pytest.CaptureFixture[str]) -> None:
    print_run(run)
    said = capsys.readouterr().out
    assert "Mild changes of benign images, at strengths 1, 2, 3: flagged where 0.05" in said
    lines = {line.split()[0]: line.split() for line in said.splitlines() if line.strip()}
    assert all(len(lines[change]) == 8 and lines[change][-1] == "30" for change in CHANGES)
