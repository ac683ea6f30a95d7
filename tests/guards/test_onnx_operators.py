"""Every operator computes what onnx's own reference says, on real images; gradients go through."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from twinlatent.errors import TwinlatentError
from twinlatent.guards.onnx_operators import OPERATORS

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")

OPSET = 17
X, MATRIX = "images", "matrix"  # what a case is given first: (2, 3, 8, 8), or (2, 6)


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def whole(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


KERNEL = {"kernel_shape": [3, 3], "strides": [2, 2]}
CASES: list[tuple[str, list[Any], dict[str, Any]]] = [
    *((name, [X], {}) for name in ("Abs", "Erf", "Exp", "GlobalAveragePool", "GlobalMaxPool", "HardSwish", "Identity",
                                   "Neg", "Relu", "Shape", "Sigmoid", "Softplus", "Sqrt", "Tanh", "Dropout")),
    *((name, [X, X], {}) for name in ("Add", "Sub", "Mul")),
    ("Sum", [X, X, X], {}),
    ("Sum", [X, drawn(3, 1, 1), drawn(1)], {}),
    ("Add", [X, drawn(3, 1, 1)], {}),
    ("Div", [X, np.float32([3.0])], {}),
    ("Div", [whole(7, -7), whole(2)], {}),
    ("Pow", [X, np.float32(2)], {}),
    ("Log", [np.abs(drawn(2, 3)) + 0.1], {}),
    ("Elu", [MATRIX], {"alpha": 0.7}),
    ("LeakyRelu", [MATRIX], {}),
    ("HardSigmoid", [MATRIX], {}),
    ("PRelu", [drawn(2, 3, 2, 2), drawn(3, 1, 1)], {}),
    ("Clip", [X, np.float32(0.2), np.float32(0.6)], {}),
    ("Clip", [X, None, np.float32(0.6)], {}),
    ("Cast", [X], {"to": 7}),
    ("Constant", [], {"value_ints": [2, 3]}),
    ("Constant", [], {"value": drawn(2, 3)}),
    ("Concat", [X, X], {"axis": 1}),
    ("Conv", [X, drawn(4, 3, 3, 3), drawn(4)], {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    ("Conv", [X, drawn(6, 1, 3, 3)], {"group": 3, "dilations": [2, 2]}),
    ("Conv", [X, drawn(4, 3, 4, 4)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("Conv", [X, drawn(4, 3, 4, 4)], {"auto_pad": "SAME_LOWER"}),
    ("Conv", [X, drawn(4, 3, 5, 5)], {"auto_pad": "VALID"}),
    ("MaxPool", [X], KERNEL),
    ("MaxPool", [X], KERNEL | {"pads": [1, 1, 1, 1]}),
    ("MaxPool", [X], KERNEL | {"pads": [0, 1, 1, 0]}),
    ("MaxPool", [X], KERNEL | {"auto_pad": "SAME_UPPER"}),
    ("MaxPool", [X], KERNEL | {"ceil_mode": 1}),
    ("AveragePool", [X], KERNEL),
    ("AveragePool", [X], KERNEL | {"pads": [1, 1, 1, 1]}),
    ("AveragePool", [X], KERNEL | {"pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("AveragePool", [X], KERNEL | {"pads": [0, 1, 1, 0]}),
    ("AveragePool", [X], KERNEL | {"pads": [0, 1, 1, 0], "count_include_pad": 1}),
    ("BatchNormalization", [X, drawn(3), drawn(3), drawn(3), np.abs(drawn(3)) + 0.1], {"epsilon": 1e-3}),
    ("Gemm", [MATRIX, drawn(6, 4), drawn(4)], {"alpha": 0.5, "beta": 2.0}),
    ("Gemm", [drawn(6, 2), drawn(4, 6)], {"transA": 1, "transB": 1}),
    ("MatMul", [MATRIX, drawn(6, 4)], {}),
    ("Flatten", [X], {}),
    ("Flatten", [X], {"axis": 2}),
    ("Reshape", [X, whole(0, -1)], {}),
    ("Reshape", [X, whole(-1, 3, 64)], {}),
    ("Transpose", [X], {"perm": [0, 2, 3, 1]}),
    ("Transpose", [MATRIX], {}),
    ("Squeeze", [drawn(2, 1, 3, 1), whole(1)], {}),
    ("Squeeze", [drawn(2, 1, 3, 1)], {}),
    ("Unsqueeze", [MATRIX, whole(0, -1)], {}),
    ("ReduceMean", [X], {"axes": [2, 3], "keepdims": 0}),
    ("ReduceMean", [X], {}),
    ("Pad", [X, whole(0, 0, 1, 2, 0, 0, 3, 0), np.float32(0.5)], {}),
    ("Slice", [X, whole(0, 1), whole(1_000_000, -1), whole(2, -1), whole(2, 1)], {}),
    ("Slice", [X, whole(0, 1), whole(1, 3)], {}),
    ("Gather", [X, np.int64(-1)], {"axis": 1}),
    ("Gather", [X, np.array([[0, 2], [1, 0]])], {"axis": 1}),
    ("Softmax", [MATRIX], {}),
    ("Softmax", [X], {"axis": 1}),
    ("LogSoftmax", [MATRIX], {"axis": 1}),
]  # fmt: skip
OLDER: list[tuple[int, str, list[Any], dict[str, Any]]] = [  # attributes that are inputs by now; softmax over the rest
    (9, "Softmax", [X], {"axis": 2}),
    (9, "Slice", [X], {"starts": [1, 2], "ends": [3, 7], "axes": [1, 2]}),
    (9, "Pad", [X], {"pads": [0, 0, 1, 2, 0, 0, 3, 0], "value": 0.5}),
    (9, "Clip", [X], {"min": 0.2, "max": 0.6}),
    (9, "Unsqueeze", [MATRIX], {"axes": [0]}),
    (9, "Squeeze", [drawn(2, 1, 3)], {"axes": [1]}),
    (18, "ReduceMean", [X, whole(2, 3)], {}),
]


@pytest.fixture
def given(real_images):
    """A function: a case's inputs, real images where it says so."""

    def of(inputs: Sequence[Any]) -> list[Any]:
        known = {X: real_images(2, channels=3) * torch.tensor([1.0, 0.5, 0.7])[:, None, None], MATRIX: drawn(2, 6)}
        return [np.asarray(known[part]) if isinstance(part, str) else part for part in inputs]

    return of


