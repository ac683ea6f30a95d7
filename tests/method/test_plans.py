"""Notation → plan: shapes and parameter counts worked out by hand from the tables of the paper."""

import ast
import math
import re

import pytest
import torch

from twinlatent.errors import TwinlatentError
from twinlatent.method.networks import PlainNetwork
from twinlatent.method.notation import parse
from twinlatent.method.plans import Activation, BatchNorm, Conv, Deconv, Dense, Pool, parameters_of, plan

CAT_DOG = "2(c(12,32)-bn-relu-mp(2)) c(12,32)-bn-relu-z(64,64)"

ROWS = [  # notation, role, input, shapes of a sample after each layer with weights or a pool, parameters layer by layer
    (
        *("3(c(4,16)) z(8,8)", "encoder", (1, 28, 28)),
        [(16, 14, 14), (16, 7, 7), (16, 7, 7), (32,)],
        [16 * 16 + 16, 16 * 16 * 16 + 16, 16 * 16 * 16 + 16, 784 * 32 + 32],
    ),
    (
        *("d(24) d(49) 3(ct(4,16)) d(784)", "decoder", (8,)),
        [(24,), (49,), (16, 14, 14), (16, 14, 14), (16, 14, 14), (784,)],
        [8 * 24 + 24, 24 * 49 + 49, 16 * 16 + 16, 4096 + 16, 4096 + 16, 3136 * 784 + 784],
    ),
    (
        *("3(c(4,32)) z(8,8)", "encoder", (1, 28, 28)),
        [(32, 14, 14), (32, 7, 7), (32, 7, 7), (32,)],
        [16 * 32 + 32, 16 * 1024 + 32, 16 * 1024 + 32, 1568 * 32 + 32],
    ),
    (
        *("d(24) d(49) 3(ct(4,32)) d(784)", "decoder", (8,)),
        [(24,), (49,), (32, 14, 14), (32, 14, 14), (32, 14, 14), (784,)],
        [216, 1225, 16 * 32 + 32, 16 * 1024 + 32, 16 * 1024 + 32, 6272 * 784 + 784],
    ),
    (
        *(CAT_DOG, "encoder", (1, 64, 64)),
        [*[(32, 64, 64)] * 2, *[(32, 32, 32)] * 3, *[(32, 16, 16)] * 3, (256,)],
        [144 * 32 + 32, 64, 144 * 1024 + 32, 64, 144 * 1024 + 32, 64, 32 * 16 * 16 * 256 + 256],
    ),
    (
        *("d(24) d(49) 3(ct(4,64)) d(4096)", "decoder", (64,)),
        [(24,), (49,), (64, 14, 14), (64, 14, 14), (64, 14, 14), (4096,)],
        [64 * 24 + 24, 1225, 16 * 64 + 64, 16 * 4096 + 64, 16 * 4096 + 64, 12544 * 4096 + 4096],
    ),
    (
        *("c(2,20) mp(2) c(2,50) mp(2) d(500) sm(10)", "classifier", (1, 28, 28)),
        [(20, 28, 28), (20, 14, 14), (50, 14, 14), (50, 7, 7), (500,), (10,)],
        [4 * 20 + 20, 4 * 1000 + 50, 2450 * 500 + 500, 5010],
    ),
    (
        *("c(5,20) mp(2) c(5,50) mp(2) d(500) sm(5)", "classifier", (1, 28, 28)),
        [(20, 28, 28), (20, 14, 14), (50, 14, 14), (50, 7, 7), (500,), (5,)],
        [25 * 20 + 20, 25 * 1000 + 50, 2450 * 500 + 500, 2505],
    ),
    (
        *("c(5,20) mp(2) c(5,50) mp(2) d(256) sm(10)", "classifier", (1, 28, 28)),
        [(20, 28, 28), (20, 14, 14), (50, 14, 14), (50, 7, 7), (256,), (10,)],
        [520, 25050, 2450 * 256 + 256, 2570],
    ),
]


