"""Whatever goes wrong, and wherever the output goes: one line, no traceback, and the same files."""

import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

import twinlatent as tl
from twinlatent import cli
from twinlatent.report import console

SHORT = ["--suite", "none", "--blackbox-images", "2", "--shift-images", "0", "--substitute", "f_p", "--no-progress"]


def raising(error: BaseException) -> Callable:
    def load(*_: object, **__: object) -> None:
        raise error

    return load


def test_an_error_that_is_not_ours_is_one_line(program: Callable, monkeypatch) -> None:
    monkeypatch.setattr(tl.data, "load", raising(RuntimeError("it broke\nin two places")))
    said = program("train", "digits", "--out", "x").refusal
    assert said == "RuntimeError: it broke in two places; run again with --debug for the traceback"


@pytest.mark.parametrize("words", ["--debug train nosuch --out x", "train nosuch --out x --debug"])
def test_debug_shows_the_traceback_and_the_line(words: str, program: Callable) -> None:
    done = program(*words.split())
    assert done.status == 1
    assert done.err.startswith("Traceback (most recent call last)")
    assert done.err.splitlines()[-1].startswith("twinlatent: no data set is called 'nosuch'")


def test_debug_can_be_asked_for_in_the_environment(program: Callable, monkeypatch) -> None:
    for value, shown in (("1", True), ("0", False), ("", False)):
        monkeypatch.setenv("TWINLATENT_DEBUG", value)
        assert ("Traceback" in program("train", "nosuch", "--out", "x").err) == shown


def test_ctrl_c_anywhere_is_a_line_and_130(program: Callable, monkeypatch) -> None:
    monkeypatch.setattr(tl.data, "load", raising(KeyboardInterrupt()))
    for words in (["train", "digits", "--out", "x"], ["data", "show", "digits"]):
        done = program(*words)
        assert (done.status, done.out, done.err) == (130, "", "twinlatent: stopped\n")


def test_an_output_that_is_not_utf8_gets_everything(trained: Path, monkeypatch) -> None:
    bytes_ = io.BytesIO()
    for words in (["zoo", "show", "mnist-mim"], ["attack", str(trained), "--suite", "quick", "--steps", "1", "--images",
                  "2", "--no-progress"], ["evaluate", str(trained), *SHORT]):  # fmt: skip
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(bytes_, encoding="cp1252", errors="strict"))
        monkeypatch.setattr(sys, "argv", ["twinlatent", *words])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert stopped.value.code == 0
        sys.stdout.detach()
    assert b"report.html" in bytes_.getvalue()
    assert Path("evaluation/report.html").exists()


def test_without_any_output_the_work_is_done(training: list[str], monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    words = [word for word in training if word != "--no-progress"]
    monkeypatch.setattr(sys, "argv", ["twinlatent", *words, "--set", "rounds=2", "--out", "run"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 0
    assert "detector.safetensors" in os.listdir("run")
    for stream in (sys.stdout, sys.stderr):
        stream.close()


def test_the_page_is_written_before_anything_is_printed(trained: Path, program: Callable, monkeypatch) -> None:
    monkeypatch.setattr(console, "print_run", raising(BrokenPipeError()))
    program("evaluate", trained, *SHORT)
    assert Path("evaluation/report.html").exists()


def test_a_table_that_goes_to_a_file_is_not_cut(ok: Callable, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    rows = [line for line in ok("data", "list").out.splitlines() if "fashion-mnist5" in line]
    assert len(rows) == 1
    assert "coats, trousers, sandals, sneakers and bags of Fashion-MNIST, 35,000 images" in rows[0]
    assert rows[0] == rows[0].rstrip()


def test_a_disk_that_takes_no_more_leaves_the_state_before(training: list[str], read_log: Callable, program: Callable):
    resource = pytest.importorskip("resource")
    words = [*training, "--set", "checkpoint_every=1", "--set", "rounds=3", "--out", "run"]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        refused = program(*words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert refused.status == 1
    assert refused.err.strip().endswith(
        "run/state.safetensors could not be written in round 1 (File too large); make room"
    )
    assert os.listdir("run") == ["log.jsonl"]
    assert program(*words).status == 0, "nothing stands in the way of the same command"


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names of files are text there")
def test_names_of_files_that_are_no_text_do_no_harm(trained: Path, images: Tensor, ok: Callable) -> None:
    place = Path(os.fsdecode(b"caf\xe9"))
    shutil.copytree(trained, place)
    name = os.fsdecode(b"x\xe9\n.npy")
    np.save(place / name, images[:1].numpy())
    assert json.loads(ok("detect", place, place / name, "--json").out)["image"] == r"caf\udce9/x\udce9\n.npy[0]"
    assert r"caf\udce9/x\udce9\n.npy[0]" in ok("detect", place, place / name).out
    ok("evaluate", place, *SHORT, "--out", place / "e")
    assert (place / "e" / "report.html").exists()
