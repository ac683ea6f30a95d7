"""twinlatent.provenance: every number says where it comes from, and "unknown" where that cannot be found out."""

import json
import platform
import re
import shutil
import socket
import subprocess
import sys
import types
from datetime import UTC, datetime
from importlib import import_module, metadata

import pytest
from pydantic import ValidationError

module = import_module("twinlatent.provenance")  # not `import ... as`: the function has the module's name
Provenance, provenance = module.Provenance, module.provenance

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository of one commit that holds the package, which `provenance` takes for its own."""
    (tmp_path / "twinlatent").mkdir()
    file = tmp_path / "twinlatent" / "provenance.py"
    file.write_text("first\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    monkeypatch.setattr(module, "__file__", str(file))
    return tmp_path


def git(folder, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_it_survives_json() -> None:
    found = provenance()
    assert Provenance.model_validate(json.loads(found.model_dump_json())) == found


def test_it_is_frozen_and_closed() -> None:
    found = provenance()
    with pytest.raises(ValidationError, match="frozen"):
        found.commit = "another"
    with pytest.raises(ValidationError, match="Extra inputs"):
        Provenance(**found.model_dump(), more="x")


def test_the_date_is_today_in_utc() -> None:
    before = datetime.now(UTC).date().isoformat()
    date = provenance().date
    assert before <= date <= datetime.now(UTC).date().isoformat()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", date)


def test_the_machine_is_a_kind_of_machine_not_its_name() -> None:
    machine = provenance().machine
    assert platform.python_version() in machine
    assert re.search(r"\d+ cores", machine)
    assert socket.gethostname() not in machine


def test_versions_are_those_installed() -> None:
    versions = provenance().versions
    assert set(versions) == {"twinlatent", "torch", "numpy", "scikit-learn"}
    assert versions["torch"] == metadata.version("torch")


def test_a_library_that_is_not_installed_has_an_unknown_version(monkeypatch) -> None:
    monkeypatch.setattr(module, "LIBRARIES", ("numpy", "no-such-library"))
    assert provenance().versions == {"numpy": metadata.version("numpy"), "no-such-library": "unknown"}


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["/home/someone/venv/bin/twinlatent", "train", "--rounds", "600"], "twinlatent train --rounds 600"),
        (["/home/someone/twinlatent/__main__.py", "demo"], "python -m twinlatent demo"),
        (["twinlatent", "train", "a folder", "3(c(4,16)) z(8,8)"], "twinlatent train 'a folder' '3(c(4,16)) z(8,8)'"),
        (["-c"], "python -c"),
        ([""], "python"),
        (["-"], "python -"),
        (
            ["/home/someone/scripts/mine.py", "--out=/home/someone/x", "-o/home/someone/y", "C:\\Users\\me\\z"],
            "mine.py --out=x -oy z",
        ),
        (["/usr/lib/ipykernel_launcher.py", "-f", "/home/someone/kernel-7.json"], "interactive Python"),
        (["/usr/lib/ipykernel/__main__.py", "-f", "/home/someone/kernel-7.json"], "interactive Python"),
        (["/opt/colab_kernel_launcher.py", "-f", "/root/k.json"], "interactive Python"),
        (["twinlatent", "train", "folder:caf\udce9"], "twinlatent train 'folder:caf\\udce9'"),
    ],
)
def test_the_command_can_be_typed_again_and_names_no_folder_of_the_program(monkeypatch, argv, command) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    assert provenance().command == command


def test_at_a_prompt_there_is_no_command(monkeypatch) -> None:
    for name, shell in (("ps1", ">>> "), ("argv", ["x.py"])):
        with monkeypatch.context() as patch:
            patch.setattr(sys, name, shell, raising=False)
            kernel = types.ModuleType("IPython")
            kernel.get_ipython = lambda here=name: object() if here == "argv" else None
            patch.setitem(sys.modules, "IPython", kernel)
            assert provenance().command == "interactive Python"


def test_a_module_is_called_by_its_name(monkeypatch) -> None:
    spec = types.SimpleNamespace(name="mine.tool", origin="/home/someone/mine/tool.py")
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", spec)
    monkeypatch.setattr(sys, "argv", ["/home/someone/mine/tool.py", "x"])
    assert provenance().command == "python -m mine.tool x"
    monkeypatch.setattr(sys, "argv", ["/home/someone/other.py"])
    assert provenance().command == "other.py"


@needs_git
def test_the_commit_of_a_clean_tree(repository) -> None:
    assert provenance().commit == git(repository, "rev-parse", "--short=12", "HEAD")


@needs_git
def test_a_changed_package_is_marked(repository) -> None:
    (repository / "twinlatent" / "provenance.py").write_text("second\n")
    assert provenance().commit == git(repository, "rev-parse", "--short=12", "HEAD") + "+"


@needs_git
def test_results_written_beside_the_package_are_no_change_of_it(repository) -> None:
    (repository / "results").mkdir()
    (repository / "results" / "r.json").write_text("{}")
    assert not provenance().commit.endswith("+")


@needs_git
def test_a_repository_without_a_commit(tmp_path, monkeypatch) -> None:
    git(tmp_path, "init", "--quiet")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "twinlatent" / "provenance.py"))
    assert provenance().commit == "unknown"


def test_outside_a_repository_the_commit_is_unknown(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "__file__", str(tmp_path / "twinlatent" / "provenance.py"))
    assert provenance().commit == "unknown"


def test_without_git_the_commit_is_unknown(tmp_path, monkeypatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(module, "__file__", str(tmp_path / "twinlatent" / "provenance.py"))
    monkeypatch.setenv("PATH", "")
    assert provenance().commit == "unknown"
