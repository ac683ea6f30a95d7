"""The code of docs/look.md runs as it stands."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import twinlatent as tl
from twinlatent.attacks.results import PAIRS
from twinlatent.showing import SHOWN

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "look.md").read_text(encoding="utf-8")


def test_its_code_draws_what_it_says(
    trained_detector: tl.Detector,
    digits: tl.data.Split,
    make_full_run: Callable[..., tl.Report],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    images, labels = digits.test.images[:3], digits.test.labels[:3]
    names = {"tl": tl, "detector": trained_detector, "images": images, "labels": labels, "report": make_full_run()}
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    exec(compile(block, "look.md", "exec"), names)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["attack.png", "report.png", "verdict.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())
    assert f"first {SHOWN} images" in PAGE
    assert f"the first {PAIRS}," in PAGE
