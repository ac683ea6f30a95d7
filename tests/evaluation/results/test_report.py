"""The results folder survives the disk, always has the same bytes, and says what is wrong with it."""

import json
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.results import folder as folder_module
from twinlatent.evaluation.results.folder import UNFINISHED, WHOSE, evaluation_folder
from twinlatent.evaluation.results.parts import Check, Examples, JudgeCase, JudgedAttack, JudgeReport, ModelCard
from twinlatent.evaluation.results.pictures import LatentPoints, PairGrid
from twinlatent.evaluation.results.records import Record
from twinlatent.evaluation.results.report import Report, read_run, write_run

CARD = ModelCard(title="A detector", data="digits", class_names=("zero", "one"), training_images=100,
                 calibration_images=20, test_images=30, method="twinlatent", trained_with="mim",
                 network="c(4,16) z(8,8)", decoder="d(64)", parameters=12, score="vulnerable",
                 label_rule="nearest class mean", fpr=0.05, seconds=1.5,
                 settings={"attack": {"steps": 12}})  # fmt: skip
RECORD = Record(data="digits", method="twinlatent", trained_with="mim", attack="pgd", epsilon=0.3, score="vulnerable",
                metric="auc", value=0.9, n=30, low=0.8, high=0.95, seed=0, command="twinlatent", commit="unknown",
                seconds=1.0, versions={}, machine="unknown", date="2025-01-31", budget="blackbox")  # fmt: skip


def examples(k: int) -> Examples:
    images = np.linspace(0, 1, k * 16, dtype=np.float32).reshape(k, 4, 4)
    text, flags, p_values = np.array(["one"] * k, dtype="<U8"), np.zeros(k, dtype=bool), np.full(k, 0.5)
    return Examples(images, 1 - images, text, text, text, text, flags, ~flags, p_values, p_values / 10)


def a_run(k: int = 2) -> Report:
    return Report(
        records=(RECORD,), model=CARD, benign_suspicion=np.arange(5.0),
        suspicion={"pgd": np.arange(5.0) + 1, "a/b é": np.array([0.0, np.inf])}, examples=examples(k), threshold=2.5,
        log=({"round": 1, "loss_total": 3.0, "accuracy": None},),
    )  # fmt: skip


CHECKS = (Check(name="gradients", status="pass", finding="0 of 10."), Check(name="γ", status="fail", finding="<é>"))
CASE = JudgeCase(judge="agreement", cases="benign", value=0.9, n=10, low=0.6, high=1.0)
SEEN = JudgedAttack(attack="cw_w", epsilon=None, goal="c1c2", shows_true=3, shows_predicted=1, neither=0, disagree=2)
JUDGES = JudgeReport(cases=(CASE,), attacks=(SEEN,))
ADDED = {"checks": "checks.json", "judges": "judges.json", "grid": "pictures.npz", "latents": "pictures.npz"}


def a_grid(k: int = 2) -> PairGrid:
    images, names = np.linspace(0, 1, k * 16, dtype=np.float32).reshape(k, 4, 4), np.array(["one"] * k)
    return PairGrid(0.05, images, names, names, np.zeros(k, dtype=bool), np.array(["mim_w 0.2"]), 1 - images[None],
                    names[None], np.ones((1, k), dtype=bool))  # fmt: skip


def a_full_run() -> Report:
    points = LatentPoints(np.zeros((2, 3)), np.ones((2, 4)), np.array([False, True]), "one")
    return replace(a_run(), checks=CHECKS, judges=JUDGES, grid=a_grid(), latents=points)


@pytest.mark.parametrize("k", [0, 1, 3])
def test_a_run_comes_back_as_it_was(tmp_path: Path, k: int) -> None:
    run = replace(a_run(k), **({"detector": "0123abcd", "settings": {"images": k, "radii": [0.5, 1]}} if k else {}))
    write_run(tmp_path, run)
    back = read_run(tmp_path)
    assert (back.detector, back.settings) == (run.detector, run.settings)
    assert (back.records, back.model, back.threshold, back.log) == (run.records, run.model, run.threshold, run.log)
    assert list(back.suspicion) == list(run.suspicion)
    for attack in run.suspicion:
        np.testing.assert_array_equal(back.suspicion[attack], run.suspicion[attack])
    for field in fields(Examples):
        np.testing.assert_array_equal(getattr(back.examples, field.name), getattr(run.examples, field.name))


