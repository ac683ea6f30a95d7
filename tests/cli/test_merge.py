"""Shards of an evaluation and of an attack: together they are the whole, and nothing else goes through for one."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from twinlatent.evaluation.results.records import read_records

OF = 3
EVALUATE = ["--suite", "quick", "--steps", "1", "--images", "55", "--subset", "3", "--blackbox-images", "6",
            "--certified-images", "9", "--shift-images", "4", "--substitute", "f_p", "--no-progress"]  # fmt: skip
ATTACK = ["--suite", "quick", "--steps", "1", "--images", "55", "--no-progress"]


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def numbers(folder: Path) -> list[dict[str, Any]]:
    """All records, without what says which run made them."""
    own = {"seconds", "command", "commit", "date"}
    return [record.model_dump(exclude=own) for record in read_records(folder / "results.json")]


@pytest.fixture
def shards(trained: Path, ok: Callable, tmp_path: Path) -> Callable[..., list[Path]]:
    """A function: some shards of an attack, each made by a command of its own."""

    def made(*numbers: int, words: tuple[object, ...] = ()) -> list[Path]:
        for number in numbers:
            done = ok("attack", trained, *ATTACK, *words, "--save", "run.npz", "--shard", f"{number}/{OF}")
            assert f"Shard {number}/{OF}: run.npz.shard-{number}-of-{OF}" in done.text
        return [tmp_path / f"run.npz.shard-{number}-of-{OF}" for number in numbers]

    return made


@pytest.mark.parametrize("words", [(), ("--unproved-only",)])
def test_the_shards_of_an_attack_are_the_attack(
    words: tuple[str, ...], trained: Path, shards: Callable, ok: Callable, tmp_path: Path
) -> None:
    """Shards that leave out what is proved prove it each for itself, in other times."""
    ok("attack", trained, *ATTACK, *words, "--save", "whole.npz")
    done = ok("merge", "run.npz", *shards(2, 1, 3, words=words), "--no-progress")
    assert "Images: run.npz" in done.text
    assert arrays(tmp_path / "run.npz") == arrays(tmp_path / "whole.npz")
    assert not (tmp_path / "run.npz.unfinished").exists()


@pytest.mark.slow
def test_eight_shards_of_an_attack_are_the_attack_though_there_are_fewer_batches(
    trained: Path, ok: Callable, tmp_path: Path
) -> None:
    ok("attack", trained, *ATTACK, "--save", "whole.npz")
    for number in range(1, 9):
        ok("attack", trained, *ATTACK, "--save", "run.npz", "--shard", f"{number}/8")
    ok("merge", "run.npz", *sorted(tmp_path.glob("run.npz.shard-*")), "--no-progress")
    assert arrays(tmp_path / "run.npz") == arrays(tmp_path / "whole.npz")


@pytest.mark.slow
def test_the_shards_of_an_evaluation_are_the_evaluation(trained: Path, ok: Callable, tmp_path: Path) -> None:
    ok("evaluate", trained, *EVALUATE, "--out", "whole")
    for number in range(1, OF + 1):
        ok("evaluate", trained, *EVALUATE, "--out", "run", "--shard", f"{number}/{OF}")
    assert not (tmp_path / "run").exists()
    ok("merge", "run", *(f"run.shard-{n}-of-{OF}" for n in range(1, OF + 1)), "--no-progress")
    assert numbers(tmp_path / "run") == numbers(tmp_path / "whole")
    for name in ("checks.json", "judges.json", "model.json"):
        assert read(tmp_path / "run" / name) == read(tmp_path / "whole" / name), name
    for name in ("evaluation.npz", "pictures.npz"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    (run,) = json.loads((tmp_path / "run" / "results.json").read_text())["runs"]
    assert "--shard" not in run["command"], "it is the command that makes the numbers anywhere"
    assert run.get("reused") is None
    assert not (tmp_path / "run" / "unfinished").exists()


def test_what_is_missing_is_said_and_nothing_is_written(shards: Callable, program: Callable, tmp_path: Path) -> None:
    (one,) = shards(2)
    line = program("merge", "run.npz", one).refusal
    assert re.match(r"of 3 shards 2 are missing: 1, 3; give their folders too, or make them: .* --shard 1/3$", line)
    (one / "shard.json").unlink()
    assert "is a shard that is not finished; run its command again" in program("merge", "run.npz", one).refusal
    (tmp_path / "other").mkdir()
    assert "other is no shard: no shard.json in it" in program("merge", "run.npz", "other").refusal
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("run.npz") and path != one]


def test_what_does_not_belong_together_is_refused(shards: Callable, program: Callable, tmp_path: Path) -> None:
    first, second, third = shards(1, 2, 3)
    again = tmp_path / "again"
    shutil.copytree(first, again)
    assert "are both shard 1/3; give each once" in program("merge", "run.npz", first, second, third, again).refusal
    assert program("merge", "run.npz", first, second, first).refusal.endswith("1-of-3 is given twice; give each once")
    shutil.rmtree(second)
    (second,) = shards(2, words=("--seed", 1))
    line = program("merge", "run.npz", first, second, third).refusal
    assert re.search(
        r"run\.npz\.shard-2-of-3 and .*run\.npz\.shard-1-of-3 are shards of different work: other seed$", line
    )
    said = json.loads((second / "shard.json").read_text())
    said["asked"]["seed"] = 0
    (second / "shard.json").write_text(json.dumps(said))
    line = program("merge", "run.npz", first, second, third).refusal
    assert re.search(r"identity\.json and .* differ in images, labels.*, so these shards do not belong together$", line)
    assert not (tmp_path / "run.npz.unfinished").exists()


def test_a_shard_that_was_copied_in_part_is_refused(
    shards: Callable, program: Callable, ok: Callable, tmp_path: Path
) -> None:
    """Else the merging process would do again, alone and without a word, what is missing."""
    all_of_them = shards(1, 2, 3)
    part = next((all_of_them[1] / "unfinished").rglob("pgd*.npz"))
    whole = part.read_bytes()
    for content, line in (
        (whole[:-9], r"pgd.*\.npz is another file than it was when"),
        (None, r"pgd.*\.npz is missing"),
    ):
        part.unlink()
        if content is not None:
            part.write_bytes(content)
        said = program("merge", "run.npz", *all_of_them).refusal
        assert re.search(line, said)
        assert said.endswith("when the shard was done; copy its folder again, or run its command again")
        assert not (tmp_path / "run.npz.unfinished").exists()
    shards(2)  # its command, once more
    ok("merge", "run.npz", *all_of_them, "--no-progress")


def test_shards_are_merged_where_they_were_made(shards: Callable, program: Callable, tmp_path: Path) -> None:
    all_of_them = shards(1, 2, 3)
    for one in all_of_them:
        said = json.loads((one / "shard.json").read_text())
        said["asked"]["model"] = "trained/detector.safetensors"
        (one / "shard.json").write_text(json.dumps(said))
    line = program("merge", "run.npz", *all_of_them).refusal
    assert re.search(r"trained/detector\.safetensors.*; merge in the folder in which the shards were made$", line)
    assert not (tmp_path / "run.npz.unfinished").exists()


def test_the_name_of_what_shards_make_is_checked_before_they_are_made(trained: Path, program: Callable) -> None:
    line = program("attack", trained, *ATTACK, "--save", "run", "--shard", "1/3").refusal
    assert line == "run is written as .npz; name it run.npz"


def test_a_shard_is_named_by_a_number_of_its_own(trained: Path, program: Callable) -> None:
    for command in ("attack", "evaluate"):
        assert program(command, trained, "--shard", "4/3").refusal == (
            "shard 4/3: there is none; give I/N with I from 1 to N, such as 3/8"
        )


def arrays(path: Path) -> dict[str, bytes]:
    """The arrays of an .npz, byte for byte, without what says when they were made."""
    import zipfile

    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name != "about.npy"}
