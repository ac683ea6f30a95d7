"""scripts/release_check.py: every fault that it looks for is found; what its last run said still holds."""

import json
import os
import re
import shutil
import sys
import tomllib
import zipfile
from collections.abc import Callable
from copy import deepcopy
from datetime import date
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import ValidationError

import twinlatent as tl
from twinlatent import zoo
from twinlatent.evaluation.results.release import LARGEST_WHEEL, ReleaseCheck

ROOT = Path(__file__).resolve().parent.parent
SAYING = ("pyproject.toml", "twinlatent/__init__.py", "CITATION.cff", "CHANGELOG.md")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MEASURED = json.loads((ROOT / "results" / "release.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def check(script_of: Callable[[str], ModuleType]) -> ModuleType:
    return script_of("release_check")


@pytest.fixture(scope="module")
def probe(script_of: Callable[[str], ModuleType]) -> ModuleType:
    return script_of("release_probe")


# --- what is there ----------------------------------------------------------------------------------------------------


def test_all_files_say_the_same_version(check: ModuleType) -> None:
    said = check.versions(ROOT)
    assert said["pyproject.toml"] == tl.__version__ == MEASURED["version"]
    assert set(said) == set(SAYING)
    assert check.faults_of_versions(said) == []
    day = said["CITATION.cff"].partition(" of ")[2]
    assert date.fromisoformat(day).isoformat() == day


@pytest.mark.parametrize("name", SAYING)
def test_another_version_is_found(name: str, check: ModuleType, tmp_path: Path) -> None:
    for path in SAYING:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    text = (tmp_path / name).read_text(encoding="utf-8")
    (tmp_path / name).write_text(text.replace(tl.__version__, "9.9.9"), encoding="utf-8")
    faults = check.faults_of_versions(check.versions(tmp_path))
    assert len(faults) == (len(SAYING) - 1 if name == "CHANGELOG.md" else 1)
    assert all("9.9.9" in fault for fault in faults)
    (tmp_path / name).write_text("", encoding="utf-8")
    assert check.versions(tmp_path)[name] == "none"
    assert check.faults_of_versions(check.versions(tmp_path))


def test_another_day_is_found(check: ModuleType) -> None:
    said = check.versions(ROOT) | {"CITATION.cff": f"{tl.__version__} of 2020-01-01"}
    assert [fault.split()[0] for fault in check.faults_of_versions(said)] == ["CITATION.cff"]


def test_the_classifiers_are_the_pythons_on_which_everything_was_tried() -> None:
    tried = {version.rpartition(".")[0] for version, what in MEASURED["pythons"].items() if what == "everything"}
    said = {found[1] for one in PROJECT["project"]["classifiers"] if (found := re.search(r":: (3\.\d+)$", one))}
    assert said == tried


def test_the_sdist_has_a_place_for_all_that_is_tracked(check: ModuleType) -> None:
    """As long as it is a checkout."""
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    patterns = [line.removeprefix("/") for line in PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]]
    always = ["pyproject.toml", "README.md", ".gitignore"]
    tops = {name.split("/")[0] for name in check.tracked()}
    assert len(tops) > 10
    assert [top for top in sorted(tops) if not any(fnmatch(top, pattern) for pattern in [*patterns, *always])] == []


def test_the_pages_of_the_outside_say_where_things_are() -> None:
    security = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert all((ROOT / link).exists() for link in re.findall(r"\]\(([^)#]+)\)", security))
    assert "http" not in security
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    keys = {"cff-version", "message", "title", "abstract", "type", "version", "date-released", "license", "keywords",
            "authors", "references"}  # fmt: skip
    assert set(re.findall(r"^([\w-]+):", citation, re.MULTILINE)) == keys
    assert PROJECT["project"]["license"] == re.search(r"^license: (.+)$", citation, re.MULTILINE)[1]  # type: ignore[index]
    assert PROJECT["project"]["keywords"] == re.findall(r"^  - ([\w ]+)$", citation, re.MULTILINE)


# --- faults -----------------------------------------------------------------------------------------------------------


def test_a_wheel_is_compared_with_what_is_tracked(check: ModuleType, tmp_path: Path) -> None:
    wheel = tmp_path / "a.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("a/b.py", "a/c.py", "a-1.dist-info/RECORD"):
            archive.writestr(name, name)
    held = check.held_by(wheel)
    assert check.faults_of_wheel(held, {"a/b.py", "a/c.py"}, LARGEST_WHEEL) == []
    assert check.faults_of_wheel(held, {"a/b.py", "a/d.py"}, LARGEST_WHEEL + 1) == [
        "the wheel has 25,000,001 bytes; at most 25,000,000 are allowed",
        "the wheel lacks 1 files: a/d.py",
        "the wheel has besides 1 files: a/c.py",
    ]
    with zipfile.ZipFile(tmp_path / "b.whl", "w") as archive:
        archive.writestr("a/b.py", "otherwise")
    assert check.held_by(tmp_path / "b.whl")["a/b.py"] != held["a/b.py"]


def test_torchvision_is_a_fault(check: ModuleType) -> None:
    assert check.faults_of_installed({"torch": "2.13.0", "numpy": "2"}) == []
    assert check.faults_of_installed({"torchvision": "0.28"}) == ["the wheel brings torchvision 0.28"]
    assert "torchvision" not in MEASURED["installed"]
    assert check.normal("Markup_Safe.x") == "markup-safe-x"


@pytest.fixture(scope="module")
def answered(probe: ModuleType) -> dict[str, Any]:
    return {"version": "1", "names": ["load"], "torchvision": False,
            "detectors": {name: probe.answers(name) for name in ("mnist-mim", "fashion-mnist5-mim")}}  # fmt: skip


def test_what_is_installed_answers_as_the_sources_do(check: ModuleType, answered: dict[str, Any]) -> None:
    verdict = answered["detectors"]["mnist-mim"]
    assert verdict["card"] is True
    assert {len(verdict[part]) for part in ("label", "adversarial", "p_value", "suspicion")} == {8}
    assert len(set(verdict["suspicion"])) == 8
    assert check.faults_of_answers(json.loads(json.dumps(answered)), answered) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda said: said.update(version="2"), "version is installed as 2, the sources say 1"),
        (lambda said: said["names"].clear(), r"names is installed as \[\], the sources say \['load'\]"),
        (lambda said: said["detectors"].pop("mnist-mim"), "mnist-mim is in the sources alone"),
        (lambda said: said["detectors"].update(more=said["detectors"]["mnist-mim"]), "more is installed alone"),
        (lambda said: said["detectors"]["mnist-mim"]["suspicion"].reverse(), "mnist-mim answers otherwise"),
        (lambda said: said["detectors"]["mnist-mim"].update(card=False), "mnist-mim answers otherwise"),
        (lambda said: said.update(torchvision=True), "torchvision is there"),
    ],
)
def test_what_is_installed_and_answers_otherwise_is_a_fault(
    change: Any, fault: str, check: ModuleType, answered: dict[str, Any]
) -> None:
    said = deepcopy(answered)
    change(said)
    (found,) = check.faults_of_answers(said, answered)
    assert re.match(fault, found)


