"""The paper's tables again: which detectors they need, what is kept, and the whole path on real data."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from twinlatent import reproduce as module
from twinlatent.attacks.budgets import Budget
from twinlatent.cells import CELLS, DATA, Cell
from twinlatent.data import Split, where
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation import whole as evaluation
from twinlatent.evaluation.results.records import Record, read_records
from twinlatent.evaluation.results.report import read_run
from twinlatent.evaluation.settings import EvaluationSettings
from twinlatent.method.detector import Detector
from twinlatent.reproduce import reproduce
from twinlatent.zoo import load as load_detector


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


OPTIONS = {"preset": "smoke", "data": ["digits"], "progress": False}


@contextmanager
def weakened(fewer_steps: Callable, fewer_rounds: Callable, without_figures: Callable) -> Iterator[pytest.MonkeyPatch]:
    """Trainings of few rounds and steps, one attack in the black box, and in the white box few images and steps."""
    with pytest.MonkeyPatch.context() as patched:
        fewer_steps(patched, 3)
        fewer_rounds(patched, 20)
        without_figures(patched)
        patched.setattr(evaluation, "BLACK_BOX", (Budget("fgsm", 0.3),))
        few = {"suite": "quick", "images": 6, "subset": 3, "shift_images": 6, "certified_images": 6, "steps": 1}
        small = module._SETTINGS["smoke"].model_copy(update=few)
        patched.setitem(module._SETTINGS, "smoke", small)
        yield patched


@pytest.fixture
def weak(fewer_steps: Callable, fewer_rounds: Callable, without_figures: Callable) -> Iterator[None]:
    with weakened(fewer_steps, fewer_rounds, without_figures):
        yield


@pytest.mark.slow
def test_an_evaluation_in_the_black_box_is_kept_and_extended(tmp_path: Path, weak: None, monkeypatch) -> None:
    """Two detectors in the black box first, then one of them in the white box too: trained once, evaluated again."""
    ours, gong = Cell("twinlatent", "mim"), Cell("gong", "mim")
    for what, cells in (("table2", (ours,)), ("table3", (ours, gong)), ("fig6", (ours,))):
        monkeypatch.setitem(CELLS, what, cells)
    black_box = reproduce("table3", tmp_path, **OPTIONS)["digits"]
    assert not any(r.metric.startswith("sr@") for run in black_box for r in run.records)
    trained = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("detector.safetensors")}
    assert len(trained) == 2
    (whole,) = reproduce("fig6", tmp_path, **OPTIONS)["digits"]
    assert any(r.metric == "sr_c1c2" for r in whole.records)
    assert {path: path.stat().st_mtime_ns for path in trained} == trained
    (again,) = reproduce("fig6", tmp_path, **OPTIONS)["digits"]
    assert again.records == whole.records
    assert reproduce("table2", tmp_path, images=7, **OPTIONS)["digits"][0].records == whole.records
    with pytest.raises(TwinlatentError, match="twinlatent-mim holds a detector of other images, settings or seed"):
        reproduce("fig6", tmp_path, **OPTIONS | {"preset": "standard"})
    folder = tmp_path / "digits"
    assert read_records(folder / "results.json") == whole.records
    assert read_run(folder / ours.folder / "evaluation").records == whole.records
    assert (folder / "comparison.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    retrained = folder / ours.folder / "detector.safetensors"
    Detector.load(retrained).using(score="joint").save(retrained)
    with pytest.raises(TwinlatentError, match="evaluation that differs in detector; remove "):
        reproduce("table3", tmp_path, **OPTIONS)
    assert read_run(folder / ours.folder / "evaluation").records == whole.records


@pytest.fixture(scope="module")
def finished(tmp_path_factory, fewer_steps, fewer_rounds, without_figures) -> Path:
    """The folder of Table 2's black boxes of one cell, made with weak attacks; to be copied."""
    folder = tmp_path_factory.mktemp("reproduced")
    with weakened(fewer_steps, fewer_rounds, without_figures) as patched:
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
        ({"suite": "quick"}, {"what": "fig6", "images": 7}, "images"),
    ],
)
def test_an_evaluation_of_something_else_is_refused_before_any_work_and_kept(
    finished: Path, tmp_path: Path, weak: None, monkeypatch, written: dict, asked: dict, named: str
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
    finished: Path, tmp_path: Path, weak: None, monkeypatch
) -> None:
    folder = shutil.copytree(finished, tmp_path / "out")
    for what in ("table2", "fig6"):
        monkeypatch.setitem(CELLS, what, (Cell("plain", "none"),))
    asked = folder / "digits" / "plain-none" / "evaluation" / "asked.json"
    before = asked.read_bytes()

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("twinlatent.evaluation.evaluate.evaluate_all", interrupted)
    assert reproduce("table2", folder, **OPTIONS)["digits"][0].records
    with pytest.raises(KeyboardInterrupt):
        reproduce("fig6", folder, **OPTIONS)
    assert asked.read_bytes() == before
    assert reproduce("table2", folder, **OPTIONS)["digits"][0].records


@pytest.mark.slow
def test_processes_that_train_and_attack_find_the_same(digits: Split, tmp_path: Path, monkeypatch) -> None:
    """Two cells, whose trainings go side by side, then the black box by both processes, which know of no patch."""
    cells = Cell("twinlatent", "mim"), Cell("plain", "none")
    usual = EvaluationSettings().for_images(digits, {}).networks["f_p"]
    small = {"substitutes": ("f_p",), "networks": {"f_p": usual.model_copy(update={"steps": 3})}}
    monkeypatch.setitem(module._SETTINGS, "smoke", module._SETTINGS["smoke"].model_copy(update=small))
    monkeypatch.setitem(CELLS, "table2", cells)
    one, two = (reproduce("table2", tmp_path / str(n), workers=n, **OPTIONS)["digits"] for n in (1, 2))
    for alone, together in zip(one, two, strict=True):
        assert [values(record) for record in alone.records] == [values(record) for record in together.records]
    for cell in cells:
        alone, together = (load_detector(tmp_path / n / "digits" / cell.folder).fingerprint for n in "12")
        assert alone == together, "the same weights"
    made = [{path.relative_to(tmp_path / n) for path in (tmp_path / n).rglob("*")} for n in "12"]
    assert made[0] == made[1]
    assert not list(tmp_path.rglob("unfinished"))


def values(record: Record) -> dict[str, object]:
    """All that is measured but the time, and where it comes from: a commit may be made meanwhile."""
    return {name: value for name, value in record if name not in ("seconds", "commit", "date")}


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
