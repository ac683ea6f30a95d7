"""Batches of Algorithm 2 attacked by others: the same images bit for bit, and what dies midway is resumed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from twinlatent.motivation.accumulation import VulnerableImages, accumulate, new_discriminator
from twinlatent.motivation.attacking import ATTACKED
from twinlatent.running.units import Here, Places, Runner, Told, Unit, nothing_told
from twinlatent.running.workers import Workers


@dataclass
class Elsewhere(Runner):
    """Does units in this process, in another order, and is killed after some."""

    threads: int = 1
    left: int = 1000
    done: list[str] = field(default_factory=list)

    def run(self, stages: Sequence[Sequence[Unit]], given: Any, places: Places, told: Told = nothing_told) -> None:
        for unit in reversed([unit for stage in stages for unit in stage]):
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            self.done.append(unit.name)
            Here().run([[unit]], given, places, told)


def gathered(target, benign, settings, folder: Path | None, runner: Runner) -> VulnerableImages:
    return accumulate(target, new_discriminator(settings, (1, 8, 8)), benign, settings, folder=folder, runner=runner,
                      iterations=settings.iterations, identity={}, progress=False)  # fmt: skip


def same(one: VulnerableImages, other: VulnerableImages) -> bool:
    return one.added == other.added and all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in ("images", "labels", "sources")
    )


@pytest.fixture
def asked(smoke, benign) -> Any:
    return smoke("pgd", batch=len(benign) // 3 + 1, steps=5)


@pytest.mark.parametrize("kept", [True, False])
def test_others_find_what_this_process_finds(target, benign, asked, tmp_path: Path, kept: bool) -> None:
    alone, other = gathered(target, benign, asked, None, Here()), Elsewhere()
    assert same(gathered(target, benign, asked, tmp_path if kept else None, other), alone)
    assert other.done == [f"iteration {i}, batch {b}" for i in (1, 2) for b in (3, 2, 1)]
    assert not (tmp_path / ATTACKED).exists(), "the state has it all"


@pytest.mark.parametrize("before", [1, 4])
def test_what_was_attacked_is_not_attacked_again(target, benign, asked, tmp_path: Path, before: int) -> None:
    """Killed in either iteration."""
    with pytest.raises(KeyboardInterrupt):
        gathered(target, benign, asked, tmp_path, Elsewhere(left=before))
    assert len(list((tmp_path / ATTACKED).iterdir())) >= 1
    other = Elsewhere()
    assert same(gathered(target, benign, asked, tmp_path, other), gathered(target, benign, asked, None, Here()))
    assert len(other.done) == 6 - before


@pytest.mark.slow
def test_processes_find_what_this_one_finds(target, benign, asked, tmp_path: Path) -> None:
    assert same(gathered(target, benign, asked, tmp_path, Workers(2)), gathered(target, benign, asked, None, Here()))
