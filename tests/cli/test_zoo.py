"""`twinlatent zoo`: detectors that come with the package are listed, shown, and found by their names."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from twinlatent import zoo
from twinlatent.errors import TwinlatentError


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


def test_a_folder_called_like_a_shipped_detector_is_not_its_training(shipped: None, program: Callable, monkeypatch):
    asked: list[Path] = []

    def noted(*_: object, log: Path, **__: object) -> None:
        asked.append(log)
        raise TwinlatentError("enough")

    monkeypatch.setattr("twinlatent.evaluate", noted)
    Path("tiny").mkdir()
    Path("tiny/log.jsonl").write_text('{"loss_total": 1}\n', encoding="utf-8")
    assert program("evaluate", "tiny", "--no-progress").refusal == "enough"
    assert [path.exists() for path in asked] == [False]
    Path("tiny/state.safetensors").touch()
    assert "'tiny' is a shipped detector, and one of yours" in program("evaluate", "tiny", "--no-progress").refusal
    assert program("evaluate", "zoo:tiny", "--no-progress").refusal == "enough"
