"""The folder of an evaluation that is killed while it removes what it no longer needs."""

from pathlib import Path

import pytest

from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.results import folder as module
from twinlatent.evaluation.results.folder import RECORDS, UNFINISHED, evaluation_folder

BATCHES = [f"fgsm-{number:06d}.npz" for number in (0, 50, 100)]


def evaluated(folder: Path) -> None:
    """An evaluation of three batches, which does what is not kept yet."""
    with evaluation_folder(folder, {"detector": "a"}):
        for name in BATCHES:
            (folder / UNFINISHED / name).write_bytes(b"a")
        (folder / RECORDS).write_text("{}")


def test_one_that_is_killed_while_it_clears_up_does_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(unfinished: Path) -> None:
        (unfinished / BATCHES[0]).unlink()
        raise SystemExit  # as by a signal: nothing more is done

    with monkeypatch.context() as patch:
        patch.setattr(module, "clear", half)
        with pytest.raises(SystemExit):
            evaluated(tmp_path)
    assert (tmp_path / UNFINISHED / BATCHES[1]).exists()
    with pytest.raises(TwinlatentError, match="holds an evaluation already"):
        evaluated(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [RECORDS]


def test_results_of_somebody_else_are_refused_and_his_files_stay(tmp_path: Path) -> None:
    (tmp_path / RECORDS).write_text("{}")
    (tmp_path / UNFINISHED).mkdir()
    (tmp_path / UNFINISHED / "notes.txt").write_text("mine")
    with pytest.raises(TwinlatentError, match="holds an evaluation already"):
        evaluated(tmp_path)
    assert (tmp_path / UNFINISHED / "notes.txt").read_text() == "mine"
