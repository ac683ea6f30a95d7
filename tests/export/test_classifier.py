"""A guarded classifier becomes part of the graph: from its file as it was, from PyTorch by PyTorch's exporter."""

import copy
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import twinlatent as tl
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.export.graph import OPSET
from twinlatent.method.detector import Detector
from twinlatent.method.networks import build_classifier


@pytest.fixture(scope="module")
def network(digits: Split) -> nn.Sequential:
    """The nearest mean image as a linear classifier, with a layer that means something in evaluation mode alone."""
    means = torch.stack([digits.train.images[digits.train.labels == c].mean(0).flatten() for c in range(10)])
    made = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(64, 10))
    with torch.no_grad():
        made[2].weight.copy_(4 * means)
        made[2].bias.copy_(-2 * means.square().sum(1))
    return made


@pytest.fixture
def in_file(network: nn.Sequential, tmp_path: Path) -> Callable[..., Path]:
    """A function: the same classifier as an ONNX file of an opset, for `batch` images."""
    import onnx

    def write(opset: int = 13, batch: str | int = "n", operator: str = "Softmax") -> Path:
        weights = {"w": network[2].weight, "b": network[2].bias, "shape": torch.tensor([0, -1])}
        held = [onnx.numpy_helper.from_array(value.detach().numpy(), name) for name, value in weights.items()]
        nodes = [onnx.helper.make_node("Reshape", ["images", "shape"], ["flat"]),
                 onnx.helper.make_node("Gemm", ["flat", "w", "b"], ["logits"], transB=1),
                 onnx.helper.make_node(operator, ["logits"], ["p"])]  # fmt: skip
        ends = [onnx.helper.make_tensor_value_info(name, 1, [batch, *sides])
                for name, sides in (("images", (1, 8, 8)), ("p", (10,)))]  # fmt: skip
        graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
        path = tmp_path / "net.onnx"
        onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)]), path)
        return path

    return write


def same_verdicts(guarded: tl.Guarded, images: Tensor, path: Path) -> None:
    wanted, found = guarded.detect(images), tl.OnnxDetector(path).detect(images)
    assert torch.equal(found.label, wanted.label)
    assert torch.equal(found.adversarial, wanted.adversarial)
    torch.testing.assert_close(found.suspicion, wanted.suspicion, rtol=1e-4, atol=1e-4)
    assert wanted.label.unique().numel() > 5


@pytest.mark.parametrize("opset", [9, 13, OPSET, OPSET + 2])
def test_a_classifier_in_a_file_is_taken_as_it_is(opset: int, in_file, digits: Split, tmp_path: Path) -> None:
    guarded = tl.rejecting(in_file(opset), digits)
    written = tl.to_onnx(guarded, tmp_path / "a.onnx")
    assert written.opset == max(opset, OPSET)
    same_verdicts(guarded, digits.test.images[:100], tmp_path / "a.onnx")


def test_one_of_ours_is_exported_layer_by_layer(digits: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ours = build_classifier("c(3,4) mp(2) d(16) sm(10)", digits.image_shape).eval()
    with torch.no_grad():
        list(ours.parameters())[-1].sub_(ours(digits.train.images[:100]).mean(0))  # not all get the same label
    guarded = tl.rejecting(ours, digits)
    tl.to_onnx(guarded, tmp_path / "a.onnx")
    same_verdicts(guarded, digits.test.images[:100], tmp_path / "a.onnx")


def test_it_stands_beside_our_suspicion(in_file, trained_detector: Detector, digits: Split, tmp_path: Path) -> None:
    guarded = tl.guard(in_file(), digits, trained_detector)
    tl.to_onnx(guarded, tmp_path / "a.onnx")
    same_verdicts(guarded, digits.test.images[:100], tmp_path / "a.onnx")
    other = guarded.with_score("vulnerable")
    tl.to_onnx(other, tmp_path / "a.onnx")
    same_verdicts(other, digits.test.images[:100], tmp_path / "a.onnx")


def test_a_graph_of_one_image_is_refused(in_file, digits: Split, tmp_path: Path) -> None:
    guarded = tl.rejecting(in_file(batch=1), digits)
    with pytest.raises(TwinlatentError, match=r"net\.onnx takes one image at a time"):
        tl.to_onnx(guarded, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["module", "double", "normalised", "function"])
def test_a_module_is_exported_by_torch(
    kind: str, network: nn.Sequential, trained_detector: Detector, digits: Split, tmp_path: Path, capfd
) -> None:
    pytest.importorskip("onnxscript", reason="needs the extra export")
    given = {"module": network, "double": copy.deepcopy(network).double(),
             "normalised": tl.Normalised(network, 0.0, 1.0), "function": lambda x: network(x)}[kind]  # fmt: skip
    mode, level = network.training, logging.getLogger("torch.onnx").level
    guarded = tl.guard(given, digits, trained_detector)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        written = tl.to_onnx(guarded, tmp_path / "a.onnx")
    assert written.opset == OPSET
    assert capfd.readouterr() == ("", "")
    same_verdicts(guarded, digits.test.images[:100], tmp_path / "a.onnx")
    assert (network.training, logging.getLogger("torch.onnx").level) == (mode, level)


@pytest.mark.slow
def test_what_torch_cannot_export_is_refused_in_a_line(network: nn.Sequential, digits: Split, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="needs the extra export")

    def branches(images: Tensor) -> Tensor:
        return network(images) if float(images.detach().sum()) > 0 else network(images + 1)

    guarded = tl.rejecting(branches, digits)
    with pytest.raises(TwinlatentError, match=r"PyTorch cannot export branches .* guard that") as said:
        tl.to_onnx(guarded, tmp_path / "a.onnx")
    assert "\n" not in str(said.value)
    assert not (tmp_path / "a.onnx").exists()


def test_onnxscript_is_asked_for_where_it_is_missing(
    network: nn.Sequential, digits: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded = tl.rejecting(network, digits)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(TwinlatentError, match=r"need the library onnxscript; install it: pip install '\.\[export\]'"):
        tl.to_onnx(guarded, tmp_path / "a.onnx")
