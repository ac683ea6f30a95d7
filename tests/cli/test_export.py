"""`twinlatent export`, and `twinlatent detect` of what it writes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

import twinlatent as tl


@pytest.fixture(autouse=True)
def libraries() -> None:
    for name in ("onnx", "onnxruntime"):
        pytest.importorskip(name, reason="needs the extra export")


def test_a_detector_is_written_and_used(trained: Path, images: Tensor, ok: Callable) -> None:
    np.save("six.npy", images.numpy())
    said = ok("export", trained, "--onnx", "new/d.onnx", "--fpr", "0.05", "--fpr", "0.1").text
    assert said.startswith("new/d.onnx: ONNX opset 18, 0.")
    assert said.endswith("images (n, 1, 8, 8) in [0, 1] -> label, suspicion, p_value, adversarial (false-positive "
                         "rate 0.05, 0.1)")  # fmt: skip
    for fpr in ("0.05", "0.1"):
        both = [[json.loads(line) for line in ok("detect", model, "six.npy", "--json", "--fpr", fpr).out.splitlines()]
                for model in (trained, "new/d.onnx")]  # fmt: skip
        assert [row["label"] for row in both[0]] == [row["label"] for row in both[1]]
        assert [row["adversarial"] for row in both[0]] == [row["adversarial"] for row in both[1]]
        assert [row["suspicion"] for row in both[1]] == pytest.approx([row["suspicion"] for row in both[0]], abs=1e-3)
    assert "six.npy[5]" in ok("detect", "new/d.onnx", "six.npy").text


def test_under_other_rules(trained: Path, ok: Callable) -> None:
    ok("export", trained, "--onnx", "d.onnx", "--label-rule", "density", "--score", "joint", "--thresholds", "together")
    held = tl.OnnxDetector("d.onnx").metadata
    assert (held["label_rule"], held["score"], held["thresholds"]) == ("density", "joint", "together")


def test_bad_input_gets_one_line(trained: Path, images: Tensor, ok: Callable, program: Callable) -> None:
    np.save("six.npy", images.numpy())
    ok("export", trained, "--onnx", "d.onnx")
    Path("locked").mkdir()
    Path("text.onnx").write_text("no graph")
    Path("file").write_text("")
    for words, line in (
        (("export", trained, "--onnx", "d.onnx"), "d.onnx is there already; give another --onnx, or --force"),
        (("export", trained, "--onnx", "d.bin"), "d.bin does not end in .onnx"),
        (("export", trained, "--onnx", "file/d.onnx"), "file"),
        (("export", trained, "--onnx", "e.onnx", "--fpr", "2"), "fpr is 2.0"),
        (("export", trained, "--onnx", "e.onnx", "--fpr", ".1", "--fpr", ".1"), "fpr 0.1 is given twice"),
        (("export", "d.onnx", "--onnx", "e.onnx"), "d.onnx is an ONNX file"),
        (("export", "nosuch", "--onnx", "e.onnx"), "'nosuch'"),
        (("detect", "d.onnx", "six.npy", "--fpr", ".2"), "fpr 0.2 is none of those that the file was exported for"),
        (("detect", "d.onnx", "six.npy", "--device", "cuda:0"), ""),
        (("detect", "d.onnx", "six.npy", "--classifier", "a.py:b"), "leave --classifier out"),
        (("detect", "text.onnx", "six.npy"), "text.onnx is no ONNX file that ONNX Runtime can run"),
        (("detect", "gone.onnx", "six.npy"), "gone.onnx is no file"),
        (("evaluate", "d.onnx"), "d.onnx is an ONNX file"),
    ):
        refusal = program(*words).refusal
        assert refusal, words
        assert line in refusal
    assert not Path("e.onnx").exists()
    ok("export", trained, "--onnx", "d.onnx", "--force", "--fpr", "0.1")
    assert tl.OnnxDetector("d.onnx").fprs == (0.1,)


def test_where_nothing_may_be_written_a_line_says_so(trained: Path, program: Callable) -> None:
    Path("/proc/self").exists() or pytest.skip("needs a file system that refuses")
    done = program("export", trained, "--onnx", "/proc/d.onnx")
    assert "/proc" in done.refusal
