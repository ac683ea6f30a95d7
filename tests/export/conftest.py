"""What the tests of exports share: a real session of ONNX Runtime for a graph."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor


@pytest.fixture(autouse=True)
def libraries() -> None:
    for name in ("onnx", "onnxruntime"):
        pytest.importorskip(name, reason="needs the extra export")


@pytest.fixture
def run() -> Callable[..., Tensor]:
    """A function: what ONNX Runtime computes of one value of a graph, for images or what else it is given."""
    import onnxruntime

    def computed(graph, value: str, images: Tensor, kind: str = "FLOAT") -> Tensor:
        graph.add("Identity", value, called="wanted")
        model = graph.model(images.shape[1:], {"wanted": (kind, None)}, {})
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return torch.from_numpy(session.run(["wanted"], {"images": images.numpy()})[0])

    return computed
