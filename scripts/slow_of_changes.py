"""Run the slow tests of what the last change touched, as far as a time goes.

python scripts/slow_of_changes.py SECONDS

The change is what differs from the branch `main`, or on it from the commit before; without git, or where that commit
was not fetched, there is none. A file of the package stands for the tests that mirror its folder, a test for itself.
Ends with 1 if a test failed; tests for which the time did not last have not failed, and are named.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FAILED, NONE_THERE, TIMED_OUT = 1, 5, 124  # the first two pytest's
BRANCHES = ("origin/main", "main")


def git(root: Path, *words: str) -> str:
    """What git prints; empty where it fails or is not there."""
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def changed(root: Path) -> list[str]:
    """Paths of the files that the change touched and left there, below `root`."""
    head = git(root, "rev-parse", "HEAD")
    bases = (git(root, "merge-base", branch, "HEAD") for branch in BRANCHES)
    before = git(root, "rev-parse", "--verify", "HEAD~1")
    base = next((base for base in bases if base and base != head), before)
    names = git(root, "diff", "--name-only", "--diff-filter=d", base).splitlines() if base else []
    return [name for name in names if (root / name).is_file()]


def tests_of(path: str, root: Path) -> str:
    """Where the tests of a file are, empty if nowhere: a test file, or a folder of `tests`."""
    folder, _, name = path.rpartition("/")
    if not name.endswith((".py", ".toml", ".safetensors")):
        return ""
    if folder.startswith("tests") and name.startswith("test_"):
        return path
    mirrored = "tests" if folder == "twinlatent" else folder.replace("twinlatent/", "tests/", 1)
    beside = f"{mirrored}/test_{name.removesuffix('.py')}.py"
    if folder == "twinlatent":
        return beside if (root / beside).is_file() else ""
    if folder == "examples":
        return "tests/test_examples.py"
    while mirrored.startswith("tests/") and not (root / mirrored).is_dir():
        mirrored = mirrored.rpartition("/")[0]
    return mirrored if mirrored.startswith("tests/") else ""


def targets(paths: Iterable[str], root: Path) -> list[str]:
    """Test files and folders to run, none within another, single files first."""
    found = {tests_of(path, root) for path in paths} - {""}
    alone = {test for test in found if not any(str(parent) in found for parent in Path(test).parents)}
    return sorted(alone, key=lambda test: (not test.endswith(".py"), test))


def has_slow(test: str, root: Path) -> bool:
    """Whether a test there is marked slow."""
    files = [root / test] if test.endswith(".py") else (root / test).rglob("test_*.py")
    return any("mark.slow" in path.read_text(encoding="utf-8") for path in files)


def run(tests: list[str], root: Path, seconds: float) -> int:
    """1 if a slow test of these fails, else 0; stops when the time is over."""
    end, left = time.monotonic() + seconds, list(tests)
    while left:
        words = [str(root / "scripts" / "test"), left[0], "-m", "slow", "-x", "-q"]
        patience = ["timeout", "--signal=INT", "--kill-after=20", f"{max(1.0, end - time.monotonic()):.0f}"]
        two = os.environ | {"WORKERS": os.environ.get("WORKERS", "2")}
        status = subprocess.run([*patience, *words], cwd=root, env=two, check=False).returncode
        if status == TIMED_OUT:
            print(f"slow tests: {seconds:.0f} s were not enough for {', '.join(left)}", flush=True)
            return 0
        if status not in (0, NONE_THERE):
            return FAILED
        left.pop(0)
    return 0


def main() -> None:
    tests = [test for test in targets(changed(ROOT), ROOT) if has_slow(test, ROOT)]
    print(f"slow tests of the change: {', '.join(tests) or 'none'}", flush=True)
    sys.exit(run(tests, ROOT, float(sys.argv[1])))


if __name__ == "__main__":
    main()