def convolutions(text: str, role: str, shape: tuple[int, ...] = (1, 16, 16)) -> list[Conv | Deconv]:
    return [operation for operation in plan(text, shape, role).operations if isinstance(operation, Conv | Deconv)]


# --- the rows of the paper ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "role", "shape", "shapes", "parameters"), ROWS, ids=[row[0] for row in ROWS])
def test_a_row_of_the_paper_has_its_shapes_and_parameters(text, role, shape, shapes, parameters) -> None:
    with torch.device("meta"):  # shapes without the numbers: a Cat & Dog decoder has 51 million
        network = PlainNetwork(plan(text, shape, role))
        x = torch.zeros(2, *shape)
    seen = []
    for operation, layer in zip(network.plan.operations, network.layers, strict=True):
        x = layer(x)
        if isinstance(operation, Conv | Deconv | Dense | Pool | BatchNorm):
            seen.append(tuple(x.shape[1:]))
    assert seen == shapes
    assert network.plan.output_shape == shapes[-1]
    counts = [sum(p.numel() for p in layer.parameters()) for layer in network.layers]
    assert [count for count in counts if count] == parameters


def test_sizes_the_documentation_speaks_of() -> None:
    def size(text: str, role: str, shape: tuple[int, ...]) -> int:
        return sum(math.prod(shape) for _, _, shape in parameters_of(plan(text, shape, role)))

    assert size("3(c(4,16)) z(8,8)", "encoder", (1, 28, 28)) == 33_616  # "about 35 k"
    assert size("d(24) d(49) 3(ct(4,16)) d(784)", "decoder", (8,)) == 2_469_345  # "2.5 M"


@pytest.mark.parametrize(("text", "role", "shape"), [row[:3] for row in ROWS])
def test_parameters_of_a_plan_are_those_of_its_network(text, role, shape) -> None:
    resolved = plan(text, shape, role)
    with torch.device("meta"):
        built = {name: tuple(value.shape) for name, value in PlainNetwork(resolved).named_parameters()}
    assert {f"layers.{index}.{name}": shape for index, name, shape in parameters_of(resolved)} == built


# --- layers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "role", "shape"), [row[:3] for row in ROWS])
def test_printing_a_network_gives_its_notation_back(text, role, shape) -> None:
    spec = parse(text)
    assert str(spec) == text
    assert parse(str(spec)) == spec
    with torch.device("meta"):
        network = PlainNetwork(plan(spec, shape, role))
    assert repr(network) == str(network) == text


@pytest.mark.parametrize(
    ("text", "role", "strides"),
    [
        ("4(c(3,4)) z(2,2)", "encoder", [2, 2, 1, 1]),
        ("2(c(3,4) mp(2)) z(2,2)", "encoder", [1, 1]),
        ("c(3,4) c(3,4) mp(2) c(3,4) z(2,2)", "encoder", [1, 1, 1]),
        ("c(4,16,1) c(3,4) c(3,4) z(2,2)", "encoder", [1, 2, 1]),
        ("c(4,4,3) mp(2) c(3,4,2) z(2,2)", "encoder", [3, 2]),
        ("c(3,4) c(3,4) sm(3)", "classifier", [1, 1]),
        ("c(3,4,2) c(3,4) sm(3)", "classifier", [2, 1]),
    ],
)
def test_strides_of_convolutions(text: str, role: str, strides: list[int]) -> None:
    assert [operation.stride for operation in convolutions(text, role)] == strides


@pytest.mark.parametrize(
    ("text", "strides"),
    [
        ("d(9) 3(ct(4,2)) d(36)", [2, 1, 1]),
        ("d(9) ct(4,2,1) ct(4,2) ct(4,2,3) d(36)", [1, 1, 3]),
        ("d(9) ct(3,2) c(3,2) d(36)", [2, 1]),
    ],
)
def test_strides_of_decoders(text: str, strides: list[int]) -> None:
    assert [operation.stride for operation in convolutions(text, "decoder", (4,))] == strides


