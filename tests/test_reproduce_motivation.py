"""Table 1 and Figure 2 again: which cells, that they are kept, and in small on the paper's data."""

import os
from pathlib import Path

import pytest

from twinlatent import reproduce_motivation as module
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.results.records import read_records
from twinlatent.reproduce_motivation import reproduce_motivation


@pytest.mark.slow
def test_figure_2_is_made_once_and_is_part_of_table_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fewer_steps, without_figures
) -> None:
    fewer_steps(monkeypatch, 60)
    without_figures(monkeypatch)
    monkeypatch.setitem(module.CELLS, "table1", ("fgsm", "cw"))  # of four
    options = {"preset": "smoke", "data": ["digits"], "images": 10, "progress": False}
    (shown,) = reproduce_motivation("fig2", tmp_path, **options)
    assert shown.records[0].attack == "cw"
    assert (tmp_path / "digits" / "cw" / "figure2.svg").read_text(encoding="utf-8").startswith("<?xml")
    state = tmp_path / "digits" / "cw" / "vulnerable" / "state.safetensors"
    before = state.stat().st_mtime_ns
    alone = (tmp_path / "fig2.json").read_bytes()
    cells = reproduce_motivation("table1", tmp_path, **options)
    assert [cell.records[0].attack for cell in cells] == ["fgsm", "cw"]
    assert cells[-1].records == shown.records
    assert state.stat().st_mtime_ns == before
    assert (tmp_path / "fig2.json").read_bytes() == alone
    assert read_records(tmp_path / "table1.json") == tuple(r for cell in cells for r in cell.records)
    page = (tmp_path / "table1.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2
    with pytest.raises(TwinlatentError, match="cw holds an experiment with other data, settings or code"):
        reproduce_motivation("fig2", tmp_path, **options | {"images": 50})


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"what": "table2"}, "'table2' is unknown; choose from table1, fig2"),
        ({"what": "table1", "preset": "huge"}, "preset 'huge' is unknown"),
        ({"what": "fig2", "data": ["nosuch"]}, "nosuch"),
    ],
)
def test_what_is_not_there_is_refused(asked: dict, line: str, tmp_path: Path) -> None:
    with pytest.raises(TwinlatentError, match=line):
        reproduce_motivation(folder=tmp_path / "out", progress=False, **{"data": ["digits"]} | asked)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif("TWINLATENT_DATA" not in os.environ, reason="needs the real images")
def test_all_cells_run_on_the_papers_data(tmp_path: Path) -> None:
    cells = reproduce_motivation("table1", tmp_path, preset="smoke", progress=False)
    assert len(cells) == 8
    for cell in cells:
        assert {r.metric for r in cell.records} >= {"test_xb_accuracy", "test_xv_accuracy", "control_noise_accuracy"}
        assert cell.images.shape[1:] == (28, 28)
