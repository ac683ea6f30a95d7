"""The paper's tables again: which detectors they need, what is kept, and the whole path on real data."""

import json
import os
import shutil
from pathlib import Path

import pytest

from twinlatent.attacks.budgets import Budget
from twinlatent.cells import CELLS, DATA, SHOWN_ON, Cell
from twinlatent.data import where
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation import whole
from twinlatent.evaluation.evaluate import evaluate as evaluation
from twinlatent.evaluation.results.records import read_records
from twinlatent.evaluation.results.report import read_run
from twinlatent.method.detector import Detector
from twinlatent.reproduce import reproduce


def test_every_table_is_part_of_all_of_them() -> None:
    assert {cell for cells in CELLS.values() for cell in cells} == set(CELLS["all"])
    assert len({cell.folder for cell in CELLS["all"]}) == len(CELLS["all"])
    assert {"table2", "table3", "table4", *(f"fig{n}" for n in range(5, 14)), "all"} == set(CELLS)


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"what": "table9"}, "'table9' is unknown; choose from table2, "),
        ({"what": "all", "preset": "paper"}, "preset 'paper' is unknown; choose from smoke, standard"),
        ({"what": "all", "data": ["nosuch"]}, "nosuch"),
        ({"what": "all", "data": ["folder:a/pets", "folder:b/pets"]}, "two data sets are called folder:pets here"),
    ],
)
def test_what_is_not_there_is_refused(asked: dict, line: str, tmp_path: Path) -> None:
    with pytest.raises(TwinlatentError, match=line):
        reproduce(folder=tmp_path / "out", progress=False, **asked)
    assert not (tmp_path / "out").exists()


def test_a_figure_takes_the_data_it_shows_and_stops_at_once_without_them(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TWINLATENT_DATA", str(tmp_path))
    for figure in ("fig11", "fig12"):
        with pytest.raises(TwinlatentError, match="twinlatent data prepare cats-dogs"):
            reproduce(figure, tmp_path / "out", progress=False)
    with pytest.raises(TwinlatentError, match="twinlatent data prepare cats-dogs"):
        reproduce("table2", tmp_path / "out", data=["digits", "cats-dogs"], progress=False)
    assert not (tmp_path / "out").exists()
    assert {name for names in SHOWN_ON.values() for name in names} <= set(DATA)


def test_a_figure_of_two_detectors_is_kept_and_extended(tmp_path: Path) -> None:
    """The black box alone first, then the same detectors from inside too: trained once, evaluated again."""
    options = {"preset": "smoke", "data": ["digits"], "progress": False}
    outside = reproduce("table3", tmp_path, **options)["digits"]
    assert not any(r.metric.startswith("sr@") for run in outside for r in run.records)
    trained = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("detector.safetensors")}
    assert len(trained) == 4
    inside = reproduce("fig6", tmp_path, **options)["digits"]
    assert {run.model.trained_with for run in inside} == {"mim", "cw"}
    assert all(any(r.metric == "sr_c1c2" for r in run.records) for run in inside)
    assert {path: path.stat().st_mtime_ns for path in trained} == trained
    again = reproduce("fig6", tmp_path, **options)["digits"]
    assert [run.records for run in again] == [run.records for run in inside]
    assert reproduce("table2", tmp_path, images=7, **options)["digits"][0].records == inside[0].records
    with pytest.raises(TwinlatentError, match="twinlatent-mim holds a detector of other images, settings or seed"):
        reproduce("fig6", tmp_path, **options | {"preset": "standard"})
    folder = tmp_path / "digits"
    assert read_records(folder / "results.json")[: len(inside[0].records)] == inside[0].records
    assert read_run(folder / Cell("twinlatent", "cw").folder / "evaluation").records == inside[1].records
    assert (folder / "comparison.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    retrained = folder / "twinlatent-mim" / "detector.safetensors"
    Detector.load(retrained).using(score="joint").save(retrained)
    with pytest.raises(TwinlatentError, match="evaluation that differs in detector; remove "):
        reproduce("table3", tmp_path, **options)
    assert read_run(folder / "twinlatent-mim" / "evaluation").records == inside[0].records


OPTIONS = {"preset": "smoke", "data": ["digits"], "progress": False}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, fewer_steps) -> Path:
    """The folder of Table 2's black boxes of one cell, made with weak attacks; to be copied."""
    folder = tmp_path_factory.mktemp("reproduced")
    with pytest.MonkeyPatch.context() as patched:
        fewer_steps(patched, 3)
        patched.setattr(whole, "BLACK_BOX", (Budget("fgsm", 0.3),))
        patched.setitem(CELLS, "table2", (Cell("plain", "none"),))
        reproduce("table2", folder, **OPTIONS)
    return folder


@pytest.mark.parametrize(
    ("written", "asked", "named"),
    [
        ({"code": {"code": "other"}}, {}, "code"),
        ({"code": None}, {}, "code"),
        ({"detector": "other"}, {}, "detector"),
        ({"data": "other", "epsilon": 0.2}, {}, "epsilon, data"),
        ({"code": None}, {"what": "fig6"}, "code"),
        ({"suite": "standard"}, {"what": "fig6", "images": 7}, "images"),
    ],
)
def test_an_evaluation_of_something_else_is_refused_before_any_work_and_kept(
    finished: Path, tmp_path: Path, monkeypatch, written: dict, asked: dict, named: str
) -> None:
    """`None` leaves the entry out, as an earlier version did."""
    folder = shutil.copytree(finished, tmp_path / "out")
    cell = folder / "digits" / "plain-none" / "evaluation"
    kept = json.loads((cell / "asked.json").read_text(encoding="utf-8")) | written
    kept = {name: value for name, value in kept.items() if name != "code" or value}
    (cell / "asked.json").write_text(json.dumps(kept), encoding="utf-8")
    what = asked.get("what", "table2")
    monkeypatch.setitem(CELLS, what, (Cell("gong", "mim"), Cell("plain", "none")))  # the first is not trained yet
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    line = rf"plain-none/evaluation holds an evaluation that differs in {named}; remove .*evaluation or give another"
    with pytest.raises(TwinlatentError, match=line):
        reproduce(folder=folder, **OPTIONS, **{"what": "table2"} | asked)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_what_is_asked_again_is_read_and_what_was_asked_stays_until_more_is_written(
    finished: Path, tmp_path: Path, monkeypatch
) -> None:
    folder = shutil.copytree(finished, tmp_path / "out")
    for what in ("table2", "fig6"):
        monkeypatch.setitem(CELLS, what, (Cell("plain", "none"),))
    asked = folder / "digits" / "plain-none" / "evaluation" / "asked.json"
    before = asked.read_bytes()

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation, "evaluate_all", interrupted)
    assert reproduce("table2", folder, **OPTIONS)["digits"][0].records
    with pytest.raises(KeyboardInterrupt):
        reproduce("fig6", folder, **OPTIONS)
    assert asked.read_bytes() == before
    assert reproduce("table2", folder, **OPTIONS)["digits"][0].records


@pytest.mark.slow
@pytest.mark.skipif("TWINLATENT_DATA" not in os.environ, reason="needs the real images")
def test_everything_runs_on_the_papers_data(tmp_path: Path) -> None:
    assert all(where(name) for name in DATA)
    found = reproduce("all", tmp_path, preset="smoke", progress=False)
    assert set(found) == set(DATA)
    for runs in found.values():
        assert len(runs) == len(CELLS["all"])
        for run in runs:
            assert {"sr@5", "sr_c1c2", "sr_c1c2c3", "auc", "accuracy"} <= {r.metric for r in run.records}
            assert len(run.checks) == 12
