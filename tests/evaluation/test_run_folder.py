"""The results folder survives the disk, always has the same bytes, and says what is wrong with it."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.records import Record
from twinlatent.evaluation.run_folder import EvaluationRun, Examples, ModelCard, read_run, write_run

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


def a_run(k: int = 2) -> EvaluationRun:
    return EvaluationRun(
        records=(RECORD,), model=CARD, benign_suspicion=np.arange(5.0),
        suspicion={"pgd": np.arange(5.0) + 1, "a/b é": np.array([0.0, np.inf])}, examples=examples(k), threshold=2.5,
        log=({"round": 1, "loss_total": 3.0, "accuracy": None},),
    )  # fmt: skip


@pytest.mark.parametrize("k", [0, 1, 3])
def test_a_run_comes_back_as_it_was(tmp_path: Path, k: int) -> None:
    run = a_run(k)
    write_run(tmp_path, run)
    back = read_run(tmp_path)
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


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_run(tmp_path / name, a_run())
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


def edit_arrays(folder: Path, edit: Any) -> None:
    with np.load(folder / "evaluation.npz") as archive:
        arrays = dict(archive)
    edit(arrays)
    np.savez(folder / "evaluation.npz", **arrays)
