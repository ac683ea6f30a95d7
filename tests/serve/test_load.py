"""The load test of benchmarks/serve.py, shortened: every answer right, none lost, whatever comes between."""

import importlib
from pathlib import Path

import pytest
import torch

from twinlatent.data import Split

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.slow
def test_under_load_every_answer_is_right(detector_file: Path, digits: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    load = importlib.import_module("serve")
    threads = torch.get_num_threads()
    try:
        images = digits.test.images.mul(255).round() / 255
        found = load.measure(str(detector_file), images, seconds=6, clients=16, threads=1)
    finally:
        torch.set_num_threads(threads)
    assert (found["wrong"], found["lost"]) == (0, 0)
    assert set(found["requests"]) == {"refused", "right"}
    assert found["requests"]["right"] > found["requests"]["refused"] > 0
    assert found["memory_mb"]["end"] < found["memory_mb"]["after_a_third"] + 50
