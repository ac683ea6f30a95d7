"""What the tests of guards share: a small classifier of the digits, and a way to write it as an ONNX file."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlatent.data import Split

IMAGES, LOGITS = "images", "logits"


@pytest.fixture(scope="session")
def fitted(digits: Split) -> nn.Sequential:
    """Nineteen in twenty right; read only: `network` is a copy."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(128, 10))
        optimiser = torch.optim.Adam(made.parameters(), 0.01)
        for step in range(120):
            batch = digits.train.subset(torch.arange(100 * step, 100 * (step + 1)) % len(digits.train))
            optimiser.zero_grad()
            F.cross_entropy(made(batch.images), batch.labels).backward()
            optimiser.step()
    return made


@pytest.fixture
def network(fitted: nn.Sequential) -> nn.Sequential:
    """A classifier in training mode, as people hand it over, with dropout."""
    return copy.deepcopy(fitted)


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """A function: an ONNX file of nodes (operator, inputs, output, attributes) and weights, for `batch` images."""
    onnx = pytest.importorskip("onnx", reason="needs the extra onnx")

    def write(
        nodes: Sequence[tuple[str, list[str], str, dict[str, Any]]],
        weights: dict[str, Tensor],
        batch: int | str = "n",
        inputs: Sequence[str] = (IMAGES,),
        side: Sequence[int] = (1, 8, 8),
    ) -> Path:
        kind = onnx.TensorProto.FLOAT
        made = [
            onnx.helper.make_node(operator, given, output.split(), **more) for operator, given, output, more in nodes
        ]
        held = [onnx.numpy_helper.from_array(tensor.detach().numpy(), name) for name, tensor in weights.items()]
        infos = [onnx.helper.make_tensor_value_info(name, kind, [batch, *side]) for name in inputs]
        answer = onnx.helper.make_tensor_value_info(nodes[-1][2].split()[0], kind, [batch, 10])
        graph = onnx.helper.make_graph(made, "g", infos, [answer], held)
        path = tmp_path / "net.onnx"
        onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]), path)
        return path

    return write


@pytest.fixture
def exported(fitted: nn.Sequential, written: Callable[..., Path]) -> Callable[..., Path]:
    """A function: `network` as an ONNX file, for `batch` images, with more nodes after its logits."""

    def export(batch: int | str = "n", *more: tuple[str, list[str], str, dict[str, Any]]) -> Path:
        convolution, dense = fitted[0], fitted[4]
        shape = torch.tensor([1, 128] if batch == 1 else [-1, 128])  # as graphs of one image have it
        weights = {"k": convolution.weight, "b": convolution.bias, "w": dense.weight, "c": dense.bias, "shape": shape}
        nodes = [
            ("Conv", [IMAGES, "k", "b"], "maps", {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
            ("Relu", ["maps"], "positive", {}),
            ("Reshape", ["positive", "shape"], "flat", {}),
            ("Gemm", ["flat", "w", "c"], LOGITS, {"transB": 1}),
        ]
        return written([*nodes, *more], weights, batch)

    return export