def names_of(text: str, role: str, shape: tuple[int, ...]) -> list[str]:
    operations = plan(text, shape, role).operations
    return [op.name if isinstance(op, Activation) else type(op).__name__ for op in operations]


@pytest.mark.parametrize(
    ("text", "role", "shape", "expected"),
    [
        ("c(3,4) z(2,2)", "encoder", (1, 8, 8), "Conv relu Reshape Dense"),
        ("c(3,4)-relu z(2,2)", "encoder", (1, 8, 8), "Conv relu Reshape Dense"),
        ("c(3,4)-bn-relu-mp(2) z(2,2)", "encoder", (1, 8, 8), "Conv BatchNorm Pool relu Reshape Dense"),
        ("c(3,4)-bn z(2,2)", "encoder", (1, 8, 8), "Conv BatchNorm Reshape Dense"),
        ("d(5) z(2,2)", "encoder", (1, 8, 8), "Reshape Dense relu Dense"),
        ("d(5)-bn-relu z(2,2)", "encoder", (1, 8, 8), "Reshape Dense BatchNorm relu Dense"),
        ("c(3,4) mp(2) d(5) sm(3)", "classifier", (1, 8, 8), "Conv Pool relu Reshape Dense relu Dense"),
        ("d(5) d(9) ct(3,4) d(36)", "decoder", (2,),
         "Dense leaky Dense leaky Reshape Deconv relu Reshape Dense sigmoid"),
        ("d(9)-bn-relu ct(3,4)-relu d(36)", "decoder", (2,),
         "Dense BatchNorm relu Reshape Deconv relu Reshape Dense sigmoid"),
        ("d(36)", "decoder", (2,), "Dense sigmoid"),
    ],
)  # fmt: skip
def test_activations_are_implied_once(text: str, role: str, shape: tuple[int, ...], expected: str) -> None:
    assert names_of(text, role, shape) == expected.split()


def test_only_an_encoder_has_latents() -> None:
    assert plan("c(3,4) z(2,3)", (1, 8, 8), "encoder").latent == (2, 3)
    assert plan("c(3,4) z(2,3)", (1, 8, 8), "encoder").output_shape == (10,)
    assert plan("d(64)", (2,), "decoder").latent is None


# --- the bar ------------------------------------------------------------------------------------------------------

HALVES = [  # notation, operations before the bar, shape there, operations after it
    ("c(3,4) | z(2,2)", "Conv relu Reshape", (64,), "Dense"),
    ("c(3,4) d(9) | z(2,2)", "Conv relu Reshape Dense relu", (9,), "Dense"),
    ("c(3,4) | c(3,5) z(2,2)", "Conv relu", (4, 4, 4), "Conv relu Reshape Dense"),
    ("c(3,4) | d(5) z(2,2)", "Conv relu Reshape", (64,), "Dense relu Dense"),
    ("c(3,4) | bn-relu-z(2,2)", "Conv", (4, 4, 4), "BatchNorm relu Reshape Dense"),
    ("c(3,4)-bn-relu-mp(2) | z(2,2)", "Conv BatchNorm Pool relu Reshape", (64,), "Dense"),
    ("c(3,4) | mp(2) z(2,2)", "Conv relu", (4, 8, 8), "Pool Reshape Dense"),
    ("d(5) | bn d(4) z(2,2)", "Reshape Dense", (5,), "BatchNorm Dense relu Dense"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "shared", "shape", "own"), HALVES, ids=[row[0] for row in HALVES])
def test_a_bar_cuts_a_plan_in_two(text: str, shared: str, shape: tuple[int, ...], own: str) -> None:
    """Of the same operations as without it; what flattens for a dense layer is done once."""
    whole = plan(text, (1, 8, 8), "encoder")
    trunk, head = whole.trunk, whole.head

    def names(operations) -> list[str]:
        return [op.name if isinstance(op, Activation) else type(op).__name__ for op in operations]

    assert (names(trunk.operations), names(head.operations)) == (shared.split(), own.split())
    assert trunk.operations + head.operations == whole.operations
    assert trunk.input_shape == (1, 8, 8)
    assert trunk.output_shape == head.input_shape == whole.shared_shape == shape
    assert (trunk.latent, head.latent, head.output_shape) == (None, (2, 2), (8,))
    assert trunk.shared == head.shared == 0
    if "| mp" not in text:  # pooling goes before a ReLU only on its own side of a bar
        assert plan(text.replace("|", ""), (1, 8, 8), "encoder").operations == whole.operations


