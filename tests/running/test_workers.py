"""Units in worker processes: the same files whoever does them, no process left behind, nothing lost that was kept."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from twinlatent.errors import TwinlatentError
from twinlatent.running.units import Here
from twinlatent.running.workers import Workers, runner_of

UNITS = '''
"""Units that write a file each, in the ways that a test asks."""
import errno, os, signal, time
from dataclasses import dataclass
from twinlatent.errors import TwinlatentError
from twinlatent.files import write_text

@dataclass(frozen=True)
class Write:
    number: int
    how: str = ""
    steps: int = 1
    needs = {}

    @property
    def name(self):
        return f"number {self.number}"

    @property
    def keeps(self):
        return {"here": (f"{self.number}.txt",)}

    def __call__(self, given, places, heard):
        place = places["here"]
        if self.how == "refuse":
            raise TwinlatentError("number is 3; give another")
        if self.how == "fail":
            return {}["a"]
        if self.how == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))
        if self.how.isdigit() and len(list(place.glob(f"{self.number}.died-*"))) < int(self.how):
            write_text(place / f"{self.number}.died-{os.getpid()}", "")
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "wait":
            write_text(place / f"{self.number}.waits", str(os.getpid()))
            time.sleep(600)
        write_text(place / f"{self.number}.txt", f"{given['word']} {self.number}")
        heard(place / f"{self.number}.txt")
'''
DRIVER = """
import sys
from pathlib import Path
from twinlatent.loading import load_object
from twinlatent.running.workers import Workers
if __name__ == "__main__":
    Write = load_object(f"{sys.argv[1]}:Write")
    Workers(2).run([[Write(0), Write(1, "wait"), Write(2, "wait")]], {"word": "a"}, {"here": Path(sys.argv[2])})
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_files_are_the_same_whoever_writes_them_and_what_dies_is_done_again(
    unit, written, tmp_path: Path, number: int
):
    stages = [[unit(0), unit(1, "2"), unit(2)], [], [unit(3)]]
    plain = [[unit(0), unit(1), unit(2)], [], [unit(3)]]
    Here().run(plain, {"word": "a"}, {"here": tmp_path / "one"})
    told: list[tuple[int, str | None]] = []
    said: list[str] = []
    (tmp_path / "many").mkdir()
    Workers(number, say=said.append).run(stages, {"word": "a"}, {"here": tmp_path / "many"},
                                         lambda unit, path: told.append((unit.number, path and path.name)))  # fmt: skip
    assert written(tmp_path / "many") == written(tmp_path / "one")
    assert sorted(told, key=str) == sorted([(n, f"{n}.txt") for n in range(4)] + [(n, None) for n in range(4)], key=str)
    assert told.index((2, None)) < told.index((3, "3.txt")), "a stage begins when the one before is done"
    assert len(said) == 2
    for line in said:
        assert "was ended by SIGKILL during number 1; it is done again" in line


@pytest.mark.slow
def test_a_unit_whose_worker_dies_three_times_ends_the_run_and_what_was_kept_stays(
    unit, written, tmp_path: Path
) -> None:
    (tmp_path / "kept").mkdir()
    said: list[str] = []
    with pytest.raises(TwinlatentError, match=r"worker 1 \(process \d+\) was ended by SIGKILL during number 1, for the "
                                              "third time; what is done is kept; run again to resume"):  # fmt: skip
        Workers(1, say=said.append).run([[unit(0), unit(1, "3"), unit(2)]], {"word": "a"}, {"here": tmp_path / "kept"})
    assert written(tmp_path / "kept") == {"0.txt": "a 0"}
    assert len(said) == 2


@pytest.mark.slow
def test_what_a_unit_says_is_what_the_run_says(unit, tmp_path: Path) -> None:
    with pytest.raises(TwinlatentError, match=r"(?m)^number is 3; give another$"):
        Workers(2).run([[unit(0), unit(1, "refuse")]], {"word": "a"}, {"here": tmp_path})
    with pytest.raises(KeyError, match="'a'") as caught:
        Workers(2).run([[unit(0), unit(1, "fail")]], {"word": "a"}, {"here": tmp_path})
    assert 'return {}["a"]' in "".join(caught.value.__notes__), "its traceback is not lost"


def test_a_full_disk_is_said_once_and_is_no_death_of_a_worker(unit, tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(OSError, match=r"No space left on device") as caught:
        Workers(1, say=said.append).run([[unit(0, "full")]], {"word": "a"}, {"here": tmp_path})
    assert (said, caught.value.filename) == ([], str(tmp_path))


def test_what_cannot_be_sent_is_said_before_anything_is_started(unit, written, tmp_path: Path) -> None:
    with pytest.raises(TwinlatentError, match=r"cannot be sent to worker processes .*<lambda>.*workers 1"):
        Workers(2).run([[unit(0)]], {"word": lambda: 0}, {"here": tmp_path})
    assert written(tmp_path) == {}


def test_where_nobody_asked_for_workers_this_process_does_what_cannot_be_sent(unit, written, tmp_path: Path) -> None:
    class Word(str):
        """Of this function alone, so it cannot be sent."""

    said: list[str] = []
    runner = Workers(2, say=said.append, asked=False)
    runner.run([[unit(0), unit(1)]], {"word": Word("a")}, {"here": tmp_path})
    assert written(tmp_path) == {"0.txt": "a 0", "1.txt": "a 1"}
    (line,) = said
    assert "cannot be sent to worker processes" in line
    assert line.endswith("One process does all of it")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_the_run(unit, written, patience, tmp_path: Path, how: signal.Signals) -> None:
    script, kept, temporary = tmp_path / "driver.py", tmp_path / "kept", tmp_path / "temporary"
    script.write_text(DRIVER, encoding="utf-8")
    temporary.mkdir()
    driver = subprocess.Popen([sys.executable, str(script), str(tmp_path / "units.py"), str(kept)],
                              stderr=subprocess.PIPE, text=True, start_new_session=True,
                              env=os.environ | {"TMPDIR": str(temporary)})  # fmt: skip
    try:
        waiting = lambda: [int(text) for path in kept.glob("*.waits") if (text := path.read_text())]  # noqa: E731
        patience(lambda: len(waiting()) == 2)
        workers = waiting()
        if how == signal.SIGINT:
            os.killpg(driver.pid, how)  # as a terminal does
        else:
            driver.send_signal(how)
        _, said = driver.communicate(timeout=60)
    finally:
        driver.kill()
    patience(lambda: not any(map(alive, workers)))
    assert written(kept) == {"0.txt": "a 0"}
    assert list(temporary.glob("twinlatent-*")) == [], "what workers were given goes with them"
    assert said.count("Traceback") <= 1, "workers say nothing of Ctrl-C"


def test_the_number_of_workers_is_checked() -> None:
    assert runner_of(None) == runner_of(1) == Here()
    assert runner_of(3) == Workers(3)
    assert runner_of(Workers(2)) == Workers(2)
    for wrong in (0, -1, 1.5, True, "2"):
        with pytest.raises(TwinlatentError, match=r"workers is .*; give a whole number of at least 1"):
            runner_of(wrong)  # type: ignore[arg-type]


def alive(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
