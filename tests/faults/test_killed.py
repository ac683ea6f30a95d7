"""scripts/faults: what is killed and resumed ends the same, and a work that loses something is found out."""

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


def pieces(place: Path, flaw: str = "") -> None:
    """Write numbers into files of their own, whole or not at all, those that are not there yet; in the end, the sum."""
    place.mkdir(exist_ok=True)
    begun = any(place.glob("*.txt"))
    if flaw == "begins anew":
        for path in place.glob("*.txt"):
            path.unlink()
    for number in range(PIECES):
        path = place / f"{number:02}.txt"
        if not path.exists():
            time.sleep(0.01)
            (place / "new").write_text(str(number + (begun and flaw == "goes on otherwise")))
            os.replace(place / "new", path)
    if flaw == "fails" and begun:
        raise SystemExit(3)
    (place / "sum").write_text(str(sum(int(path.read_text()) for path in place.glob("*.txt"))))


def work(killing: Any, flaw: str = "") -> Any:
    def kept(place: Path) -> dict[str, object]:
        if flaw == "cannot be read":
            raise ValueError("half a file")
        return {path.name: path.read_text() for path in place.glob("*.txt")}

    def result(place: Path) -> object:
        return (place / "sum").read_text() if (place / "sum").exists() else None

    return killing.Work("pieces", lambda place: lambda: pieces(place, flaw), kept, result)


def test_a_work_that_keeps_what_it_does_is_found_sound(faulty: Callable, tmp_path: Path) -> None:
    killing = faulty("killing")
    found = killing.killed(work(killing), 6, random.Random(0), tmp_path)
    assert (found.kills, found.wrong) == (6, [])
    assert found.identical == found.finished >= 1


@pytest.mark.parametrize(
    ("flaw", "line"),
    [
        ("begins anew", "lost "),
        ("goes on otherwise", "it ends otherwise"),
        ("fails", "it ends with status 3"),
        ("cannot be read", "what is kept cannot be read: ValueError: half a file"),
    ],
)
def test_a_work_that_does_not_is_found_out(flaw: str, line: str, faulty: Callable, tmp_path: Path) -> None:
    """When a process is killed is a matter of chance: thirty kills may all miss what is wrong, four times that not."""
    killing, said = faulty("killing"), []
    for seed in range(4):
        (tmp_path / str(seed)).mkdir()
        said += killing.killed(work(killing, flaw), 30, random.Random(seed), tmp_path / str(seed)).wrong
        if any(line in one for one in said):
            break
    assert any(line in one for one in said), said


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


def test_data_are_prepared_and_fetched_whatever_is_killed(faulty: Callable, tmp_path: Path) -> None:
    killing, draw = faulty("killing"), random.Random(2)
    found = killing.killed(killing.preparing(tmp_path), 4, draw, tmp_path)
    assert (found.kills, found.wrong) == (4, [])
    server, address = killing.file_server(tmp_path / "server.txt")
    try:
        found = killing.killed(killing.fetching(address), 4, draw, tmp_path)
    finally:
        server.kill()
    assert (found.kills, found.wrong) == (4, [])


def test_a_disk_that_takes_no_more_ends_it_in_a_line(
    faulty: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing may be mounted."""
    surroundings = faulty("surroundings")
    monkeypatch.setattr(surroundings, "_quiet", lambda *_: False)
    found = surroundings.full_disk({faulty("killing").preparing(tmp_path): (2, 6)}, tmp_path)
    assert (found.commands, found.refused, found.wrong) == (4, 2, [])
    assert found.how.startswith("RLIMIT_FSIZE")


def test_the_form_of_what_is_found(tmp_path: Path) -> None:
    row = {"kills": 3, "finished": 1, "identical": 1}
    made = {"seed": 0, "seconds": 1.5, "failed": {}, "killed": {"train": row}, "surroundings": {}, "memory": {},
            "bad_inputs": {"files": 300}, "provenance": provenance().model_dump()}  # fmt: skip
    (tmp_path / "faults.json").write_text(json.dumps(made))
    assert check_file(tmp_path / "faults.json") == "a check of faults"
    (tmp_path / "faults.json").write_text(json.dumps(made | {"killed": {"train": row | {"kills": -1}}}))
    with pytest.raises(ValueError, match=r"killed\.train\.kills"):
        check_file(tmp_path / "faults.json")


@pytest.mark.slow
@pytest.mark.parametrize("only", ["killed", "surroundings", "memory"])
def test_the_script_finds_nothing_wrong(only: str, tmp_path: Path) -> None:
    words = ["--kills", "2", "--minutes", "0.1", "--only", only, "--out", str(tmp_path / "faults.json")]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(ROOT / "scripts" / "faults.py"), *words], env=environment, check=False,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = FaultsCheck.model_validate_json((tmp_path / "faults.json").read_text())
    assert found.failed == {}
    assert {"killed": found.killed, "surroundings": found.surroundings, "memory": found.memory}[only]