def reference(opset: int, operator: str, inputs: list[Any], attributes: dict[str, Any]) -> np.ndarray:
    """What onnx's reference computes."""
    from onnx import helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    names = ["" if part is None else f"x{i}" for i, part in enumerate(inputs)]
    held = {name: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
            for name, value in attributes.items()}  # fmt: skip
    node = helper.make_node(operator, names, ["y"], **held)
    infos = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.asarray(part).dtype), None)
             for name, part in zip(names, inputs, strict=True) if name]  # fmt: skip
    graph = helper.make_graph([node], "g", infos, [helper.make_empty_tensor_value_info("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    return ReferenceEvaluator(model).run(None, {n: np.asarray(p) for n, p in zip(names, inputs, strict=True) if n})[0]


def computed(opset: int, operator: str, inputs: list[Any], attributes: dict[str, Any]) -> Tensor:
    parts = [None if part is None else torch.as_tensor(np.array(part)) for part in inputs]
    return OPERATORS[operator](parts, {**attributes, "opset": opset})


@pytest.mark.parametrize(("operator", "inputs", "attributes"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)])
def test_an_operator_computes_what_the_reference_says(operator, inputs, attributes, given) -> None:
    same(OPSET, operator, given(inputs), attributes)


@pytest.mark.parametrize(("opset", "operator", "inputs", "attributes"), OLDER, ids=[f"{c[1]}-{c[0]}" for c in OLDER])
def test_so_it_does_in_other_versions(opset, operator, inputs, attributes, given) -> None:
    if operator == "Softmax":  # the reference has the newer meaning alone
        x = given(inputs)[0]
        expected = torch.as_tensor(x).flatten(2).softmax(-1).reshape(x.shape)
        torch.testing.assert_close(computed(opset, operator, given(inputs), attributes), expected)
    else:
        same(opset, operator, given(inputs), attributes)


def same(opset: int, operator: str, inputs: list[Any], attributes: dict[str, Any]) -> None:
    expected = torch.as_tensor(np.array(reference(opset, operator, inputs, attributes)))
    found = computed(opset, operator, inputs, attributes)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_every_operator_is_tried() -> None:
    assert {case[0] for case in CASES} == set(OPERATORS)


SMOOTH = ("Conv", "MaxPool", "AveragePool", "Gemm", "BatchNormalization", "Softmax", "Pad", "Gather", "Slice")


@pytest.mark.parametrize("operator", SMOOTH)
def test_gradients_go_through(operator: str, given) -> None:
    _, inputs, attributes = next(case for case in CASES if case[0] == operator and isinstance(case[1][0], str))
    parts = [torch.as_tensor(np.array(part)) for part in given(inputs)]
    parts = [part.double() if part.is_floating_point() else part for part in parts]
    rest, kept = parts[1:], {**attributes, "opset": OPSET}
    if operator == "MaxPool":
        parts[0] = torch.as_tensor(drawn(1, 1, 5, 5)).double()  # no ties
    assert torch.autograd.gradcheck(lambda x: OPERATORS[operator]([x, *rest], kept), parts[0][:1].requires_grad_())


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "line"),
    [
        ("Conv", [drawn(1, 3, 8), drawn(2, 3, 3)], {}, "convolution has 1 dimensions"),
        ("MaxPool", [X], KERNEL | {"pads": [0, 1, 1, 0], "ceil_mode": 1}, "sizes rounded up, is not read"),
        ("Slice", [X, whole(3), whole(0), whole(2), whole(-1)], {}, "goes backwards, by -1"),
        ("Pad", [X, whole(0, 0, 1, 1, 0, 0, 1, 1)], {"mode": b"reflect"}, "another mode than constant"),
        ("Cast", [X], {"to": 8}, "element type 8"),
        ("Constant", [], {}, "sparse or empty"),
        ("AveragePool", [X], KERNEL | {"dilations": [1, 2]}, r"mean of a pool with dilations \[1, 2\] is not read"),
        ("BatchNormalization", [X, *[drawn(3)] * 4], {"training_mode": 1}, "in training mode, .* export the network"),
    ],
)
def test_what_is_not_read_ends_in_a_line(operator, inputs, attributes, line, given) -> None:
    with pytest.raises(TwinlatentError, match=line):
        computed(OPSET, operator, given(inputs), attributes)
