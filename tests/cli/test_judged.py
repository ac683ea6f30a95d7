"""`evaluate` and `attack` take an object of the user's own code; whatever is wrong with it ends in one line."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from twinlatent.cli.judged import is_own
from twinlatent.evaluation.results.report import read_run
from twinlatent.running import cores

EXAMPLE = '''
"""A detector of 25 lines: suspicious is what the network prefers hardly to its second choice."""

import torch
from torch import nn

import twinlatent as tl


def margin(network):
    def suspicion(images):
        best = network(images).topk(2, dim=1).values
        return best[:, 1] - best[:, 0]

    return suspicion


def build():
    torch.manual_seed(0)
    network, train = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), tl.data.load("digits", progress=False).train
    optimiser = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(train.images), train.labels).backward()
        optimiser.step()
    return network, margin(network)
'''
FAULTS = """
import torch
import twinlatent as tl
from build import build


def ours():
    return tl.load("run")


def names():
    network, suspicion = build()
    return lambda images: (network(images), suspicion(images))


def noisy():
    network, suspicion = build()
    return network, lambda images: suspicion(images) + torch.rand(len(images))


def closure():
    network, suspicion = build()
    return lambda images: tl.Outputs(network(images), suspicion(images))


def nothing():
    build()


class Broken:
    def __init__(self):
        raise RuntimeError("no weights here")
"""
FEW = ("--steps", 2, "--images", 6, "--subset", 3, "--blackbox-images", 6, "--suite", "quick", "--no-progress",
       "--substitute", "f_p", "--shift-images", 8)  # fmt: skip


@pytest.fixture(autouse=True)
def files(trained: Path) -> None:
    Path("build.py").write_text(EXAMPLE.lstrip(), encoding="utf-8")
    Path("faults.py").write_text(FAULTS, encoding="utf-8")
    Path("run").symlink_to(trained)


def test_the_example_is_short() -> None:
    assert len(EXAMPLE.strip().splitlines()) == 25


def test_a_detector_of_25_lines_is_judged_by_one_command(ok: Callable) -> None:
    done = ok("evaluate", "build.py:build", "--data", "digits", *FEW, "--epsilon", 0.2)
    run = read_run("evaluation")
    assert {record.method for record in run.records} == {"build:build"} == {run.model.method}
    assert run.accuracy.value > 0.9
    assert run.sr().n == 6
    assert all(f"  {check.name}: " in done.out for check in run.checks)
    assert Path("evaluation/report.html").exists()
    again = ok("evaluate", "build:build", "digits", *FEW, "--epsilon", 0.2, "--out", "again", "--name", "margin")
    assert "margin" in again.out
    assert [r.value for r in read_run("again").records] == [r.value for r in run.records]


def test_it_is_attacked_by_one_command_and_its_images_are_kept(ok: Callable) -> None:
    words = ("--suite", "quick", "--steps", 2, "--images", 5, "--no-progress", "--records", "records.json")
    ok("attack", "build.py:build", "--data", "digits", *words)
    with np.load("adversarial.npz") as saved:
        assert len(saved["labels"]) == 5
    assert "build:build" in Path("records.json").read_text(encoding="utf-8")
    assert json.loads(Path("records.json").read_text(encoding="utf-8"))


def test_a_closure_is_judged_by_the_command_as_it_stands(program: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be sent to workers, of which there are several where the number of images is not said."""
    monkeypatch.setattr(cores, "physical_cores", lambda: 2)
    words = ("digits", "--suite", "none", "--blackbox-images", 6, "--substitute", "f_p", "--shift-images", 0)
    done = program("evaluate", "faults.py:closure", *words, "--no-progress")
    assert done.status == 0
    assert done.err.count("One process does all of it") == 1


def test_a_detector_of_ours_may_come_from_code_too(ok: Callable) -> None:
    words = ("digits", "--suite", "none", "--blackbox-images", 6, "--substitute", "f_p", "--shift-images", 0,
             "--no-progress")  # fmt: skip
    ok("evaluate", "faults.py:ours", *words, "--out", "a")
    ok("evaluate", "run", *words, "--out", "b")
    assert [r.value for r in read_run("a").records] == [r.value for r in read_run("b").records]


def test_what_looks_wrong_and_need_not_be_is_a_line_beside_the_answer(program: Callable) -> None:
    words = ("digits", "--suite", "none", "--blackbox-images", 6, "--substitute", "f_p", "--shift-images", 0,
             "--no-progress")  # fmt: skip
    done = program("evaluate", "faults.py:noisy", *words)
    assert done.status == 0
    assert done.err.startswith("faults:noisy: it answers the same images differently each time")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("command", ["evaluate", "attack"])
@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("build.py:build", "say on which images to judge build.py:build: --data NAME, or --data folder:PATH"),
        ("faults.py:nothing digits", "faults.py:nothing returns None; is its return missing?"),
        ("gone.onnx", "gone.onnx is not there; name a file, and with --rejecting if it is a classifier's"),
        ("build.py:", "build.py names no object; say which of the file: build.py:build"),
        ("build.py", "build.py names no object; say which of the file: build.py:build"),
        ("build.py:biuld digits", "build.py has no biuld; did you mean build?"),
        ("nosuch.py:build digits", "there is no file nosuch.py"),
        ("nosuch:build digits", "there is no module nosuch"),
        ("build.py:build digit", "did you mean digits"),
        ("build.py:build digits --data mnist", "the data are digits and --data mnist; name one"),
        ("build.py:build digits --score ratio", "--score ratio: build.py:build has one of its own; leave --score out"),
        ("build.py:build digits --label-rule nearest", "--label-rule nearest: build.py:build has one of its own"),
        ("build.py:build digits --thresholds together", "--thresholds together: build.py:build has one of its own"),
        ("faults.py:names digits", "faults:names: it answers images with a tuple of 2"),
        ("faults.py:Broken digits", "faults.py:Broken fails in line 32 of faults.py: RuntimeError: no weights here"),
    ],
)
def test_what_is_wrong_ends_in_one_line_and_leaves_nothing(command: str, words: str, line: str, program) -> None:
    before = sorted(Path().rglob("*.npz"))
    assert line in program(command, *words.split(), "--no-progress").refusal
    assert sorted(Path().rglob("*.npz")) == before
    assert not Path("evaluation").exists()


def test_a_name_of_the_zoo_and_what_lies_here_are_no_code() -> None:
    assert is_own("build.py:build")
    assert not is_own("zoo:mnist")
    Path("a:b").mkdir()
    assert not is_own("a:b")
