"""Batches of Algorithm 2 attacked by others: the same images bit for bit, and what dies midway is resumed."""

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from twinlatent.motivation import attacking
from twinlatent.motivation.accumulation import VulnerableImages, accumulate, new_discriminator
from twinlatent.motivation.attacking import ATTACKED
from twinlatent.running.units import Here, Places, Runner, Told, Unit, nothing_told
from twinlatent.running.workers import Workers


@dataclass
class Elsewhere(Runner):
    """Does units in this process, in another order, until Ctrl-C comes after some."""

    threads: int = 1
    left: int = 1000
    done: list[str] = field(default_factory=list)

    def run(self, stages: Sequence[Sequence[Unit]], given: Any, places: Places, told: Told = nothing_told) -> None:
        for unit in reversed([unit for stage in stages for unit in stage]):
            if not self.left:
                signal.raise_signal(signal.SIGINT)
                self.done.append("after Ctrl-C")
            self.left -= 1
            self.done.append(unit.name)
            Here().run([[unit]], given, places, told)


def gathered(
    target, benign, settings, folder: Path | None, runner: Runner, identity: Mapping[str, Any] | None = None
) -> VulnerableImages:
    return accumulate(target, new_discriminator(settings, (1, 8, 8)), benign, settings, folder=folder, runner=runner,
                      iterations=settings.iterations, identity=identity or {}, progress=False)  # fmt: skip


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
@pytest.mark.parametrize("alone", [True, False])
def test_what_was_attacked_is_not_attacked_again(
    target, benign, asked, tmp_path: Path, monkeypatch, before: int, alone: bool
) -> None:
    """Ctrl-C comes in either iteration, and ends it at once; whoever resumes takes what is there."""
    whole, cut = gathered(target, benign, asked, None, Here()), Elsewhere(left=before)
    with pytest.raises(KeyboardInterrupt):
        gathered(target, benign, asked, tmp_path, cut)
    assert "after Ctrl-C" not in cut.done
    attacks: list[object] = []
    attack = attacking.run
    monkeypatch.setattr(attacking, "run", lambda *given, **more: attacks.append(given) or attack(*given, **more))
    assert same(gathered(target, benign, asked, tmp_path, Here() if alone else Elsewhere()), whole)
    assert len(attacks) == 6 - before


def test_a_batch_that_is_damaged_is_attacked_again(target, benign, asked, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        gathered(target, benign, asked, tmp_path, Elsewhere(left=2))
    one, other = sorted((tmp_path / ATTACKED).glob("*.npz"))
    one.write_bytes(one.read_bytes()[:100])
    other.write_bytes(b"")
    again = Elsewhere()
    assert same(gathered(target, benign, asked, tmp_path, again), gathered(target, benign, asked, None, Here()))
    assert len(again.done) == 6


def test_batches_of_other_work_are_not_taken(target, benign, asked, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        gathered(target, benign, asked, tmp_path, Elsewhere(left=2), {"data": "others"})
    again = Elsewhere()
    assert same(gathered(target, benign, asked, tmp_path, again), gathered(target, benign, asked, None, Here()))
    assert len(again.done) == 6


@pytest.mark.slow
def test_processes_find_what_this_one_finds(target, benign, asked, tmp_path: Path) -> None:
    assert same(gathered(target, benign, asked, tmp_path, Workers(2)), gathered(target, benign, asked, None, Here()))
