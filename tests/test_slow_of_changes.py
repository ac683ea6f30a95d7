"""scripts/slow_of_changes.py: which tests a change is judged by."""

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("slow_of_changes", ROOT / "scripts" / "slow_of_changes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


def commit(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    git(folder, "add", "-A")
    git(folder, "commit", "-m", "a change")


@pytest.mark.parametrize(
    ("paths", "tests"),
    [
        (["twinlatent/attacks/steps.py", "twinlatent/attacks/balls.py"], ["tests/attacks"]),
        (["twinlatent/reproduce.py", "twinlatent/__init__.py", "README.md"], ["tests/test_reproduce.py"]),
        (["twinlatent/zoo/mnist-mim.md", "results/a.json", "scripts/test"], []),
        (["tests/attacks/test_peers.py", "tests/test_demo.py"], ["tests/attacks/test_peers.py", "tests/test_demo.py"]),
        (["tests/attacks/test_peers.py", "twinlatent/attacks/steps.py", "tests/test_demo.py"],
         ["tests/test_demo.py", "tests/attacks"]),
        (["tests/attacks/conftest.py"], ["tests/attacks"]),
        (["twinlatent/method/new/deeper.py"], ["tests/method"]),
        (["examples/02_own_classifier_attack.py"], ["tests/test_examples.py"]),
    ],
)  # fmt: skip
def test_a_file_stands_for_the_tests_that_mirror_it(script: ModuleType, paths: list[str], tests: list[str]) -> None:
    assert script.targets(paths, ROOT) == tests


def test_tests_that_are_not_slow_are_left_out(script: ModuleType) -> None:
    assert script.has_slow("tests/attacks", ROOT)
    assert script.has_slow("tests/test_reproduce.py", ROOT)
    assert not script.has_slow("tests/test_failures.py", ROOT)


def test_a_change_is_a_branch_or_the_last_commit(script: ModuleType, tmp_path: Path) -> None:
    assert script.changed(tmp_path) == [], "no git"
    git(tmp_path, "init", "-b", "main")
    commit(tmp_path, a="1", b="1")
    assert script.changed(tmp_path) == [], "nothing before"
    commit(tmp_path, a="2")
    assert script.changed(tmp_path) == ["a"]
    git(tmp_path, "checkout", "-b", "branch")
    commit(tmp_path, c="1")
    commit(tmp_path, d="1")
    (tmp_path / "c").unlink()
    commit(tmp_path)
    assert script.changed(tmp_path) == ["d"], "all of the branch, but for what is gone"


@pytest.mark.parametrize(
    ("said", "status"),
    [("exit 0", 0), ("exit 5", 0), ("exit 1", 1), ("exit 2", 1), ("sleep 9", 0), ("trap 'exit 1' INT; sleep 9", 0)],
)
def test_a_failure_counts_and_time_that_is_over_does_not(script, said: str, status: int, tmp_path: Path, capfd) -> None:
    (tmp_path / "scripts").mkdir()
    stand_in = tmp_path / "scripts" / "test"
    stand_in.write_text(f'#!/bin/sh\necho "$1" >> ran\n{said}\n', encoding="utf-8")
    stand_in.chmod(0o755)
    assert script.run(["tests/one", "tests/two"], tmp_path, 1) == status
    over = said.endswith("sleep 9")
    assert ("not enough for tests/one, tests/two" in capfd.readouterr().out) == over
    ran = (tmp_path / "ran").read_text().split()
    assert ran == (["tests/one"] if status or over else ["tests/one", "tests/two"])
