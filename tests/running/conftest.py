"""What the tests of runners share: a class of units from a user's file, what these wrote, and waiting."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from twinlatent.loading import load_object


@pytest.fixture
def unit(request, tmp_path: Path) -> Callable[..., Any]:
    """The class `Write` of the test module's `UNITS`, from a user's file that no other process knows of."""
    (tmp_path / "units.py").write_text(request.module.UNITS, encoding="utf-8")
    return load_object(f"{tmp_path / 'units.py'}:Write")  # type: ignore[return-value]


@pytest.fixture
def written() -> Callable[[Path], dict[str, str]]:
    """The text files of a folder."""
    return lambda folder: {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))}


@pytest.fixture
def patience() -> Callable[[Callable[[], bool]], None]:
    """Wait until something happens."""

    def wait(what: Callable[[], bool], seconds: float = 600) -> None:
        until = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < until, "it did not happen"
            time.sleep(0.05)

    return wait
