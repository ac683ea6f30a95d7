"""Freed memory is kept: measured in page faults of a process of its own."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from twinlatent.memory import keep_freed_memory
told = keep_freed_memory() if sys.argv[1] == "kept" else None
def pieces():  # of 40 and 20 MB, all freed at the end
    return [torch.zeros(10_000_000), torch.zeros(5_000_000)]
for _ in range(3):
    pieces()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    pieces()
print(told, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> tuple[str, int]:
    said = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout
    told, count = said.split()
    return told, int(count)


@pytest.mark.slow
def test_freed_memory_is_kept() -> None:
    told, kept = faults("kept")
    if told == "False":
        pytest.skip("this C library cannot be told")
    assert kept < 0.1 * faults("as ever")[1]
