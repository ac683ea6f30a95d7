"""The code of docs/guarding_a_classifier.md runs as it stands, with a small classifier."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import twinlatent as tl

PAGE = Path(__file__).resolve().parent.parent / "docs" / "guarding_a_classifier.md"


@pytest.mark.slow
def test_its_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: tl.data.Split, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    means = torch.stack([digits.train.images[digits.train.labels == c].mean(0).flatten() for c in range(10)])
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with torch.no_grad():
        network[1].weight.copy_(20 * means)
        network[1].bias.copy_(-10 * means.square().sum(1))
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {"network": network}
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), names)
    assert isinstance(names["again"], tl.Guarded)
    assert names["again"].fingerprint == names["guarded"].fingerprint  # type: ignore[attr-defined]
    assert "Sequential on digits, 359 test images" in capsys.readouterr().out
