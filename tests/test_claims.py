"""twinlatent.claims: one writer at a time, and never over what somebody else put there."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from twinlatent import claims
from twinlatent.claims import LOCK, claimed, claimed_file, clear, refuse_present
from twinlatent.errors import TwinlatentError

HOLDER = """
import fcntl, os, platform, sys, time
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(handle, fcntl.LOCK_EX)
os.write(handle, f"{os.getpid()} {platform.node()}".encode())
print("held", flush=True)
time.sleep(60)
"""
needs_flock = pytest.mark.skipif(sys.platform == "win32", reason="the other process uses flock")


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


def test_one_owner_at_a_time_and_nothing_stays(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with claimed(folder):
        assert (folder / LOCK).exists()
        with (
            pytest.raises(TwinlatentError, match=r"run is being written by another call in this process"),
            claimed(folder),
        ):
            raise AssertionError("two owners")
        (folder / "result.txt").write_text("mine")
    with claimed(folder):
        pass
    assert os.listdir(folder) == ["result.txt"]


@needs_flock
def test_another_process_is_named_and_a_killed_one_owns_nothing(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-S", "-c", HOLDER, tmp_path / LOCK], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(TwinlatentError, match=f"is being written by process {other.pid}; wait"), claimed(tmp_path):
            raise AssertionError("two owners")
        other.kill()
        other.wait()
        assert (tmp_path / LOCK).exists(), "nobody could remove it"
        with claimed(tmp_path):
            assert (tmp_path / LOCK).read_text().startswith(f"{os.getpid()} ")
    finally:
        other.kill()
        other.communicate()
    assert os.listdir(tmp_path) == []


def test_an_error_gives_the_folder_back_and_a_folder_made_for_nothing_goes(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "a/b/c"):
        with pytest.raises(KeyboardInterrupt), claimed(tmp_path / name):
            raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ["empty"]
    assert os.listdir(tmp_path / "empty") == []


def test_a_file_is_owned_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "a.npz"
    with claimed_file(path), pytest.raises(TwinlatentError, match=r"a\.npz is being written"), claimed_file(path):
        raise AssertionError("two owners")
    with claimed_file(path), claimed_file(path.with_name("b.npz")):
        pass
    assert os.listdir(tmp_path) == []


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in ("file", "file/below"):
        with (
            pytest.raises(TwinlatentError, match=r"file is a file, no folder\); give another"),
            claimed(tmp_path / place),
        ):
            raise AssertionError("a file is no folder")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_where_there_are_no_locks_the_work_goes_on(tmp_path: Path, monkeypatch, number: int) -> None:
    def no_locks(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(claims, "_lock", no_locks)
    with claimed(tmp_path):
        pass
    assert os.listdir(tmp_path) == []


def test_scraps_of_the_dead_are_removed_and_nothing_else(tmp_path: Path) -> None:
    dead = dead_process()
    kept = [f".a.json.twinlatent-{os.getpid()}-abcd1234.json", ".a.json.abcd1234.json", "notes.txt",
            f"a.json.twinlatent-{dead}-abcd1234.json", ".a.json.twinlatent-x-abcd1234.json"]  # fmt: skip
    gone = [f".a.safetensors.twinlatent-{dead}-abcd1234.safetensors", f".a b.twinlatent-{dead}-abcd_234"]
    for name in kept + gone:
        (tmp_path / name).write_text("half")
    with claimed(tmp_path):
        pass
    assert sorted(os.listdir(tmp_path)) == sorted(kept)


def test_clearing_leaves_what_somebody_else_put_there(tmp_path: Path) -> None:
    ours = ("a/b/pgd-000000.npz", "a/identity.json", "seconds.json", "evaluation.json", "c/substitute-f_p.safetensors",
            "c/judge.safetensors", "d/state.safetensors", "d/log.jsonl", "d/training.json")  # fmt: skip
    theirs = {"a/notes.txt", "a/my-attacks.npz", "notes.json", "c/network.safetensors", "d/my-log.jsonl", "pgd-1.npz"}
    for name in (*ours, *theirs):
        (tmp_path / "work" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "work" / name).write_text("x")
    clear(tmp_path / "work")
    left = [path for path in (tmp_path / "work").rglob("*") if path.is_file()]
    assert {path.relative_to(tmp_path / "work").as_posix() for path in left} == theirs
    for path in left:
        path.unlink()
    clear(tmp_path / "work")
    clear(tmp_path / "work")
    assert os.listdir(tmp_path) == []


def test_what_is_there_is_refused_by_its_name(tmp_path: Path) -> None:
    refuse_present(tmp_path, ["a.json", "b.json"], "an evaluation")
    (tmp_path / "b.json").symlink_to("nowhere")
    with pytest.raises(TwinlatentError, match=r"holds an evaluation already \(b\.json\); give another folder$"):
        refuse_present(tmp_path, ["a.json", "b.json"], "an evaluation")
    with pytest.raises(TwinlatentError, match=r"\(b\.json\); use --force$"):
        refuse_present(tmp_path, ["b.json"], "an evaluation", "use --force")


@needs_flock
def test_two_that_start_at_once_never_both_own(tmp_path: Path) -> None:
    """The lock file comes and goes; each time at most one of many processes holds it."""
    source = Path(claims.__file__).parent
    program = f"""
import importlib.util, sys, types, time
package = types.ModuleType("twinlatent"); package.__path__ = [{str(source)!r}]; sys.modules["twinlatent"] = package
from pathlib import Path
from twinlatent.claims import claimed
from twinlatent.errors import TwinlatentError
folder, alone = Path({str(tmp_path / "run")!r}), Path({str(tmp_path / "alone")!r})
for _ in range(60):
    try:
        with claimed(folder):
            alone.mkdir()  # raises if another is inside
            time.sleep(0.001)
            alone.rmdir()
    except TwinlatentError:
        time.sleep(0.001)
"""
    processes = [subprocess.Popen([sys.executable, "-S", "-c", program], stderr=subprocess.PIPE) for _ in range(3)]
    patience = time.monotonic() + 60
    said = [process.communicate(timeout=max(patience - time.monotonic(), 1))[1] for process in processes]
    assert said == [b"", b"", b""]
