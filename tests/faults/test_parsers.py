"""Whatever a parser is given, it reads it or says in one line what is wrong; and what was written is read again.

Examples are drawn by Hypothesis, the same ones each time. A test ends early where its time is over.
"""

import csv
import functools
import gzip
import io
import json
import struct
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from twinlatent.data.arrays import npy_of, read_npz
from twinlatent.data.boxes import COLUMNS, _from_table
from twinlatent.data.idx import read_idx
from twinlatent.errors import TwinlatentError
from twinlatent.method.checkpoints import load_tensors, save_tensors
from twinlatent.method.detector import Detector
from twinlatent.method.file_header import read_header
from twinlatent.method.game_state import GameSettings
from twinlatent.method.notation import parse
from twinlatent.method.plans import plan
from twinlatent.serve.app import create_app
from twinlatent.serve.settings import ServeSettings
from twinlatent.settings import as_toml, flat, override

EXAMPLES, SECONDS = 50, 3.0
"""Of each test, at most."""
AT_LEAST = 10
"""Examples of each, however slow the machine."""
LONGEST = 1000
LETTERS = "ct(m3p,8 )d|z-bnrelu0v"
"""Of which most of the paper's notation is made."""
CALM = settings(derandomize=True, database=None, deadline=None, max_examples=EXAMPLES)


def limited(test: Callable[..., None]) -> Callable[..., None]:
    """Let examples that come when the time is over pass unseen, but for the first ones."""
    began: list[float] = []

    @functools.wraps(test)
    def run(*given_: Any, **named: Any) -> None:
        began.append(time.monotonic())
        if len(began) <= AT_LEAST or began[-1] - began[0] < SECONDS:
            test(*given_, **named)

    return run


def read_or_refused(read: Callable[[], object]) -> object:
    """What is read; None where it is refused in a line."""
    try:
        return read()
    except TwinlatentError as error:
        line = str(error)
    assert line.isprintable()
    assert len(line) < LONGEST
    return None


