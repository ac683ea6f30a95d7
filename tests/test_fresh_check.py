"""scripts/fresh_check.py: what commands say is read, what fails is shown, and nothing of ours reaches them."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def check(script_of: Callable[[str], ModuleType]) -> ModuleType:
    return script_of("fresh_check")


@pytest.mark.parametrize(
    ("line", "numbers"),
    [
        ("================= 7178 passed, 29 skipped in 294.01s (0:04:54) =================", [7178, 29]),
        ("=========== 12 passed in 3.1s ===========", [12, 0]),
    ],
)
def test_the_last_line_of_the_tests_is_read(line: str, numbers: list[int], check: ModuleType) -> None:
    assert check.found(f"...\n{line}\n", check.TESTS, "tests") == numbers


def test_what_the_site_says_is_read(check: ModuleType, script_of, tmp_path: Path, capsys, monkeypatch) -> None:
    site = script_of("site_check")
    (tmp_path / "index.html").write_text('<a href="other.html">a</a><a href="https://example.org">b</a>')
    monkeypatch.setattr(sys, "argv", ["site_check", str(tmp_path)])
    assert site.main() == 1
    assert "other.html, which is not there" in capsys.readouterr().err
    (tmp_path / "other.html").write_text('<a href="index.html">a</a>')
    assert site.main() == 0
    assert check.found(capsys.readouterr().out, check.SITE, "the site") == [2, 2]


def test_a_command_that_says_nothing_of_it_or_fails_ends_it(check: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"nothing is said of tests: \.\.\.1 failed"):
        check.found("1 failed", check.TESTS, "tests")
    with pytest.raises(SystemExit, match=r"(?s)ls nowhere ends with [12]: ...ls: .*nowhere"):
        check.done("ls nowhere", tmp_path, check.newcomer(tmp_path))


def test_nothing_of_ours_reaches_a_newcomer(check: ModuleType, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TWINLATENT_DATA", "/somewhere")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("VENV", "/somewhere")
    variables = check.newcomer(tmp_path)
    assert "/somewhere" not in variables.values()
    assert variables["XDG_CACHE_HOME"] == str(tmp_path)
    assert "PATH" in variables
