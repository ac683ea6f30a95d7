"""scripts/faults: what is killed and resumed ends the same, and a work that loses something is found out."""

import importlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from twinlatent.cli import program  # noqa: F401 — not in each process that is forked off
from twinlatent.evaluation.results.check import check_file
from twinlatent.evaluation.results.faults import FaultsCheck
from twinlatent.provenance import provenance

ROOT = Path(__file__).resolve().parent.parent.parent
PIECES = 12
pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are forked and looked up in /proc"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


def pieces(place: Path, flaw: str, note: Callable[[], None]) -> None:
    """Write numbers into files of their own, whole or not at all, those that are not there yet; in the end, the sum."""
    place.mkdir(exist_ok=True)
    begun = any(place.glob("*.txt"))
    if flaw == "begins anew":
        for path in place.glob("*.txt"):
            path.unlink()
    for number in range(PIECES):
        path = place / f"{number:02}.txt"
        if not path.exists() or flaw == "does it all again":
            note()
            time.sleep(0.01)
            scrap = place / f".{path.name}.twinlatent-{os.getpid()}-abcdefgh.txt"
            new = path if flaw == "writes half a file" else scrap
            with new.open("w") as file:
                file.write(str(number + (begun and flaw == "goes on otherwise")))
            os.chmod(new, 0o644)
            os.replace(new, path)
    if flaw == "fails" and begun:
        raise SystemExit(3)
    if flaw != "leaves something":
        for path in place.glob(".*"):
            path.unlink()
    (place / "sum").write_text(str(sum(int(path.read_text() or 99) for path in place.glob("*.txt"))))


def work(works: Any, folder: Path, flaw: str = "") -> Any:
    begun = works.Begun(folder)

    def kept(place: Path) -> dict[str, object]:
        if flaw == "cannot be read":
            raise ValueError("half a file")
        return {path.name: path.read_text() for path in place.glob("*.txt")}

    def result(place: Path) -> object:
        return (place / "sum").read_text() if (place / "sum").exists() else None

    def call(place: Path) -> Callable[[], None]:
        return lambda: pieces(place, flaw, begun.noting(place, lambda: None))

    return works.Work("pieces", call, kept, result, begun)


def test_a_work_that_keeps_what_it_does_is_found_sound(faulty: Callable, tmp_path: Path) -> None:
    killing, made = faulty("killing"), work(faulty("works"), tmp_path)
    found = killing.killed(made, 6, random.Random(0), tmp_path)
    assert (found.kills, found.wrong, found.pieces) == (6, [], PIECES)
    assert found.identical == found.finished >= 1
    assert found.again <= 6
    (tmp_path / "b").mkdir()
    found = killing.killed_at_operations(work(faulty("works"), tmp_path / "b"), 8, random.Random(0), tmp_path / "b",
                                         slice(None))  # fmt: skip
    assert (found.kills, found.finished, found.identical, found.wrong) == (8, 8, 8, [])
    assert found.operations >= 3 * PIECES


@pytest.mark.parametrize(
    ("flaw", "line"),
    [
        pytest.param("begins anew", "lost ", marks=pytest.mark.slow),
        pytest.param("does it all again", "pieces again", marks=pytest.mark.slow),
        pytest.param("goes on otherwise", "it ends otherwise", marks=pytest.mark.slow),
        ("fails", "it ends with status 3"),
        ("cannot be read", "what is kept cannot be read: ValueError: half a file"),
    ],
)
def test_a_work_that_does_not_is_found_out(flaw: str, line: str, faulty: Callable, tmp_path: Path) -> None:
    """When a process is killed is a matter of chance: thirty kills may all miss what is wrong, four times that not."""
    killing, said = faulty("killing"), []
    for seed in range(4):
        place = tmp_path / str(seed)
        place.mkdir()
        said += killing.killed(work(faulty("works"), place, flaw), 30, random.Random(seed), place).wrong
        if any(line in one for one in said):
            break
    assert any(line in one for one in said), said


@pytest.mark.parametrize(
    ("flaw", "line"),
    [("writes half a file", "it ends otherwise"), ("leaves something", "behind")],
)
def test_half_a_file_is_found_by_kills_at_operations(flaw: str, line: str, faulty: Callable, tmp_path: Path) -> None:
    """What takes too short a time for kills at random moments to meet it."""
    made = work(faulty("works"), tmp_path, flaw)
    said = faulty("killing").killed_at_operations(made, 99, random.Random(0), tmp_path, slice(None)).wrong
    assert said[-1].startswith("killed at operation ")
    assert any(line in one for one in said)


