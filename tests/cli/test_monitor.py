"""`twinlatent monitor`: what it says, its exit status, its figure."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest


def write(ranks: list[int], among: int = 99, model: str = "m", **more: int) -> None:
    more = more or {"equal": 0}
    with Path("log.jsonl").open("a", encoding="utf-8") as file:
        for i, rank in enumerate(ranks, 1):
            row = {"time": f"t{i}", "model": model, "label": "0", "p_value": rank / (among + 1),
                   "adversarial": rank < 6, "fpr": 0.05, "among": among, "pooled": False, "detector": "d"}  # fmt: skip
            file.write(json.dumps(row | more) + "\n")


ROW = (
    '{"model": "m", "label": "0", "p_value": 0.5, "adversarial": false, "among": %d, "pooled": false, "detector": "d"}'
)
BENIGN = [(37 * i) % 100 + 1 for i in range(100)]


def test_a_benign_stream_ends_with_0(ok: Callable) -> None:
    write(BENIGN)
    done = ok("monitor", "log.jsonl", "--plot", "drift.svg")
    assert "like the calibration images" in done.text
    assert Path("drift.svg").read_text(encoding="utf-8").startswith("<?xml")
    (row,) = map(json.loads, ok("monitor", "log.jsonl", "--json").out.splitlines())
    assert (row["model"], row["images"], row["flagged"], row["alarm"]) == ("m", 100, 5, False)


def test_a_changed_stream_ends_with_3(program: Callable) -> None:
    write(BENIGN)
    write([1] * 20)
    write(BENIGN, model="other")
    done = program("monitor", "log.jsonl")
    assert (done.status, done.err) == (3, "")
    assert "drifted: alarm at image 10" in done.text
    assert "since about image 1" in done.text
    rows = {row["model"]: row for row in map(json.loads, program("monitor", "log.jsonl", "--json").out.splitlines())}
    assert {model: row["alarm"] for model, row in rows.items()} == {"m": True, "other": False}
    assert 100 < rows["m"]["alarm_image"] < 115
    assert program("monitor", "log.jsonl", "--threshold", "1e40").status == 0


def test_a_log_that_does_not_count_equal_scores_is_read_and_said(program: Callable) -> None:
    write(BENIGN, other=1)
    done = program("monitor", "log.jsonl", "--json")
    assert "m: 100 rows do not say how many calibration images have the same score" in done.err
    assert json.loads(done.out)["unsaid"] == 100


def test_names_in_a_log_do_not_steer_the_terminal(program: Callable) -> None:
    write(BENIGN, model="a\x1b[31m\n", other=1)
    done = program("monitor", "log.jsonl")
    assert (done.status, "\x1b" in done.out + done.err, done.err.count("\n")) == (0, False, 1)


@pytest.mark.parametrize(
    ("words", "text", "line"),
    [
        ([], None, "log.jsonl cannot be read (No such file or directory)"),
        ([], "", "the log has no verdicts yet"),
        ([], "[]\n", "log.jsonl, row 1, is no verdict"),
        ([], f"{ROW % 10**30}\n", "row 1, is no verdict of twinlatent serve --log (among"),
        (["--threshold", "1"], "", "threshold is 1"),
        (["--plot", "a.gif"], "one", "a.gif: a figure is written as"),
    ],
)
def test_what_goes_wrong_is_said(words: list[str], text: str | None, line: str, program: Callable) -> None:
    if text == "one":
        write([5])
    elif text is not None:
        Path("log.jsonl").write_text(text, encoding="utf-8")
    assert line in program("monitor", "log.jsonl", *words).refusal
