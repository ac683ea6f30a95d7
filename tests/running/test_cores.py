"""Cores are counted as Linux describes them."""

import os
from pathlib import Path

import pytest

from twinlatent.running.cores import physical_cores


def test_threads_of_a_core_count_once_and_only_those_that_may_be_used(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 4, 5}, raising=False)
    for number in range(8):
        place = tmp_path / f"cpu{number}" / "topology"
        place.mkdir(parents=True)
        (place / "thread_siblings_list").write_text(f"{number % 4},{number % 4 + 4}\n")
    assert physical_cores(tmp_path, tmp_path / "none") == 2


@pytest.mark.parametrize("allowed", [{0}, {0, 1, 2}])
def test_without_a_description_each_counts(tmp_path: Path, monkeypatch, allowed: set[int]) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: allowed, raising=False)
    assert physical_cores(tmp_path, tmp_path / "none") == len(allowed)


@pytest.mark.parametrize(
    ("said", "cores"),
    [("200000 100000", 2), ("250000 100000", 2), ("50000 100000", 1), ("900000 100000", 4), ("max 100000", 4), ("", 4)],
)
def test_a_container_has_the_cores_whose_time_it_gets(tmp_path: Path, monkeypatch, said: str, cores: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    quota = tmp_path / "cpu.max"
    quota.write_text(said)
    assert physical_cores(tmp_path, quota) == cores