def test_without_a_bar_the_head_is_the_whole() -> None:
    whole = plan("c(3,4) z(2,2)", (1, 8, 8), "encoder")
    assert whole.head is whole
    assert whole.shared == 0


# --- what is wrong is named ---------------------------------------------------------------------------------------

ENCODER, DECODER, CLASSIFIER = ("encoder", (1, 8, 8)), ("decoder", (4,)), ("classifier", (1, 8, 8))

BAD = [  # notation, role and input, the token named, its column, a piece of the complaint
    ("c(4,16) q(3) z(8,8)", ENCODER, "q", 9, "known are c, cv, ct"),
    ("C(4,16) z(8,8)", ENCODER, "C(4,16)", 1, "is no layer"),
    ("(c(4,16)) z(8,8)", ENCODER, "(c(4,16))", 1, "is no layer"),
    ("c(4,16)+z(8,8)", ENCODER, "+z(8,8)", 8, "is no layer"),
    ("c(4,16) 3 z(8,8)", ENCODER, "3", 9, "is no layer"),
    ("bn c(4) z(8,8)", ENCODER, "c(4)", 4, "takes 2 or 3 numbers, not 1"),
    ("c(4,16,1,1) z(8,8)", ENCODER, "c(4,16,1,1)", 1, "takes 2 or 3 numbers, not 4"),
    ("c z(8,8)", ENCODER, "c", 1, "takes 2 or 3 numbers, not 0"),
    ("bn(3) z(8,8)", ENCODER, "bn(3)", 1, "takes 0 numbers, not 1"),
    ("c() z(8,8)", ENCODER, "c()", 1, "positive whole numbers"),
    ("c(4,-1) z(8,8)", ENCODER, "c(4,-1)", 1, "positive whole numbers"),
    ("bn c(0,16) z(8,8)", ENCODER, "c(0,16)", 4, "positive whole numbers"),
    ("c(4,1.5) z(8,8)", ENCODER, "c(4,1.5)", 1, "positive whole numbers"),
    ("bn-c(4,x) z(8,8)", ENCODER, "c(4,x)", 4, "positive whole numbers"),
    ("bn 3(c(4,16) z(8,8)", ENCODER, "3(", 4, "never closed"),
    ("2(bn 3(c(4,16)) z(8,8)", ENCODER, "2(", 1, "never closed"),
    ("c(4,16)) z(8,8)", ENCODER, ")", 8, "never opened"),
    ("0(c(4,16)) z(8,8)", ENCODER, "0(...)", 1, "at least one layer"),
    ("bn 3() z(8,8)", ENCODER, "3(...)", 4, "at least one layer"),
    ("bn 5000(bn) z(8,8)", ENCODER, "5000(...)", 4, "1000 at most"),
    ("99(99(bn)) z(8,8)", ENCODER, "99(...)", 1, "1000 at most"),
    ("c(4,16) d(3)", ENCODER, "d", 9, "must end in z"),
    ("c(4,16) sm(10)", ENCODER, "sm", 9, "must end in z"),
    ("c(4,16) z(8,8)", CLASSIFIER, "z", 9, "must end in sm"),
    ("d(24) sm(64)", DECODER, "sm", 7, "must end in d"),
    ("bn z(8,8) d(4) z(8,8)", ENCODER, "z", 4, "may only stand at the end"),
    ("c(3,4) sm(3) z(8,8)", ENCODER, "sm", 8, "may only stand at the end"),
    ("d(24) d(10) ct(3,4) d(64)", DECODER, "ct", 13, "needs a square map, not 10"),
    ("d(9) ct(1,4) d(64)", DECODER, "ct", 6, "smaller than its stride 2"),
    ("d(9) ct(2,4,3) d(64)", DECODER, "ct", 6, "smaller than its stride 3"),
    ("c(3,4) mp(9) z(1,1)", ENCODER, "mp(9)", 8, "larger than its"),
    ("c(3,4) z(1,1)", ("encoder", (1, 8, 9)), "c", 1, "would pad the sides of 8×9 unlike; give images whose sides"),
    ("  c(4,16)   d(3)", ENCODER, "d", 13, "must end in z"),
    ("d(9)\n\n  ct(1,4) d(64)", DECODER, "ct", 9, "smaller than its stride"),
    ("| z(8,8)", ENCODER, "|", 1, "must stand between layers"),
    ("c(4,16) |", ENCODER, "|", 9, "must stand between layers"),
    ("c(4,16) | - ", ENCODER, "|", 9, "must stand between layers"),
    ("|", ENCODER, "|", 1, "must stand between layers"),
    ("c(4,16) | d(5) | z(8,8)", ENCODER, "|", 16, "may stand only once"),
    ("c(4,16) || z(8,8)", ENCODER, "|", 9, "must stand between layers"),
    ("2(c(4,16) | c(4,16)) z(8,8)", ENCODER, "|", 11, "may not stand inside a bracket"),
    ("c(4,16) | 2(d(4) | d(5)) z(8,8)", ENCODER, "|", 18, "may not stand inside a bracket"),
    ("c(4,16)) | z(8,8)", ENCODER, ")", 8, "never opened"),
    ("c(4,16) | z(8,8))", ENCODER, ")", 17, "never opened"),
    ("2(c(4,16) | z(8,8)", ENCODER, "|", 11, "may not stand inside a bracket"),
    ("c(4,16) | q z(8,8)", ENCODER, "q", 11, "known are c, cv, ct"),
    ("c(4,16)|q(2) z(8,8)", ENCODER, "q", 9, "known are c, cv, ct"),
    ("c(4,16) | z(8,8) d(3)", ENCODER, "d", 18, "must end in z"),
    ("z(8,8) | z(8,8)", ENCODER, "z", 1, "may only stand at the end"),
    ("c(3,4) | mp(9) z(1,1)", ENCODER, "mp(9)", 10, "larger than its"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "where", "token", "column", "complaint"), BAD, ids=[row[0] for row in BAD])