@pytest.mark.slow
def test_memory_and_files_that_grow_are_found(
    faulty: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, forked, held = faulty("memory"), faulty("forked").forked, []
    monkeypatch.setattr(memory, "EVERY", 0.3)

    def grows(how: Callable[[], object]) -> Callable[[], None]:
        def call() -> None:
            print("begun", flush=True)
            while True:
                held.append(how())
                time.sleep(0.01)

        return call

    ways = {"flat": lambda: None, "memory": lambda: bytearray(1_000_000), "files": lambda: os.open(os.devnull, 0)}
    for name, how in ways.items():
        process = forked(grows(how), tmp_path / name)
        try:
            memory._until(lambda process=process: process.said.exists() and process.text, process)
            seen = memory.watched(process, 1.8, lambda _: time.sleep(0.05) is None)
        finally:
            process.kill()
        assert seen.flat == (name == "flat"), (name, seen)
        assert (seen.files[1] > seen.files[0]) == (name == "files")


@pytest.mark.parametrize(("a_unit", "flat"), [(0.5, False), (0.1, False), (0.01, True), (-0.5, True)])
def test_a_slow_leak_is_found_in_spite_of_noise(faulty: Callable, a_unit: float, flat: bool) -> None:
    draw = random.Random(0)
    seen = [(430 + a_unit * unit + draw.uniform(-0.2, 0.2), 8, 1) for unit in range(60)]
    found = faulty("memory").compared(seen, 60, 3600.0)
    assert found.flat == flat
    assert found.grown == pytest.approx(53 * a_unit, abs=0.3)


def test_a_process_that_refuses_otherwise_than_in_a_line_is_found(faulty: Callable, tmp_path: Path) -> None:
    forked = faulty("forked")

    def says(text: str, status: int) -> str:
        def call() -> None:
            print(text, end="", flush=True)
            raise SystemExit(status)

        return forked.one_line(forked.ended(call, tmp_path / "said", 60))

    assert says("twinlatent: no\n", 1) == ""
    assert "status 0" in says("twinlatent: no\n", 0)
    assert "status 2" in says("twinlatent: no\n", 2)
    assert says("twinlatent: no\nTraceback\n", 1)
    assert says("Traceback\ntwinlatent: no\n", 1) == "shows a traceback"
    assert says("twinlatent: KeyError: 'a'; run again with --debug for the traceback\n", 1)


@pytest.mark.slow
def test_data_are_prepared_and_fetched_whatever_is_killed(faulty: Callable, tmp_path: Path) -> None:
    killing, works, draw = faulty("killing"), faulty("works"), random.Random(2)
    found = killing.killed(works.preparing(tmp_path), 4, draw, tmp_path)
    assert (found.kills, found.wrong, found.pieces) == (4, [], 24)
    server = works.FileServer(tmp_path)
    try:
        found = killing.killed(works.fetching(server), 4, draw, tmp_path)
    finally:
        server.process.kill()
    assert (found.kills, found.wrong, found.pieces) == (4, [], 3)


def test_a_disk_that_takes_no_more_ends_it_in_a_line(
    faulty: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing may be mounted."""
    surroundings = faulty("surroundings")
    monkeypatch.setattr(surroundings, "_quiet", lambda *_: False)
    found = surroundings.full_disk({faulty("works").preparing(tmp_path): (2, 6)}, tmp_path)
    assert (found.commands, found.refused, found.wrong) == (4, 2, [])
    assert found.how.startswith("RLIMIT_FSIZE")


def test_the_form_of_what_is_found(tmp_path: Path) -> None:
    row = {"kills": 3, "finished": 1, "identical": 1, "pieces": None, "again": None, "while_writing": 0,
           "operations": None, "verdicts": None}  # fmt: skip
    made = {"failed": {}, "steps": {}, "killed": {"train": row}, "stopped": {}, "surroundings": {}, "memory": {},
            "inputs": {"files": 300}, "provenance": provenance().model_dump()}  # fmt: skip
    (tmp_path / "faults.json").write_text(json.dumps(made))
    assert check_file(tmp_path / "faults.json") == "a check of faults"
    (tmp_path / "faults.json").write_text(json.dumps(made | {"killed": {"train": row | {"kills": -1}}}))
    with pytest.raises(ValueError, match=r"killed\.train\.kills"):
        check_file(tmp_path / "faults.json")


def test_steps_of_other_files_are_taken_over(faulty: Callable, tmp_path: Path) -> None:
    """Each with what says where it comes from, and what failed in it."""
    faulty("works")
    script, origin = importlib.import_module("faults"), provenance().model_dump()

    def file(name: str, steps: dict[str, int], failed: dict[str, list[str]], inputs: dict[str, int]) -> Path:
        made = {"failed": failed, "killed": {}, "stopped": {}, "surroundings": {}, "memory": {}, "inputs": inputs,
                "steps": {step: {"seed": seed, "seconds": 1.0, "provenance": origin} for step, seed in steps.items()},
                "provenance": origin}  # fmt: skip
        (tmp_path / name).write_text(json.dumps(made))
        return tmp_path / name

    out = file("out.json", {"inputs": 1, "memory": 1}, {"inputs: a": ["one"], "memory: serve": ["grew"]}, {"files": 1})
    add = file("add.json", {"inputs": 2, "killed": 2}, {"killed: train": ["lost"]}, {"files": 2})
    assert script.main(["--add", str(add), "--out", str(out)]) == 1
    found = FaultsCheck.model_validate_json(out.read_text())
    assert {name: step.seed for name, step in found.steps.items()} == {"inputs": 2, "memory": 1, "killed": 2}
    assert found.failed == {"killed: train": ["lost"], "memory: serve": ["grew"]}
    assert found.inputs == {"files": 2}


@pytest.fixture(scope="module")
def found_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in which the steps add up."""
    return tmp_path_factory.mktemp("found") / "faults.json"


@pytest.mark.slow
@pytest.mark.parametrize("only", ["killed", "stopped", "surroundings", "memory"])
def test_the_script_finds_nothing_wrong(only: str, found_before: Path) -> None:
    earlier = FaultsCheck.model_validate_json(found_before.read_text()).steps if found_before.exists() else {}
    words = ["--kills", "2", "--minutes", "0.2", "--only", only, "--out", str(found_before)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(ROOT / "scripts" / "faults.py"), *words], env=environment, check=False,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = FaultsCheck.model_validate_json(found_before.read_text())
    assert found.failed == {}
    assert found.steps.keys() == {*earlier, only}
    assert all(found.steps[name] == step for name, step in earlier.items() if name != only)
    assert found.model_dump()[only]
