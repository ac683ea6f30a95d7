"""`twinlatent zoo`: detectors that come with the package are listed, shown, and found by their names."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from twinlatent import zoo


@pytest.fixture
def shipped(trained: Path, tmp_path: Path, monkeypatch) -> None:
    """A zoo with one detector."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    (folder / "tiny.safetensors").write_bytes((trained / "detector.safetensors").read_bytes())
    (folder / "tiny.md").write_text("# tiny\n\nReads digits [a bit].\n", encoding="utf-8")
    monkeypatch.setattr(zoo, "FOLDER", folder)


def test_the_zoo_is_listed_and_its_cards_are_shown(shipped: None, ok: Callable) -> None:
    assert re.search(r"│ tiny +│ digits +│ 10 +│ mim +│", ok("zoo", "list").out)
    assert ok("zoo", "show", "tiny").out.strip() == "# tiny\n\nReads digits [a bit]."


def test_a_detector_of_the_zoo_is_found_by_its_name(shipped: None, images: Tensor, trained: Path, ok: Callable) -> None:
    np.save("a.npy", images.numpy())
    assert ok("detect", "tiny", "a.npy", "--json") == ok("detect", trained, "a.npy", "--json")
