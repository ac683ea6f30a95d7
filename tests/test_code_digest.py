"""The digest of the code changes with what is computed, and with nothing else."""

import shutil
from pathlib import Path

import pytest

from twinlatent.code_digest import MEASURING, PACKAGE, code_digest, code_identity


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package's attacks and criteria, to be changed."""
    shutil.copytree(PACKAGE / "attacks", tmp_path / "attacks", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PACKAGE / "criteria.py", tmp_path)
    return tmp_path


PARTS = ("attacks", "criteria")


def digest(folder: Path) -> str:
    code_digest.cache_clear()
    return code_digest(PARTS, folder)


def test_a_copy_has_the_same_digest(copy: Path) -> None:
    assert digest(copy) == code_digest(PARTS, PACKAGE)


@pytest.mark.parametrize("name", ["attacks/steps.py", "criteria.py"])
def test_another_number_in_the_code_is_other_code(copy: Path, name: str) -> None:
    before, path = digest(copy), copy / name
    path.write_text(path.read_text() + "\nEXTRA = 1\n")
    first = digest(copy)
    path.write_text(path.read_text().replace("EXTRA = 1", "EXTRA = 2"))
    assert len({before, first, digest(copy)}) == 3


def test_comments_docstrings_and_layout_are_no_code(copy: Path) -> None:
    before, path = digest(copy), copy / "attacks/steps.py"
    first, rest = path.read_text().split("\n", 1)
    assert first.startswith('"""')
    path.write_text(f'"""Other words."""\n# a comment\n\n\n{rest}')
    assert digest(copy) == before


def test_a_module_that_moves_is_other_code(copy: Path) -> None:
    before = digest(copy)
    (copy / "attacks/steps.py").rename(copy / "attacks/stairs.py")
    assert digest(copy) != before


def test_the_identity_names_the_libraries_that_compute() -> None:
    found = code_identity()
    assert found["code"] == code_digest(MEASURING)
    assert found["torch"].startswith("2.")
    assert "unknown" not in found.values()