def test_a_card_that_both_lack_is_a_fault(
    check: ModuleType, probe: ModuleType, answered: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some.md").write_text("# some\n", encoding="utf-8")
    (tmp_path / "some.safetensors").touch()
    (tmp_path / "other.safetensors").touch()
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    assert [probe.has_card(name) for name in ("some", "other")] == [True, False]
    said = deepcopy(answered)
    said["detectors"]["mnist-mim"]["card"] = False
    assert check.faults_of_answers(said, said) == ["mnist-mim has no card"]


def test_commands_see_nothing_of_the_project_and_a_failing_one_is_named(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TWINLATENT_DATA", "somewhere")
    release = check.Release(tmp_path)
    shown = json.loads(
        release.ask(sys.executable, "-c", "import json, os; print(json.dumps([os.getcwd(), {**os.environ}]))")
    )
    assert shown[0] == shown[1]["HOME"] == str(tmp_path / "away")
    assert not {"PYTHONPATH", "TWINLATENT_DATA"} & set(shown[1])
    with pytest.raises(check.Fault, match=r"-c raise SystemExit\('no'\) failed: no$"):
        release.run(sys.executable, "-c", "raise SystemExit('no')")


@pytest.mark.slow
def test_a_detector_that_the_command_does_not_list_is_a_fault(check: ModuleType, tmp_path: Path) -> None:
    bin = Path(sys.executable).parent
    check.listed(check.Release(tmp_path), bin, list(zoo.names()))
    with pytest.raises(check.Fault, match=r"^twinlatent zoo list does not show nosuch$"):
        check.listed(check.Release(tmp_path), bin, [*zoo.names(), "nosuch"])


@pytest.mark.slow
def test_what_is_imported_from_elsewhere_is_a_fault(check: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(check.Fault, match="was imported, not what is installed"):
        check.probe(check.Release(tmp_path), Path(sys.executable).parent, {})


def test_other_pythons_are_those_that_start(check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, line in (("3.11", "echo 3.11.9 x"), ("3.12", "exit 127"), ("3.13", "echo 3.13.0 /some where/python")):
        program = tmp_path / f"python{name}"
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert list(check.others("3.11.7")) == [("3.13.0", Path("/some where/python"))]


def test_faults_are_lines_and_nothing_is_written(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(release: Any) -> None:
        assert release.scratch.is_dir()
        raise check.Fault("one thing", "and another")

    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.setattr(check, "check", failing)
    assert check.main(["--out", str(tmp_path / "release.json")]) == 1
    assert capsys.readouterr().err == "release_check: one thing\nrelease_check: and another\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found["wheel"].update(bytes=LARGEST_WHEEL + 1),
        lambda found: found["pythons"].update({"3.12.1": "nothing"}),
        lambda found: found.update(tests=0),
        lambda found: found["detectors"].clear(),
    ],
)
def test_figures_of_a_bad_release_are_refused(change: Any) -> None:
    found = deepcopy(MEASURED)
    ReleaseCheck.model_validate(found)
    change(found)
    with pytest.raises(ValidationError):
        ReleaseCheck.model_validate(found)


def test_changes_without_a_version_are_found(check: ModuleType) -> None:
    text = "# Changelog\n\n## [Unreleased]\n{}\n## [0.2.0] - 2026-11-29\n\n- a\n"
    assert check.faults_of_changelog(text.format("")) == []
    assert check.faults_of_changelog(text.format("\n- b\n")) == [
        "CHANGELOG.md has unreleased changes; give them a version"
    ]
    assert check.faults_of_changelog("# Changelog\n\n## [0.2.0] - 2026-11-29\n\n- a\n") == []
