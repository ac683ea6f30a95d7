"""`twinlatent new detector` writes a file that is judged as it stands, and writes over none."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from twinlatent.evaluation.results.report import read_run


def test_the_file_says_how_it_is_judged_and_is(ok: Callable) -> None:
    done = ok("new", "detector")
    text = Path("my_detectors.py").read_text(encoding="utf-8")
    (command,) = re.findall(r"^ +(twinlatent evaluate .*)$", text, re.MULTILINE)
    assert done.text.endswith(f"judge it as it stands: {command}")
    words = shlex.split(command)[1:]
    assert words[:5] == ["evaluate", "my_detectors.py:build", "digits", "--suite", "quick"]
    few = ("--steps", 2, "--images", 6, "--subset", 3, "--blackbox-images", 6, "--shift-images", 8, "--no-progress")
    ok(*words, *few)
    run = read_run("evaluation")
    assert {record.method for record in run.records} == {"my_detectors:build"}
    assert run.accuracy.value > 0.95
    assert all(len(line) <= 120 for line in text.splitlines())


def test_it_goes_where_it_is_asked_to_and_over_nothing(program: Callable, ok: Callable) -> None:
    Path("inner").mkdir()
    assert "inner/a.py:build" in ok("new", "detector", "inner/a.py").out
    assert "inner/a.py:build" in Path("inner/a.py").read_text(encoding="utf-8")
    Path("inner/a.py").write_text("mine", encoding="utf-8")
    assert program("new", "detector", "inner/a.py").refusal == "inner/a.py is there already; name another file"
    assert Path("inner/a.py").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("path", "line"), [("a.txt", "give a name that ends in .py"), ("nosuch/a.py", "nosuch/a.py: No such file or dir")]
)
def test_where_none_can_be_written_is_said(path: str, line: str, program: Callable) -> None:
    assert line in program("new", "detector", path).refusal
