"""Ways to write a network, and what the text is read as; bad notations are in test_plans.py."""

import pytest

from twinlatent.errors import TwinlatentError
from twinlatent.method.notation import NetworkSpec, parse


def tokens_of(spec: NetworkSpec) -> list[tuple[str, tuple[int, ...]]]:
    return [(token.name, token.arguments) for token in spec.tokens]


@pytest.mark.parametrize(
    "text",
    [
        "3(c(4,16))z(8,8)",
        "3(c(4,16)) z(8,8)",
        "3 ( c( 4 , 16 ) ) - z (8,8)",
        "c(4,16)c(4,16)c(4,16)z(8,8)",
        "c(4,16) - 2(c(4,16)-)-z(8,8)",
        "1(2(c(4,16)) 1(c(4,16))) z(8,8)",
        "\n c(4,16)\t2(c(4,16))\n z(8,8) ",
    ],
)
def test_ways_to_write_the_same_network(text: str) -> None:
    assert tokens_of(parse(text)) == [("c", (4, 16))] * 3 + [("z", (8, 8))]
    assert tokens_of(parse(str(parse(text)))) == tokens_of(parse(text))


def test_brackets_nest() -> None:
    once = [("c", (3, 4)), ("bn", ()), ("relu", ()), ("bn", ()), ("relu", ()), ("mp", (2,))]
    assert tokens_of(parse("3(c(3,4) 2(bn-relu) mp(2))")) == once * 3


def test_tokens_know_their_place() -> None:
    text = "c(4,16)-bn 2(relu)z(8,8)"
    assert [text[token.place :].startswith(token.name) for token in parse(text).tokens] == [True] * 5
    assert [token.place for token in parse(text).tokens] == [0, 8, 13, 13, 18]


@pytest.mark.parametrize("text", ["", "   ", " - - \n"])
def test_an_empty_notation_is_refused(text: str) -> None:
    with pytest.raises(TwinlatentError, match="empty"):
        parse(text)


# --- the bar ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "2(c(4,16)) | z(8,8)",
        "c(4,16)c(4,16)|z(8,8)",
        "c(4,16) - c(4,16) - | - z(8,8)",
        "\n2 ( c(4,16) )\n|\n z(8,8) ",
    ],
)
def test_what_stands_before_a_bar_is_shared(text: str) -> None:
    spec = parse(text)
    assert spec.shared == 2
    assert tokens_of(spec) == [("c", (4, 16))] * 2 + [("z", (8, 8))]
    assert str(spec) == " ".join(text.split())
    assert parse(str(spec)).shared == 2


@pytest.mark.parametrize("text", ["c(4,16) z(8,8)", "2(2(bn)) z(1,1)"])
def test_without_a_bar_nothing_is_shared(text: str) -> None:
    assert parse(text).shared == 0


def test_repetitions_before_a_bar_count_written_out() -> None:
    spec = parse("2(c(3,4) 2(bn-relu)) d(9) | 2(d(5)) z(2,2)")
    assert spec.shared == 11
    assert [token.name for token in spec.tokens[spec.shared :]] == ["d", "d", "z"]
