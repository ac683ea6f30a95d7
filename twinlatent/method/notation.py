"""The paper's notation of networks (Tables 5 and 7): `"3(c(4,16)) z(8,8)"`.

    c(k,n)   convolution, kernel k×k, n filters, ReLU       ct(k,n)  transposed convolution, ReLU
    cv(k,n)  the same without padding (not the paper's)
    mp(s)    max pooling s×s                                d(n)     dense, n units
    sm(n)    dense, n logits of a softmax                   z(a,b)   dense, means and log-variances of z_r and z_v
    bn       batch normalisation                            relu     ReLU
    3(...)   the bracket three times, nestable              -, space separate layers; both may be left out
    ramp(n)  each value becomes n, each rising from 0 to 1 between two values that are learned (not the paper's)
    |        what stands before it is there once for all classes, what follows once a class (not the paper's)

Convolutions but `cv` pad 'same'; `mp` drops what is left over. The notation has no strides; ours, a choice after
a widely used MNIST autoencoder: without `mp` the first two convolutions have stride 2, the first transposed one has
stride 2, all others 1. `c(k,n,s)`, `cv(k,n,s)` and `ct(k,n,s)` state a stride themselves. The ReLU that `c` implies is
left to an explicit `bn` or `relu` that follows it.

A `NetworkSpec` is the parsed text; `plans` resolves it for an input shape.
"""

import re
from dataclasses import dataclass

from twinlatent.errors import TwinlatentError


@dataclass(frozen=True)
class Token:
    """One layer of the notation: its `name`, its integer `arguments`, its `place` in the text (0-based)."""

    name: str
    arguments: tuple[int, ...]
    place: int


@dataclass(frozen=True)
class NetworkSpec:
    """A parsed network. `str()` gives the text back; `tokens` has every repetition written out.

    The first `shared` tokens stand before a bar: all classes share them. 0: there is no bar.
    """

    text: str
    tokens: tuple[Token, ...]
    shared: int = 0

    def __str__(self) -> str:
        return self.text


_ARGUMENTS = {
    "c": (2, 3),
    "cv": (2, 3),
    "ct": (2, 3),
    "mp": (1,),
    "d": (1,),
    "sm": (1,),
    "z": (2,),
    "bn": (0,),
    "relu": (0,),
    "ramp": (1,),
}
_LEXEME = re.compile(r"(?P<repeat>\d+)\s*\(|(?P<name>[a-z]+)\s*(?:\((?P<arguments>[^()]*)\))?|(?P<close>\))")
_MAX_LAYERS, _MAX_DEPTH, _MAX_DIGITS = 1000, 20, 7


def parse(text: str) -> NetworkSpec:
    """Parse the paper's notation.

    Raises:
        TwinlatentError: naming the token that is wrong and its place (1-based column).

    >>> [token.name for token in parse("2(c(3,8)-bn-relu) z(4,4)").tokens]
    ['c', 'bn', 'relu', 'c', 'bn', 'relu', 'z']
    """
    text = " ".join(text.split())
    tokens, place = _sequence(text, 0, depth=0)
    shared = 0
    if text[place : place + 1] == "|":
        shared, bar = len(tokens), place
        own, place = _sequence(text, bar + 1, depth=0)
        if not shared or not own:
            raise notation_error(text, bar, "|", "must stand between layers")
        tokens += own
    if place != len(text):
        complaint = "closes a bracket that was never opened" if text[place] == ")" else "may stand only once"
        raise notation_error(text, place, text[place], complaint)
    if not tokens:
        raise TwinlatentError("the network notation is empty; write layers such as 'c(4,16) z(8,8)'")
    return NetworkSpec(text, tuple(tokens), shared)


def _sequence(text: str, place: int, depth: int) -> tuple[list[Token], int]:
    """Read layers from `place` to the end, to a bar or to the bracket that closes `depth`; return them and where they
    end."""
    if depth > _MAX_DEPTH:
        raise notation_error(text, place, _word(text, place), f"is nested deeper than {_MAX_DEPTH} brackets")
    tokens: list[Token] = []
    while True:
        place = _skip_separators(text, place)
        if place == len(text) or text[place] in ")|":
            return tokens, place
        found = _LEXEME.match(text, place)
        if found is None:
            raise notation_error(text, place, _word(text, place), "is no layer")
        if found["repeat"]:
            body, end = _sequence(text, found.end(), depth + 1)
            if end == len(text):
                raise notation_error(text, place, found[0], "opens a bracket that is never closed")
            if text[end] == "|":
                raise notation_error(text, end, "|", "may not stand inside a bracket")
            tokens += _repeated(text, place, found["repeat"], body)
            place = end + 1
        else:
            tokens.append(_token(text, place, found["name"], found["arguments"]))
            place = found.end()


def _repeated(text: str, place: int, digits: str, body: list[Token]) -> list[Token]:
    times = int(digits[:_MAX_DIGITS])
    if times < 1 or not body or times * len(body) > _MAX_LAYERS:
        raise notation_error(
            text,
            place,
            f"{digits[:_MAX_DIGITS]}(...)",
            f"must repeat at least one layer, and give {_MAX_LAYERS} at most",
        )
    return body * times


def _token(text: str, place: int, name: str, arguments: str | None) -> Token:
    if name not in _ARGUMENTS:
        raise notation_error(text, place, name, f"is no layer; known are {', '.join(_ARGUMENTS)}")
    words = [word.strip() for word in arguments.split(",")] if arguments is not None else []
    whole = f"{name}({arguments})" if arguments is not None else name
    if not all(word.isdecimal() and len(word) <= _MAX_DIGITS and int(word) > 0 for word in words):
        raise notation_error(text, place, whole[:20], f"takes positive whole numbers of up to {_MAX_DIGITS} digits")
    if len(words) not in _ARGUMENTS[name]:
        raise notation_error(
            text, place, whole, f"takes {' or '.join(map(str, _ARGUMENTS[name]))} numbers, not {len(words)}"
        )
    return Token(name, tuple(map(int, words)), place)


def _skip_separators(text: str, place: int) -> int:
    while place < len(text) and (text[place].isspace() or text[place] == "-"):
        place += 1
    return place


def _word(text: str, place: int) -> str:
    return re.split(r"[\s|-]", text[place:], maxsplit=1)[0][:20]


def notation_error(text: str, place: int, token: str, complaint: str) -> TwinlatentError:
    """An error about `token` of the notation `text`, at `place` (0-based)."""
    return TwinlatentError(f"network {text!r:.300}: {token!r:.60} at column {place + 1} {complaint}")
