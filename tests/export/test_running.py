"""A detector from its file: verdicts of any images, and one line for what is none."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import twinlatent as tl
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.method.detector import Detector


@pytest.fixture
def file(trained_detector: Detector, tmp_path: Path) -> Path:
    return tl.to_onnx(trained_detector, tmp_path / "a.onnx", [0.05, 0.2]).path


def test_it_says_what_it_is(file: Path, trained_detector: Detector) -> None:
    for given in (file, str(file), file.read_bytes()):
        exported = tl.OnnxDetector(given)
        assert exported.class_names == trained_detector.class_names
        assert (exported.image_shape, exported.fprs) == ((1, 8, 8), (0.05, 0.2))
        assert exported.metadata["method"] == "twinlatent"


@pytest.mark.parametrize("count", [0, 1, 31, 33])
def test_a_verdict_does_not_depend_on_what_comes_with_the_image(count: int, file: Path, digits: Split) -> None:
    exported, images = tl.OnnxDetector(file), digits.test.images[:40]
    whole, some = exported.detect(images), exported.detect(images[:count])
    assert torch.equal(some.suspicion, whole.suspicion[:count])
    assert torch.equal(some.adversarial, whole.adversarial[:count])
    assert (some.label.dtype, some.p_value.dtype) == (torch.int64, torch.float32)


def test_any_number_of_images_goes_at_once_without_our_chunks(file: Path, digits: Split) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    wanted = tl.OnnxDetector(file).detect(digits.test.images[:100])
    for count in (0, 1, 100):
        label, suspicion, _, flagged = session.run(None, {"images": digits.test.images[:count].numpy()})
        assert torch.equal(torch.from_numpy(label), wanted.label[:count])
        np.testing.assert_allclose(suspicion, wanted.suspicion[:count], rtol=1e-4, atol=1e-4)
        assert flagged.shape == (count, 2)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -0.01, 1.01, 255])
def test_what_is_no_image_is_flagged_by_the_graph(wrong: float, file: Path, digits: Split) -> None:
    import onnxruntime

    images = digits.test.images[:3].clone()
    images[1, 0, 4, 4] = wrong
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    _, _, p_value, flagged = session.run(None, {"images": images.numpy()})
    before = tl.OnnxDetector(file).detect(digits.test.images[:3])
    assert p_value[1] == 0
    assert flagged[1].all()
    assert p_value[[0, 2]].tolist() == before.p_value[[0, 2]].tolist()
    assert flagged[[0, 2], 0].tolist() == before.adversarial[[0, 2]].tolist()


@pytest.mark.parametrize(
    ("images", "line"),
    [
        (torch.zeros(2, 1, 9, 9), "9"),
        (torch.full((2, 1, 8, 8), 255.0), "255"),
        (torch.full((2, 1, 8, 8), torch.nan), "NaN"),
    ],
)
def test_images_are_refused_as_by_the_detector(
    images: Tensor, line: str, file: Path, trained_detector: Detector
) -> None:
    lines = []
    for one in (tl.OnnxDetector(file), trained_detector):
        with pytest.raises(TwinlatentError, match=line) as said:
            one.detect(images)
        lines.append(str(said.value))
    assert lines[0] == lines[1]


def test_other_rates_are_refused(file: Path, digits: Split) -> None:
    exported = tl.OnnxDetector(file)
    with pytest.raises(TwinlatentError, match=r"fpr 0\.1 is none .* exported for \(0\.05, 0\.2\); .* --fpr 0\.1"):
        exported.detect(digits.test.images[:1], fpr=0.1)
    assert exported.check(0.2) == 1


def test_files_that_are_no_detector_are_refused(file: Path, tmp_path: Path) -> None:
    import onnx

    def refused(line: str) -> None:
        with pytest.raises(TwinlatentError, match=line) as said:
            tl.OnnxDetector(file)
        assert "\n" not in str(said.value)
        assert "a.onnx" in str(said.value)

    whole, model = file.read_bytes(), onnx.load(file)
    file.write_bytes(whole[: len(whole) // 2])
    refused("is no ONNX file that ONNX Runtime can run")
    file.write_bytes(b"")
    refused("is no ONNX file that ONNX Runtime can run")
    for changes, line in (({"class_names": "[3"}, "says too little of itself"),
                          ({"twinlatent": "99"}, "a detector's of format 99, not 1; export"),
                          ({"fpr": "0.5"}, "says too little of itself")):  # fmt: skip
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        for prop in changed.metadata_props:
            prop.value = changes.get(prop.key, prop.value)
        onnx.save(changed, file)
        refused(line)
    del model.metadata_props[:]
    onnx.save(model, file)
    refused("is an ONNX file, but no detector's; export the detector with twinlatent export")
    file.unlink()
    refused(r"is no file; give the path of an \.onnx file")


def test_the_extra_is_asked_for_where_it_is_missing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(TwinlatentError, match=r"need the library onnxruntime; install it: pip install '\.\[export\]'"):
        tl.OnnxDetector(file)


def test_loading_it_as_a_detector_says_what_takes_it(file: Path) -> None:
    with pytest.raises(TwinlatentError, match=r"a\.onnx is an ONNX file, which gives verdicts alone"):
        tl.load(file)
