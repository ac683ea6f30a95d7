"""`twinlatent motivation`: a cell of Table 1."""

from collections.abc import Callable
from pathlib import Path

import pytest

from twinlatent import reproduce_motivation
from twinlatent.evaluation.results.records import read_records


@pytest.mark.slow
def test_a_cell_of_table_1_is_printed_and_kept(ok: Callable, program: Callable, monkeypatch, fewer_steps) -> None:
    fewer_steps(monkeypatch, 60)
    cell = ["motivation", "--data", "digits", "--attack", "fgsm", "--preset", "smoke", "--images", 10, "--out", "cell",
            "--no-progress"]  # fmt: skip
    done = ok(*cell)
    assert "Page with pictures: cell/report.html" in done.text
    records = {r.metric: r for r in read_records("cell/results.json")}
    assert records["attack_success"].n == 2 * 10
    assert f"{records['test_xb_accuracy'].value:.3f}" in done.text
    added = round(records["attack_success"].value * 20)
    assert f"{added} added to X_v, {20 - added} did not fool F_p" in done.text
    before = Path("cell/results.json").read_bytes()
    assert ok(*cell).out == done.out
    assert Path("cell/results.json").read_bytes() == before
    assert "cell holds an experiment with other data, settings or code" in program(*cell, "--iterations", "3").refusal


def test_an_interrupted_cell_of_table_1_says_how_to_go_on(program: Callable, monkeypatch) -> None:
    def stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reproduce_motivation, "run_cell", stop)
    done = program("motivation", "--data", "digits", "--preset", "smoke", "--no-progress")
    assert done.status == 130
    assert done.err == "twinlatent: stopped; what is finished is kept; the same command resumes\n"
