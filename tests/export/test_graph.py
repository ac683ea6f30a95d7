"""A graph while it is made."""

import sys

import pytest
import torch

from twinlatent.errors import TwinlatentError
from twinlatent.export.graph import OPSET, Graph


def test_names_are_given_once_and_constants_kept(run) -> None:
    graph = Graph()
    x = graph.add("Add", "images", torch.tensor(1.0))
    y = graph.add("Add", x, torch.tensor(2.0))
    assert x != y
    assert torch.equal(run(graph, y, torch.zeros(3, 1, 1, 1)), torch.full((3, 1, 1, 1), 3.0))


def test_a_model_within_keeps_its_names_apart_and_can_raise_the_opset(run) -> None:
    import onnx

    inner = Graph()
    inner.add("Relu", "images", called="Add_0")
    held = inner.model((1, 1, 1), {"Add_0": ("FLOAT", None)}, {})
    held.opset_import[0].version = OPSET + 1
    before = held.SerializeToString()
    graph = Graph()
    x = graph.add("Add", "images", torch.tensor(-2.0), called="Add_0")
    y = graph.include(held, x, "inner/")
    assert (y, graph.opset) == ("inner/Add_0", OPSET + 1)
    assert held.SerializeToString() == before
    assert run(graph, y, torch.tensor([1.0, 5]).view(2, 1, 1, 1)).flatten().tolist() == [0, 3]
    assert isinstance(held, onnx.ModelProto)


def test_the_extra_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(TwinlatentError, match=r"need the library onnx; install it: pip install '\.\[export\]'"):
        Graph()