def test_the_token_and_its_column_are_named(text, where, token, column, complaint) -> None:
    role, shape = where
    with pytest.raises(TwinlatentError) as caught:
        plan(text, shape, role)
    message = str(caught.value)
    assert "\n" not in message
    assert complaint in message
    found = re.match(r"network (?P<text>'.*'): (?P<token>'.*') at column (?P<column>\d+) ", message)
    assert found, message
    quoted, named = ast.literal_eval(found["text"]), ast.literal_eval(found["token"])
    assert named == token
    begins = named.removesuffix("...)")
    assert quoted[int(found["column"]) - 1 :].startswith(begins), "the column is one of the text that is quoted"
    if quoted == text:
        assert int(found["column"]) == column


@pytest.mark.parametrize(("text", "role"), [("d(5) | d(64)", "decoder"), ("c(3,4) | sm(3)", "classifier")])
def test_only_an_encoder_has_a_bar(text: str, role: str) -> None:
    with pytest.raises(TwinlatentError, match=r"only an encoder has layers before a bar; this is a (de|cl)"):
        plan(text, (4,) if role == "decoder" else (1, 8, 8), role)


@pytest.mark.parametrize(
    "text",
    ["c(" + "9" * 5000 + ",3) z(1,1)", "9" * 5000 + "(bn) z(1,1)", "1(" * 3000 + "bn" + ")" * 3000, "1(" * 3000],
    ids=["huge argument", "huge repetition", "deep nesting", "deep and open"],
)
def test_absurd_notations_are_refused_like_any_other(text: str) -> None:
    with pytest.raises(TwinlatentError):
        plan(text, (1, 8, 8), "encoder")