def test_threshold_and_log_may_be_absent(tmp_path: Path) -> None:
    write_run(tmp_path, a_run())
    write_run(tmp_path, replace(a_run(), threshold=None, log=()))
    assert not (tmp_path / "training-log.jsonl").exists()
    assert (read_run(tmp_path).threshold, read_run(tmp_path).log) == (None, ())


def test_what_was_never_attacked_with_the_detector_known_is_said() -> None:
    without = replace(a_run(), records=(RECORD,))
    with pytest.raises(
        TwinlatentError, match="SR@5 % was not measured, since no white box was run; evaluate with suite"
    ):
        without.sr()


def test_unfinished_work_is_told_from_no_results(tmp_path: Path) -> None:
    with suppress(KeyboardInterrupt), evaluation_folder(tmp_path, {}):
        (tmp_path / UNFINISHED / "judge.safetensors").write_bytes(b"kept")
        raise KeyboardInterrupt
    with pytest.raises(TwinlatentError, match="unfinished evaluation; the same `evaluate` command resumes it"):
        read_run(tmp_path)


def absent(field: str) -> Any:
    return () if field == "checks" else None


@pytest.mark.parametrize("kept", [(), *[(field,) for field in ADDED], tuple(ADDED)], ids="-".join)
def test_checks_judges_and_pictures_come_back_where_there_are_any(tmp_path: Path, kept: tuple[str, ...]) -> None:
    run = replace(a_full_run(), **{field: absent(field) for field in ADDED if field not in kept})
    write_run(tmp_path, run)
    assert {path.name for path in tmp_path.iterdir()} & set(ADDED.values()) == {ADDED[field] for field in kept}
    back = read_run(tmp_path)
    assert (back.checks, back.judges) == (run.checks, run.judges)
    for was, now in ((run.grid, back.grid), (run.latents, back.latents)):
        assert (was is None) == (now is None)
        for field in fields(was) if was is not None else ():
            np.testing.assert_array_equal(getattr(was, field.name), getattr(now, field.name))


def test_a_later_run_without_them_leaves_nothing_of_an_earlier_one(tmp_path: Path) -> None:
    write_run(tmp_path, a_full_run())
    write_run(tmp_path, a_run())
    assert not {path.name for path in tmp_path.iterdir()} & set(ADDED.values())
    back = read_run(tmp_path)
    assert (back.checks, back.judges, back.grid, back.latents) == ((), None, None, None)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("checks.json", "{}", "expected a JSON list of checks, found dict"),
        ("checks.json", '[{"name": "a", "status": "odd", "finding": ""}]', "check 0: field 'status'"),
        ("checks.json", "[", "not JSON"),
        ("judges.json", '{"cases": [], "attacks": [{"attack": "a"}]}', "field 'attacks.0.epsilon'"),
        ("judges.json", '{"cases": [], "attacks": [], "more": 1}', "field 'more'"),
        ("pictures.npz", "hello", r"not an \.npz of plain arrays"),
    ],
)
def test_a_bad_file_of_findings_is_named(tmp_path: Path, name: str, content: str, line: str) -> None:
    write_run(tmp_path, a_full_run())
    (tmp_path / name).write_text(content)
    with pytest.raises(TwinlatentError, match=line) as caught:
        read_run(tmp_path)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("array", "values", "line"),
    [
        ("grid_fpr", np.array(2.0), "grid_fpr is 2.0"),
        ("latents_robust", None, "'latents_robust' is missing"),
    ],
)
def test_a_bad_picture_is_named(tmp_path: Path, array: str, values: Any, line: str) -> None:
    def edit(arrays: dict[str, Any]) -> None:
        arrays.pop(array)
        arrays.update({} if values is None else {array: values})

    write_run(tmp_path, a_full_run())
    edit_arrays(tmp_path, edit, "pictures.npz")
    with pytest.raises(TwinlatentError, match=rf"pictures\.npz: .*{line}"):
        read_run(tmp_path)


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_run(tmp_path / name, a_full_run())
    assert len(list((tmp_path / "one").iterdir())) == 7
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


