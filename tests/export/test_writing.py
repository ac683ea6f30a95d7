"""From a detector to a file: what is in it, what is refused, and that it answers as the detector does."""

import json
import os
from pathlib import Path

import pytest
import torch

import twinlatent as tl
from twinlatent import zoo
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.export import writing
from twinlatent.export.graph import OPSET, Graph
from twinlatent.method.detector import Detector

WHOLE = 10_000


def test_the_file_says_what_goes_in_and_out_and_where_it_comes_from(trained_detector: Detector, tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    written = tl.to_onnx(trained_detector, tmp_path / "new" / "a.onnx", [0.05, 0.2])
    assert (written.opset, written.fprs) == (OPSET, (0.05, 0.2))
    model = onnx.load(written.path)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", OPSET)]
    session = onnxruntime.InferenceSession(str(written.path), providers=["CPUExecutionProvider"])
    assert [(one.name, one.shape, one.type) for one in (*session.get_inputs(), *session.get_outputs())] == [
        ("images", ["batch", 1, 8, 8], "tensor(float)"),
        ("label", ["batch"], "tensor(int64)"),
        ("suspicion", ["batch"], "tensor(float)"),
        ("p_value", ["batch"], "tensor(float)"),
        ("adversarial", ["batch", 2], "tensor(bool)"),
    ]
    held = session.get_modelmeta().custom_metadata_map
    assert json.loads(held["class_names"]) == list(trained_detector.class_names)
    assert json.loads(held["card"]) == json.loads(json.dumps(trained_detector.card))
    assert json.loads(held["fpr"]) == [0.05, 0.2]
    assert held["fingerprint"] == trained_detector.fingerprint
    assert (held["label_rule"], held["score"], held["thresholds"]) == ("ratio", "ratio", "each_class")


@pytest.mark.parametrize(
    ("fpr", "line"),
    [
        (1.5, "fpr is 1.5; give a rate between 0 and 1"),
        (1e-6, "fpr 1e-06 is finer than the calibration images can tell"),
        ([0.1, 0.1], "fpr 0.1 is given twice"),
        ([], "fpr names no rate"),
        ("often", "fpr is often; give a number"),
    ],
)
def test_rates_that_cannot_be_are_refused(fpr, line: str, trained_detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(TwinlatentError, match=line):
        tl.to_onnx(trained_detector, tmp_path / "a.onnx", fpr)
    assert list(tmp_path.iterdir()) == []


def test_places_where_no_file_can_be_are_refused(trained_detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(TwinlatentError, match=r"a\.bin does not end in \.onnx"):
        tl.to_onnx(trained_detector, tmp_path / "a.bin")
    (tmp_path / "b.onnx").mkdir()
    with pytest.raises(TwinlatentError, match=r"b\.onnx is a folder; name a file"):
        tl.to_onnx(trained_detector, tmp_path / "b.onnx")


def test_a_graph_that_answers_otherwise_is_not_written(
    trained_detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what was at its place stays."""
    (tmp_path / "a.onnx").write_bytes(b"before")
    usual = Graph.add

    def wrong(graph: Graph, operator: str, *inputs, **more) -> str:
        return usual(graph, "Identity" if operator == "Relu" else operator, *inputs, **more)

    monkeypatch.setattr(Graph, "add", wrong)
    with pytest.raises(TwinlatentError, match="ONNX Runtime does not answer as twinlatent does, so nothing"):
        tl.to_onnx(trained_detector, tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["a.onnx"]


def test_what_a_caller_has_set_changes_nothing(trained_detector: Detector, tmp_path: Path) -> None:
    tl.to_onnx(trained_detector, tmp_path / "a.onnx")
    torch.set_default_dtype(torch.float64)
    state = torch.random.get_rng_state()
    try:
        with torch.inference_mode():
            tl.to_onnx(trained_detector, tmp_path / "b.onnx")
    finally:
        torch.set_default_dtype(torch.float32)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert torch.equal(torch.random.get_rng_state(), state)


def differences(detector: Detector, images: torch.Tensor, path: Path) -> dict[str, float]:
    """How ONNX Runtime's verdicts differ from the detector's at the rates 0.05 and 0.01."""
    fprs = [0.05, 0.01] if detector.calibration.finest_fpr < 0.01 else [0.05, 0.02]
    tl.to_onnx(detector, path, fprs)
    exported, both = tl.OnnxDetector(path), []
    for fpr in fprs:
        wanted, found = detector.detect(images, fpr), exported.detect(images, fpr)
        far = (found.suspicion - wanted.suspicion).abs() / wanted.suspicion.abs().clamp_min(1)
        both.append({"labels": (found.label != wanted.label).sum().item(), "suspicion": far.max().item(),
                     "flags": (found.adversarial != wanted.adversarial).sum().item()})  # fmt: skip
        finest = wanted.p_value
    counts = 1 / detector.calibration.finest_fpr
    worst = {name: max(one[name] for one in both) for name in both[0]}
    return {**worst, "p-values off": ((found.p_value - finest).abs() > 0.5 / counts).double().mean().item()}


@pytest.mark.parametrize("name", zoo.names())
def test_shipped_detectors_answer_noise_alike(name: str, tmp_path: Path) -> None:
    detector = zoo.load(f"zoo:{name}")
    images = torch.rand(8, *detector.image_shape, generator=torch.Generator().manual_seed(1))
    said = differences(detector, images, tmp_path / "a.onnx")
    assert (said["labels"], said["flags"]) == (0, 0)
    assert said["suspicion"] <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.names())
def test_shipped_detectors_answer_all_test_images_alike(name: str, tmp_path: Path) -> None:
    """10,000 of MNIST: labels and flags are equal, suspicion within 1e-4 of its size, or of 1 where it is smaller."""
    detector = zoo.load(f"zoo:{name}")
    try:
        split: Split = tl.data.load(detector.card["data"]["name"], progress=False, fetch=False)
    except TwinlatentError:
        pytest.skip("its images are not here")
    said = differences(detector, split.test.images[:WHOLE], tmp_path / "a.onnx")
    assert (said["labels"], said["flags"]) == (0, 0)
    assert said["suspicion"] <= 1e-4
    assert said["p-values off"] < 0.01
    assert name.startswith("mnist-") is (len(split.test) == WHOLE)


def test_the_allowed_difference_is_a_share_of_size_and_spread() -> None:
    def verdict(label: list[int], suspicion: list[float]) -> tl.Verdict:
        n = torch.tensor(label), torch.zeros(len(label), dtype=torch.bool)
        return tl.Verdict(*n, torch.tensor(suspicion), torch.ones(len(label)))

    benign = torch.tensor([-1.0, 1.0])
    wanted = verdict([1, 1, 1, 1], [0.0, 0.0, 100.0, 0.0])
    found = verdict([1, 1, 1, 2], [0.0009, 0.0011, 100.09, 0.0])
    assert writing._same(wanted, found, benign).tolist() == [True, False, True, False]
