"""A classifier from an ONNX file: the answers and gradients of the network it was made of, or a line that mends."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.guards.onnx_file import from_onnx

DATA = os.environ.get("TWINLATENT_DATA", "")
STRANGERS = Path(DATA, "strangers")


@pytest.mark.parametrize("batch", ["n", 1])
def test_answers_and_gradients_are_the_network_s(batch, exported, network: nn.Module, digits: Split) -> None:
    made, network = from_onnx(exported(batch)), network.eval()
    for count in (1, 5, 32):
        images = digits.test.images[:count].clone().requires_grad_()
        answers, expected = made(images), network(images)
        torch.testing.assert_close(answers, expected)
        gradients = [torch.autograd.grad(one[:, 3].square().sum(), images)[0] for one in (answers, expected)]
        assert gradients[0].abs().sum() > 0
        torch.testing.assert_close(*gradients)


def test_it_can_be_sent_to_a_worker_process(exported, digits: Split, tmp_path: Path) -> None:
    here = from_onnx(exported())
    torch.save(here, tmp_path / "given.pt")
    there = torch.load(tmp_path / "given.pt", mmap=True, weights_only=False)
    assert torch.equal(there(digits.test.images[:3]), here(digits.test.images[:3]))


def test_its_weights_are_parameters_that_are_counted_and_moved(exported, network: nn.Module) -> None:
    made = from_onnx(exported())
    trained = sum(parameter.numel() for parameter in network.parameters())
    assert sum(parameter.numel() for parameter in made.parameters()) == trained + 2  # and the shape
    assert not any(parameter.requires_grad for parameter in made.parameters())
    assert made.double()(torch.zeros(2, 1, 8, 8, dtype=torch.float64)).dtype == torch.float64
    assert made.name == "net"


def test_a_softmax_at_the_end_is_left_out_and_a_log_softmax_kept(exported, network: nn.Module, digits: Split) -> None:
    images, network = digits.test.images[:4], network.eval()
    made = from_onnx(exported("n", ("Softmax", ["logits"], "p", {})))
    torch.testing.assert_close(made(images), network(images))
    made = from_onnx(exported("n", ("LogSoftmax", ["logits"], "log p", {"axis": 1})))
    torch.testing.assert_close(made(images), network(images).log_softmax(1))


def test_its_graph_can_be_had_again_without_the_softmax(exported, digits: Split, tmp_path: Path) -> None:
    import onnx

    made, images = from_onnx(exported("n", ("Softmax", ["logits"], "p", {}))), digits.test.images[:4]
    model = made.model()
    assert [node.op_type for node in model.graph.node] == ["Conv", "Relu", "Reshape", "Gemm"]
    assert model.opset_import[0].version == 17
    for name in ("images", "logits"):  # a file says the shapes, a graph within another need not
        value = next(one for one in (*model.graph.input, *model.graph.output) if one.name == name)
        sides = ["n", 1, 8, 8] if name == "images" else ["n", 10]
        value.CopyFrom(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sides))
    onnx.save(model, tmp_path / "again.onnx")
    assert torch.equal(from_onnx(tmp_path / "again.onnx")(images), made(images))


def test_what_cannot_be_read_is_refused_in_a_line(exported, written: Callable[..., Path], tmp_path: Path) -> None:
    def refused(path: Path, line: str) -> None:
        with pytest.raises(TwinlatentError, match=line) as said:
            from_onnx(path)
        assert "\n" not in str(said.value)
        assert "net.onnx" in str(said.value)

    odd = ("Det", ["images"], "d", {}), ("LRN", ["images"], "y", {"size": 3})
    refused(written(odd, {}), r"operators that are not read here \(Det, LRN\); give .* ONNX Runtime .* attacks.bpda")
    foreign = ("Relu", ["images"], "y", {"domain": "com.example"})
    refused(written([foreign], {}), r"not read here \(Relu\)")
    pool = ("MaxPool", ["images"], "y where", {"kernel_shape": [2, 2]}), ("Cast", ["where"], "y2", {"to": 1})
    refused(written(pool, {}), "MaxPool with 2 outputs")
    relu = ("Relu", ["images"], "y", {})
    refused(written([relu], {}, inputs=("images", "mask")), r"has 2 inputs \(images, mask\)")
    refused(written([relu], {}, side=(64,)), r"input of shape \(0, 64\); export it for images")
    refused(written([relu], {}, batch=16), r"shape \(16, 1, 8, 8\); export it .* n free, or 1")
    whole = exported().read_bytes()
    (tmp_path / "net.onnx").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "net.onnx", "is no ONNX file, or a part of it is missing")
    (tmp_path / "net.onnx").unlink()
    refused(tmp_path / "net.onnx", "is no file; give the path of an .onnx file")


def test_the_extra_is_asked_for_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(TwinlatentError, match=r"a\.onnx needs the library onnx; install it: pip install '\.\[onnx\]'"):
        from_onnx(tmp_path / "a.onnx")


REAL = ("zoo-mnist-8", "edwin19-fashion_mnist", "vnncomp-cifar10-resnet_4b")


@pytest.mark.slow
@pytest.mark.skipif(not (DATA and STRANGERS.is_dir()), reason="needs the strangers' files in TWINLATENT_DATA")
@pytest.mark.parametrize("name", REAL)
def test_files_of_other_people_answer_as_the_reference_says(name: str) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
    from onnx.reference import ReferenceEvaluator

    path = STRANGERS / f"{name}.onnx"
    graph = ReferenceEvaluator(onnx.load(path))
    side = (3, 32, 32) if "cifar" in name else (1, 28, 28)
    images = torch.rand(2, *side, generator=torch.Generator().manual_seed(0))
    expected = [graph.run(None, {graph.input_names[0]: image[None].numpy()})[0] for image in images]
    torch.testing.assert_close(from_onnx(path)(images), torch.cat([torch.from_numpy(one) for one in expected]),
                               rtol=1e-4, atol=1e-4)  # fmt: skip
