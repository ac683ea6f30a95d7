"""HTTP requests that are not what they should be, given to the application itself."""

import json
from base64 import b64encode
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from faulty.bad_images import archive, idx, npy_files, pictures
from faulty.cases import Case, of_request
from twinlatent.method.detector import Detector
from twinlatent.serve.app import create_app
from twinlatent.serve.settings import ServeSettings

JSON, FORM = {"Content-Type": "application/json"}, {"Content-Type": "multipart/form-data; boundary=b"}
INFER, ATTACK = "/v2/models/digits/infer", "/v1/models/digits/attack"
IMAGE: list[Any] = np.full((1, 8, 8), 0.5).tolist()


def cases(detector: Detector, folder: Path) -> Iterator[Case]:
    """All of them; nothing is written, `folder` neither."""
    del folder
    app = create_app({"digits": detector}, ServeSettings(most_bytes=200_000, most_pixels=1_000_000, most_images=40))
    for name, content in {**npy_files(), **_read_as_pictures()}.items():
        yield Case("bodies", name, partial(of_request, app, content))
    for name, content in texts().items():
        yield Case("bodies", f"JSON {name}", partial(of_request, app, content, JSON))
    for name, (content, headers) in forms().items():
        yield Case("bodies", f"form {name}", partial(of_request, app, content, headers))
    for name, content in tensors().items():
        yield Case("bodies", f"tensor {name}", partial(of_request, app, content, JSON, INFER))
    for query in QUERIES:
        body = json.dumps([IMAGE]).encode()
        yield Case("bodies", f"query {query[:40]!r}", partial(of_request, app, body, JSON, f"{ATTACK}?{query}"))
    for name, headers in HEADERS.items():
        yield Case("bodies", f"header {name}", partial(of_request, app, json.dumps([IMAGE]).encode(), headers))


def _read_as_pictures() -> dict[str, bytes]:
    """Those of which the end of a name plays no part."""
    sound = idx(8, (1, 8, 8), bytes(64))
    return {**pictures(), "an archive": archive({"images.npy": b"x"}), "IDX": sound}


def texts() -> dict[str, bytes]:
    """JSON, by name."""
    values: dict[str, Any] = {
        "null": None, "a text": "images", "a number": 1, "true": True, "an object": {}, "images null": {"images": None},
        "images a text": {"images": "a"}, "images an object": {"images": {"a": 1}}, "two names": {"images": [IMAGE],
        "x": 1},
        "objects": [[{}] * 8] * 8, "nulls": [[None] * 8] * 8, "texts": [["0.5"] * 8] * 8, "numbers and texts": [[0,
        "a"] * 4] * 8,
        "huge": [[10**400] * 8] * 8, "large": [[1e308] * 8] * 8, "below": [[-1] * 8] * 8,
        "another shape": [[0.5] * 9] * 8, "a row less": [[0.5] * 8] * 7 + [[0.5] * 7], "an axis more": [[[IMAGE]]],
        "an axis less": [0.5] * 8, "no rows": [[], []], "empty names": {"": []}, "empty images": {"images": []},
    }  # fmt: skip
    raw = {
        "NaN": b"[[NaN]]", "infinity": b'{"images": Infinity}', "half": b'{"images": [', "two": b"[] []",
        "zeros": bytes(9),
        "a comment": b"[/* */]", "wide letters": "[0.5]".encode("utf-32"),
        "half a letter": b'"\xc3', "a lone half": b'"\\ud800"',
        "deep": b"[" * 5000 + b"]" * 5000, "deep objects": b'{"images":' * 5000, "blanks": b" " * 150_000,
        "a power": b"[[1e999999]]", "digits": b"[[" + b"1" * 100_000 + b"]]", "twice": b'{"images": 1, "images": 2}',
    }  # fmt: skip
    return {name: json.dumps(value).encode() for name, value in values.items()} | raw


