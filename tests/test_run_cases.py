"""scripts/run_cases.py: a folder of small inputs, and which of them fail."""

import importlib.util
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "run_cases.py"


@pytest.fixture(scope="module")
def cases() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_cases", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("said", "rule", "fault"),
    [
        ("all is well\n", {}, ""),
        ("twinlatent: x.png: ValueError: no; run again with --debug\n", {}, ""),
        ("fit: TwinlatentError: give one more\n", {}, ""),
        ("Traceback (most recent call last):\n", {}, "prints a traceback"),
        ("Traceback (most recent call last):\n  ...\ntwinlatent.errors.TwinlatentError: give logits\n", {}, ""),
        ("detect: RuntimeError: mat1 and mat2\n", {}, "an exception that is not ours"),
        ("safetensors_rust.SafetensorError: full\n", {}, ""),
        ("twinlatent: " + "x" * 500, {}, "a line of 512 letters"),
        ("accuracy 0.9\n", {"has": ["^accuracy 0\\.[5-9]"]}, ""),
        ("accuracy 0.0\n", {"has": ["^accuracy 0\\.[5-9]"]}, "lacks"),
        ("accuracy 0.0\n", {"lacks": ["0\\.0"]}, "has"),
        ("", {"status": 1}, "ends with status 0, not 1"),
    ],
)
def test_what_a_case_says_is_judged(cases: ModuleType, said: str, rule: dict, fault: str) -> None:
    if said.startswith("safetensors_rust"):
        fault = "an exception that is not ours"
    faults = cases.faults_of(said, 0, rule)
    assert len(faults) == bool(fault)
    assert all(found.startswith(fault) for found in faults)


def test_the_rule_is_that_of_the_whole_number(cases: ModuleType) -> None:
    rules = {"b0": {"status": 9}, "b01": {"status": 1}, "b01_other": {"status": 2}}
    found = [cases.rule_for(name, rules).get("status") for name in ("b01_names.sh", "b01_other.sh", "b02.sh", "b0.py")]
    assert found == [1, 2, None, 9]


def test_the_rules_are_patterns(cases: ModuleType) -> None:
    rules = tomllib.loads(cases.RULES.read_text(encoding="utf-8"))
    assert len(rules) >= 21
    assert {key for rule in rules.values() for key in rule} <= {"has", "lacks", "status"}
    assert all(isinstance(cases.faults_of("", 0, rule), list) for rule in rules.values())


def test_a_folder_is_run_and_what_fails_is_named(cases: ModuleType, tmp_path: Path, monkeypatch, capsys) -> None:
    for name, text in (
        ("a.sh", "echo well"),
        ("b.py", "raise ValueError('no')"),
        ("_c.sh", "exit 1"),
        ("README.md", ""),
    ):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(sys, "argv", ["run_cases.py", str(tmp_path)])
    assert cases.main() == 1
    said = capsys.readouterr().out
    assert said.startswith("a.sh: right\nb.py: FAILS\n    prints a traceback\n")
    assert said.endswith("1 of 2 right\nstill fails: b.py\n")
    monkeypatch.setattr(sys, "argv", ["run_cases.py", str(tmp_path), "a"])
    assert cases.main() == 0


def test_a_case_that_takes_too_long_is_ended_with_all_it_started(cases: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "slow.sh").write_text("echo begun; sleep 60 & wait")
    said, status = cases.run(tmp_path / "slow.sh", patience=0.3)
    assert (said, status) == ("begun\n", None)
    assert cases.faults_of(said, status, {}) == ["takes too long"]
