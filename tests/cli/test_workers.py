"""`--workers`: the same files for any number of them, and an interrupted run resumes with another number."""

import importlib.util
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from twinlatent.cli import workers as module
from twinlatent.cli.workers import workers_of
from twinlatent.errors import TwinlatentError
from twinlatent.running import cores
from twinlatent.running.ray import Ray
from twinlatent.running.units import Here
from twinlatent.running.workers import Workers

ATTACK = ["--suite", "quick", "--images", "101", "--no-progress"]


def arrays(path: Path) -> dict[str, bytes]:
    """The arrays of an .npz, byte for byte, without the command that made them."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name != "about.npy"}


def test_there_are_as_many_as_cores_but_few_for_few_images(monkeypatch) -> None:
    monkeypatch.setattr(cores, "physical_cores", lambda: 8)
    eight, three = (Workers(number, asked=False) for number in (8, 3))
    asked = {None: eight, 1000: eight, 3 * module.EACH: three, module.EACH: Here(), 3: Here()}
    assert {images: workers_of(None, None, "cpu", images) for images in asked} == asked
    assert workers_of(2, 3, "cpu", 1) == Workers(2, 3)
    assert torch.get_num_threads() == 3, "whoever puts the work together has as many threads"
    assert workers_of(1, None, "cpu") == Here()
    assert torch.get_num_threads() == 1
    assert workers_of(None, None, "cuda") == Here()


def test_a_cluster_takes_the_place_of_workers(monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert workers_of(None, None, "cpu", 1000, ray="local") == Ray("local")
    assert workers_of(None, 2, "cuda:0", ray="10.0.0.1:6379") == Ray("10.0.0.1:6379", 2, gpus=1)
    with pytest.raises(TwinlatentError, match=r"^--workers 2 and --ray auto: give one of them$"):
        workers_of(2, None, "cpu", ray="auto")


@pytest.mark.slow
def test_an_interrupted_attack_resumes_with_another_number_of_workers(
    trained: Path, interrupt: Callable, outside: Callable, tmp_path: Path
) -> None:
    kept = tmp_path / "a.npz.unfinished"
    words = ["attack", trained, *ATTACK, "--steps", 60]
    stopped = interrupt(*words, "--save", "a.npz", "--workers", 2, ready=lambda: any(kept.glob("[!.]*.npz")))
    assert (stopped.status, stopped.out) == (130, "")
    assert stopped.err == "twinlatent: stopped; finished batches are kept; the same command resumes\n"
    before = {path: path.stat().st_mtime_ns for path in kept.glob("[!.]*.npz")}
    assert before
    assert outside(*words, "--save", "a.npz", "--workers", 3).status == 0
    assert outside(*words, "--save", "b.npz", "--workers", 1).status == 0
    assert arrays(tmp_path / "a.npz") == arrays(tmp_path / "b.npz")