@pytest.mark.parametrize("name", ["attacks", "benign_suspicion", "suspicion_pgd", "example_benign", "example_true"])
def test_a_missing_array_is_named(tmp_path: Path, name: str) -> None:
    write_run(tmp_path, a_run())
    edit_arrays(tmp_path, lambda arrays: arrays.pop(name))
    with pytest.raises(TwinlatentError, match=rf"evaluation\.npz: the array '{name}' is missing"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("attacks", np.array([], dtype="<U3"), "at least one attack"),
        ("benign_suspicion", np.array([1.0, np.nan]), "benign_suspicion is empty or holds NaN"),
        ("suspicion_pgd", np.array([]), "suspicion_pgd is empty or holds NaN"),
        ("suspicion_pgd", np.zeros((2, 2)), r"suspicion_pgd has shape \(2, 2\)"),
        ("example_benign", np.full((2, 4, 4), 2.0), "outside"),
        ("example_adversarial", np.zeros((2, 4, 5)), r"not \(2, 4, 4\)"),
        ("example_true", np.array([1, 2]), "holds int64: it needs text"),
        ("example_attack", np.array(["pgd"]), "has 1 rows"),
        ("example_benign_p", np.array([0.1, np.nan]), "outside"),
    ],
)
def test_a_wrong_array_is_named(tmp_path: Path, name: str, values: Any, message: str) -> None:
    write_run(tmp_path, a_run())
    edit_arrays(tmp_path, lambda arrays: arrays.update({name: values}))
    with pytest.raises(TwinlatentError, match=message) as caught:
        read_run(tmp_path)
    assert "evaluation.npz" in str(caught.value)


def test_pickled_arrays_and_other_files_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path, a_run())
    edit_arrays(tmp_path, lambda arrays: arrays.update(attacks=np.array([object()])))
    with pytest.raises(TwinlatentError, match=r"not an \.npz of plain arrays"):
        read_run(tmp_path)
    for junk in (b"", b"hello", (tmp_path / "model.json").read_bytes()):
        (tmp_path / "evaluation.npz").write_bytes(junk)
        with pytest.raises(TwinlatentError, match=r"not an \.npz of plain arrays"):
            read_run(tmp_path)


@pytest.mark.parametrize("name", ["results.json", "model.json", "evaluation.npz"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    write_run(tmp_path, a_run())
    (tmp_path / name).unlink()
    with pytest.raises(TwinlatentError, match=f"{name}: [Nn]o such file"):
        read_run(tmp_path)


def test_a_bad_model_card_or_log_is_named(tmp_path: Path) -> None:
    write_run(tmp_path, a_run())
    (tmp_path / "training-log.jsonl").write_text('{"round": 1}\nhello\n')
    with pytest.raises(TwinlatentError, match=r"log\.jsonl: line 2 is not JSON"):
        read_run(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({**CARD.model_dump(), "fpr": 5}))
    with pytest.raises(TwinlatentError, match=r"model\.json: field 'fpr'"):
        read_run(tmp_path)


def edit_arrays(folder: Path, edit: Any, name: str = "evaluation.npz") -> None:
    with np.load(folder / name) as archive:
        arrays = dict(archive)
    edit(arrays)
    np.savez(folder / name, **arrays)


@pytest.mark.parametrize("kept", ["settings", "code", "damaged"])
def test_unfinished_work_that_does_not_fit_is_begun_anew_when_told_so(kept: str, tmp_path: Path, monkeypatch) -> None:
    folder, batch = tmp_path / "run", tmp_path / "run" / UNFINISHED / "pgd-000000.npz"
    for overwrite in (False, True):
        with suppress(KeyboardInterrupt), evaluation_folder(folder, {"asked": 1}, overwrite=overwrite):
            assert batch.exists() == overwrite, "what fits is resumed"
            batch.write_text("x")
            raise KeyboardInterrupt
    if kept == "code":
        monkeypatch.setattr(folder_module, "code_identity", lambda: {"code": "0" * 64})
    elif kept == "damaged":
        (batch.parent / WHOSE).write_text("{")
    asked = {"asked": 2 if kept == "settings" else 1}
    named = {"settings": "asked", "code": "code", "damaged": r"asked, code, numpy and \d more"}[kept]
    with pytest.raises(TwinlatentError, match=rf"another evaluation \(other {named}.*--force"), \
            evaluation_folder(folder, asked):  # fmt: skip
        raise AssertionError("not its work")
    assert batch.exists()
    with evaluation_folder(folder, asked, overwrite=True):
        assert not batch.exists()