def forms() -> dict[str, tuple[bytes, dict[str, str]]]:
    """Forms and their headers, by name."""
    head = b'--b\r\nContent-Disposition: form-data; name="a"; filename="../../a.png"\r\n\r\n'

    def typed(of: str) -> dict[str, str]:
        return {"Content-Type": of}

    return {
        "of a text": (head + b"hello\r\n--b--\r\n", FORM), "of nothing": (b"", FORM), "half": (head, FORM),
        "without end": (head + b"x" * 1000, FORM), "end alone": (b"--b--", FORM), "another boundary": (b"--c\r\n\r\n",
        FORM),
        "no head": (b"--b\r\n\r\nx\r\n--b--\r\n", FORM), "a long head": (b"--b\r\nA: " + b"x" * 100_000 + b"\r\n\r\n",
        FORM),
        "many heads": (b"--b\r\n" + b"A: b\r\n" * 9000 + b"\r\nx\r\n--b--\r\n", FORM), "many parts": (head * 2000,
        FORM),
        "bytes in a head": (b"--b\r\n\xff\xfe: \0\r\n\r\nx\r\n--b--\r\n", FORM), "zeros": (bytes(999), FORM),
        "no boundary": (head, typed("multipart/form-data")), "an empty one": (head,
        typed("multipart/form-data; boundary=")),
        "a long one": (head, typed("multipart/form-data; boundary=" + "b" * 5000)),
        "an odd one": (head, typed('multipart/form-data; boundary="\xe9')),
        "mixed": (head + b"x\r\n--b--\r\n", typed("multipart/mixed; boundary=b")),
        "a picture cut short": (head + pictures()["half.png"] + b"\r\n--b--\r\n", FORM),
    }  # fmt: skip


def tensors() -> dict[str, bytes]:
    """Requests of the Open Inference Protocol, by name."""
    good = {"name": "images", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [0.5] * 64}
    changes: dict[str, dict[str, Any]] = {
        "another name": {"name": "x"}, "shape of nothing": {"shape": []}, "shape of 0": {"shape": [0, 1, 8, 8]},
        "negative shape": {"shape": [-1, 1, 8, 8]}, "huge shape": {"shape": [2**40] * 4},
        "shape of digits": {"shape": [10**400, 1]},
        "shape of five": {"shape": [1] * 5}, "shape of texts": {"shape": ["1", "1", "8", "8.5"]},
        "shape that lies": {"shape": [2, 1, 8, 8]},
        "another type": {"datatype": "INT8"}, "texts": {"datatype": "BYTES"}, "no data": {"data": None},
        "less data": {"data": [0.5]},
        "data of texts": {"data": ["a"] * 64}, "data of objects": {"data": [{}] * 64},
        "data of nulls": {"data": [None] * 64},
        "data of 2": {"data": [2] * 64}, "bytes beyond": {"datatype": "UINT8", "data": [256] * 64},
        "bytes of halves": {"datatype": "UINT8", "data": [0.5] * 64}, "bytes below": {"datatype": "UINT8",
        "data": [-1] * 64},
        "beyond FP16": {"datatype": "FP16", "data": [1e10] * 64}, "unequal rows": {"data": [[0.5] * 63, [0.5]]},
    }  # fmt: skip
    asked: dict[str, Any] = {
        "no inputs": {}, "inputs of a text": {"inputs": "images"}, "inputs of none": {"inputs": []},
        "two inputs": {"inputs": [good, good]}, "another output": {"inputs": [good], "outputs": [{"name": "x"}]},
        "a rate of 2": {"inputs": [good], "parameters": {"fpr": 2}}, "a rate of a text": {"inputs": [good],
        "parameters": {"fpr": "a"}},
        "an id of a number": {"inputs": [good], "id": {}}, "a list": [good], "null": None,
    }  # fmt: skip
    bodies = {name: {"inputs": [good | change]} for name, change in changes.items()} | asked
    return {name: json.dumps(body).encode() for name, body in bodies.items()} | {
        "half": b'{"inputs"', "bytes": b"\xff\xfe", "in base64": b64encode(b"images")
    }  # fmt: skip


QUERIES = (
    "attack=square", "attack=", "epsilon=2", "epsilon=-1", "epsilon=nan", "epsilon=inf", "epsilon=a", "epsilon=",
    "steps=0",
    "steps=1e3", "steps=-1", "steps=101", "steps=99999999999999999999", "fpr=0", "fpr=1", "fpr=1e-9", "label=x",
    "label=-1",
    "label=10", "label=%00", "fpr=%ff", "epsilon=0.1&epsilon=x", "attack=fgsm&attack=x", "steps=%F0%9F%98%80",
)  # fmt: skip
"""Of an attack."""

HEADERS = {
    "of another kind": {"Content-Type": "text/plain"}, "of half a kind": {"Content-Type": "application/"},
    "of a long kind": {"Content-Type": "a/" + "b" * 10_000}, "of odd letters": {"Content-Type": "\xe9\xff"},
    "compressed": {"Content-Encoding": "br", **JSON}, "of an origin of none": {"Origin": "null", **JSON},
    "of another site": {"Origin": "https://example.org", **JSON}, "of a length beyond": {"Content-Length": "9" * 30,
    **JSON},
}  # fmt: skip