def changed(whole: bytes) -> st.SearchStrategy[bytes]:
    """A file of which a piece is cut out, doubled, or replaced by others."""

    def made(parts: tuple[int, int, bytes, bool]) -> bytes:
        place, length, new, again = parts
        return whole[:place] + new + whole[place if again else place + length :]

    places = st.integers(0, len(whole))
    return st.tuples(places, st.integers(0, 40), st.binary(max_size=12), st.booleans()).map(made)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the file of an example."""
    return tmp_path_factory.mktemp("parsers")


def written(folder: Path, content: bytes, name: str = "a") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


# --- IDX and arrays -------------------------------------------------------------------------------------------------

SHAPES = st.lists(st.integers(0, 5), min_size=1, max_size=4).map(tuple)


def idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@CALM
@given(SHAPES, st.integers(0, 255), st.booleans())
@limited
def test_idx_comes_back(place: Path, shape: tuple[int, ...], start: int, packed: bool) -> None:
    values = np.arange(start, start + int(np.prod(shape))).astype(np.uint8).reshape(shape)
    content = gzip.compress(idx(values), 1) if packed else idx(values)
    np.testing.assert_array_equal(read_idx(written(place, content), len(shape)), values)


@CALM
@given(st.one_of(changed(idx(np.zeros((2, 3, 4), np.uint8))), changed(gzip.compress(idx(np.zeros((2, 3), np.uint8))))))
@limited
def test_any_idx_is_read_or_refused(place: Path, content: bytes) -> None:
    read_or_refused(lambda: read_idx(written(place, content)))


def npy(values: np.ndarray) -> bytes:
    kept = io.BytesIO()
    np.save(kept, values)
    return kept.getvalue()


@CALM
@given(changed(npy(np.zeros((2, 3, 4), np.float32))))
@limited
def test_any_array_is_read_or_refused(content: bytes) -> None:
    read_or_refused(lambda: npy_of(content, "a"))


def npz() -> bytes:
    kept = io.BytesIO()
    np.savez_compressed(kept, images=np.zeros((2, 3), np.float32), more=np.arange(9))
    return kept.getvalue()


@CALM
@given(changed(npz()))
@limited
def test_any_archive_is_read_or_refused(place: Path, content: bytes) -> None:
    read_or_refused(lambda: read_npz(written(place, content), ["images"]))


# --- safetensors ----------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
TENSOR = st.fixed_dictionaries({
    "dtype": st.sampled_from(["F32", "F64", "BF16", "I64", "U8", "BOOL", "F8_E5M2", "C64", "F4", ""]),
    "shape": st.lists(st.integers(-1, 2**64), max_size=3) | st.lists(st.integers(0, 3), max_size=3),
    "data_offsets": st.lists(st.integers(-1, 2**64), max_size=3) | st.just([0, 8]),
})  # fmt: skip
HEADERS = st.dictionaries(st.sampled_from(["__metadata__", "a", "b"]), TENSOR | JSON, max_size=3)


@CALM
@given(HEADERS, st.binary(max_size=24))
@limited
def test_any_header_is_read_or_refused(place: Path, header: dict[str, Any], values: bytes) -> None:
    text = json.dumps(header).encode()
    path = written(place, struct.pack("<Q", len(text)) + text + values)
    read_or_refused(lambda: read_header(path))
    assert read_or_refused(lambda: load_tensors(path, "detector")) is None


@CALM
@given(changed(save({})), st.integers(0, 2**64 - 1))
@limited
def test_any_length_of_a_header_is_refused(place: Path, content: bytes, length: int) -> None:
    for whole in (content, struct.pack("<Q", length) + content[8:]):
        assert read_or_refused(lambda: load_tensors(written(place, whole), "detector")) is None  # noqa: B023


@CALM
@given(st.dictionaries(st.text(max_size=9), st.text() | st.integers() | st.booleans() | st.none(), max_size=4))
@limited
def test_any_description_comes_back(place: Path, description: dict[str, Any]) -> None:
    save_tensors(place / "b.safetensors", "detector", {}, description)
    assert load_tensors(place / "b.safetensors", "detector") == ({}, description)


# --- notation and settings ------------------------------------------------------------------------------------------

NUMBERS = st.integers(1, 9)
LAYER = st.one_of(
    st.builds("c({},{})".format, NUMBERS, NUMBERS), st.builds("ct({},{},{})".format, NUMBERS, NUMBERS, NUMBERS),
    st.builds("d({})".format, NUMBERS), st.builds("mp({})".format, NUMBERS), st.sampled_from(["bn", "relu"]),
)  # fmt: skip
NETWORK = st.recursive(  # a text, and how many layers it has
    LAYER.map(lambda layer: (layer, 1)),
    lambda inner: (
        st.builds(lambda n, of: (f"{n}({of[0]})", n * of[1]), st.integers(1, 3), inner)
        | st.builds(
            lambda a, sign, b: (a[0] + sign + b[0], a[1] + b[1]), inner, st.sampled_from([" ", "-", " - "]), inner
        )
    ),
    max_leaves=8,
)


@CALM
@given(NETWORK)
@limited
def test_networks_have_as_many_layers_as_are_written(network: tuple[str, int]) -> None:
    spec = parse(network[0])
    assert len(spec.tokens) == network[1]
    assert parse(str(spec)) == spec


@CALM
@given(st.text(LETTERS, max_size=30) | st.text(max_size=12))
@limited
def test_any_notation_is_read_or_refused(text: str) -> None:
    read_or_refused(lambda: parse(text))
    read_or_refused(lambda: plan(text, (1, 8, 8), "encoder"))


PLAIN = GameSettings(encoder="c(3,8) z(6,6)", decoder="d(64)")
NAMES = st.sampled_from(flat(PLAIN.model_dump())) | st.text(max_size=9)
VALUES = st.text(max_size=9) | st.floats().map(str) | st.integers().map(str) | st.sampled_from(["none", "mim", "true"])


@CALM
@given(NAMES, VALUES)
@limited
def test_any_change_is_made_or_refused(name: str, value: str) -> None:
    made = read_or_refused(lambda: override(PLAIN, [f"{name}={value}"]))
    if made is not None:
        assert GameSettings(**tomllib.loads(as_toml(made.model_dump()))) == made
        json.dumps(made.model_dump(), allow_nan=False)  # as a state keeps it


# --- boxes ----------------------------------------------------------------------------------------------------------

FIELDS = st.text(max_size=8) | st.integers(-9, 10**6).map(str) | st.floats(allow_nan=True).map(str)


ROW = st.tuples(
    st.from_regex(r"[a-z]{1,8}\.png", fullmatch=True), st.integers(-99, 999), st.integers(-99, 999),
    st.integers(1, 999), st.from_regex(r"[a-z ,\"]{0,8}", fullmatch=True),
)  # fmt: skip


@CALM
@given(st.lists(ROW, max_size=5))
@limited
def test_tables_of_boxes_come_back(place: Path, rows: list[tuple[str, int, int, int, str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([(*COLUMNS, "label"), *rows])
    boxes = list(_from_table(written(place, text.getvalue().encode(), "a.csv")))
    assert [(box.file, *box.box[:3], box.class_name) for box in boxes] == [(*row[:4], row[4].strip()) for row in rows]


@CALM
@given(st.lists(st.lists(FIELDS, max_size=6), max_size=4), st.sampled_from([",".join(COLUMNS), "file", "", "a,b"]))
@limited
def test_any_table_is_read_or_refused(place: Path, rows: list[list[str]], head: str) -> None:
    text = "\n".join([head, *(",".join(row) for row in rows)])
    path = written(place, text.encode(errors="surrogatepass"), "a.csv")
    read_or_refused(lambda: list(_from_table(path)))


# --- bodies of requests ---------------------------------------------------------------------------------------------

ONE = np.full((1, 1, 8, 8), 0.5, np.float32)
HEADERS_OF_BODIES = st.sampled_from([{}, {"Content-Type": "application/json"}, {"Content-Type": "text/plain"},
                                     {"Content-Type": "multipart/form-data; boundary=b"}])  # fmt: skip
PART = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + npy(ONE) + b"\r\n--b--\r\n"
BODIES = st.one_of(
    st.binary(max_size=60), JSON.map(lambda value: json.dumps(value).encode()), changed(npy(ONE)), changed(PART),
    changed(json.dumps({"images": ONE.tolist()}).encode()), st.binary(max_size=60).map(b"\x89PNG\r\n\x1a\n".__add__),
    st.lists(st.floats(0, 1, width=32), min_size=64, max_size=64).map(
        lambda values: json.dumps([values[row : row + 8] for row in range(0, 64, 8)]).encode()
    ),
)  # fmt: skip


@pytest.mark.parametrize("address", ["/v1/models/digits/detect", "/v2/models/digits/infer"])
def test_any_body_is_answered_or_refused(address: str, faulty: Callable, trained_detector: Detector) -> None:
    app = create_app({"digits": trained_detector}, ServeSettings(most_bytes=50_000))
    ask, statuses = faulty("cases").ask, set()

    @CALM
    @given(BODIES, HEADERS_OF_BODIES)
    @limited
    def asked(body: bytes, headers: dict[str, str]) -> None:
        status, said = ask(app, body, headers, address)
        statuses.add(status)
        assert status == 200 or 400 <= status < 500, said
        if status != 200:
            assert json.loads(said)["error"].isprintable()

    asked()
    assert statuses & {400, 415, 422}
