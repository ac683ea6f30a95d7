"""Freed memory is kept: measured in page faults of a process of its own. How many images fit in memory."""

import subprocess
import sys

import pytest

from twinlatent.memory import HELD, MOST, SHARE, images_at_once

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


@pytest.mark.parametrize("memory", [0, 2**20, 3 * 2**30, 8 * 2**30, 2**40])
@pytest.mark.parametrize(("pixels", "classes"), [(64, 10), (784, 10), (12288, 2), (3072, 43)])
def test_so_many_images_fit_and_not_many_more_would(memory: int, pixels: int, classes: int) -> None:
    count, each = images_at_once(memory, pixels, classes), 4 * HELD * pixels * classes
    assert count.bit_count() == 1
    assert count == 1 or SHARE * count * each <= memory
    assert count == MOST or SHARE * 2 * count * each > memory
    assert count <= images_at_once(2 * memory, pixels, classes)


def test_no_more_than_asked_for_and_no_less_than_one() -> None:
    assert images_at_once(2**50, 1, 1, most=100) == 64
    assert images_at_once(0, 0, 0) == 1
