"""The code of docs/export.md runs as it stands, and its tables name what is in the file."""

import json
import re
from pathlib import Path

import pytest

import twinlatent as tl

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "export.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def libraries() -> None:
    for name in ("onnx", "onnxruntime"):
        pytest.importorskip(name, reason="needs the extra export")


def test_its_code_runs_and_its_tables_are_true(
    trained_detector: tl.Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: tl.data.Split
) -> None:
    import onnxruntime

    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"detector": trained_detector, "images": digits.test.images[:10]}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        exec(compile(block, "export.md", "exec"), names)
    assert (names["adversarial"][:, 0] == names["verdict"].adversarial.numpy()).all()  # type: ignore[index,attr-defined]
    session = onnxruntime.InferenceSession("detector.onnx")
    said = re.findall(r"^\| (in|out) \| `(\w+)` \| (\w+) \| \(([^)]*)\)", PAGE, re.MULTILINE)
    there = [(kind, one.name, one.type, len(one.shape)) for kind, values in
             (("in", session.get_inputs()), ("out", session.get_outputs())) for one in values]  # fmt: skip
    kinds = {"float32": "tensor(float)", "int64": "tensor(int64)", "bool": "tensor(bool)"}
    assert [(kind, name, kinds[type_], len(shape.split(", "))) for kind, name, type_, shape in said] == there
    held = session.get_modelmeta().custom_metadata_map
    rows = re.findall(r"^\| (`.*?`) \| (.*) \|$", PAGE[PAGE.index("| key |") :], re.MULTILINE)
    keys = {key: text.startswith("JSON") for row, text in rows for key in re.findall(r"`(\w+)`", row)}
    assert set(keys) == set(held)
    for key, in_json in keys.items():
        if in_json:
            json.loads(held[key])
