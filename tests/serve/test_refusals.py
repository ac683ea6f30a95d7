"""A bad request to a real server gets a 4xx and one line that says what is wrong; the server goes on.

That nothing else was opened or written by then, no path that a request names either, is asked when the server ends.
"""

import http.client
import io
import json
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

DETECT = "/v1/models/digits/detect"
JSON = {"Content_Type": "application/json"}
FORM = {"Content_Type": "multipart/form-data; boundary=b"}
CANARY = "canary7f3a"
PART = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n'


def npy(values: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values), **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, rows: bytes, more: bytes = b"") -> bytes:
    """A grey PNG of one bit a pixel that says it has such a size; `more` are other chunks."""
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + more + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def encoded(kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8, 8), 100).save(buffer, kind, **options)
    return buffer.getvalue()


def with_scans(jpeg: bytes, more: int) -> bytes:
    """A JPEG whose last scan comes so many times more."""
    last = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    return jpeg[:-2] + last * more + jpeg[-2:]


ONE = np.full((1, 1, 8, 8), 0.5, np.float32)
BOMB = png(9_000, 9_000, bytes(9_000 * 1_126))
LARGER_BOMB = png(60_000, 60_000, bytes(60_000))
TEXT = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000), 9))
SCANS = with_scans(encoded("JPEG", progressive=True), 200)
BAD: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "nothing": (b"", {}, 400, "the body is empty"),
    "text": (b"hello", {}, 415, "none of the kinds that are read; give PNG, JPEG or .npy"),
    "pdf": (b"%PDF-1.7", {}, 415, "is a PDF document; convert it"),
    "gif": (encoded("GIF"), {}, 415, "none of the kinds"),
    "tiff": (encoded("TIFF"), {}, 415, "none of the kinds"),
    "pickle": (b"\x80\x04K\x01.", {}, 415, "a pickle, which is never loaded"),
    "half a PNG": (encoded("PNG")[:50], {}, 422, "cannot be read as an image"),
    "half a JPEG": (encoded("JPEG")[:200], {}, 422, "cannot be read as an image"),
    "a bomb": (BOMB, {}, 413, "has 9,000 × 9,000 pixels, and 1,000,000 are allowed"),
    "a larger bomb": (LARGER_BOMB, {}, 413, "has 60,000 × 60,000 pixels"),
    "a bomb of text": (png(8, 8, bytes(16), TEXT * 60), {}, 413, "metadata that unfold to more than 1,048,576 bytes"),
    "a bomb of scans": (SCANS, {}, 413, "has 206 scans, and 32 are allowed"),
    "another shape": (npy(np.zeros((2, 1, 9, 8), np.float32)), {}, 422, "the detector takes (n, 1, 8, 8)"),
    "objects": (npy(np.array([{}]), allow_pickle=True), {}, 422, "Python objects, which are never loaded"),
    "a short array": (npy(ONE)[:-8], {}, 422, "is damaged: it should hold 256 bytes"),
    "half a header": (npy(ONE)[:20], {}, 422, "is no array file, or damaged"),
    "NaN": (npy(ONE * np.nan), {}, 422, "NaN or infinity"),
    "0 to 255": (npy(ONE * 510), {}, 422, "divide by 255"),
    "numbers as text": (npy(np.full((1, 8, 8), "0.5")), {}, 422, "an array of <U3; give numbers"),
    "named fields": (npy(np.zeros((1, 8, 8), [("a", "f4")])), {}, 422, "give numbers"),
    "complex numbers": (npy(ONE.astype(complex)), {}, 422, "complex128"),
    "values of no size": (npy(np.zeros((1, 8, 8), "V4")).replace(b"|V4", b"|V0"), {}, 422, "it should hold 0 bytes"),
    "an endless shape": (npy(ONE).replace(b"(1, 1, 8, 8)", b"(1, 1, 9**9)"), {}, 422, "no array file, or damaged"),
    "a long header": (b"\x93NUMPY\x02\0" + struct.pack("<I", 90_000) + b"(" * 90_000, {}, 422, "no array file"),
    "int64": (npy(ONE.astype(np.int64)), {}, 422, "int64"),
    "no images": (npy(ONE[:0]), {}, 422, "give at least one image"),
    "too many": (npy(ONE.repeat(41, 0)), {}, 413, "has 41 images, and 40 are allowed"),
    "JSON by another name": (
        b" [[0.5]]",
        {"Content_Type": "text/plain"},
        415,
        "send it with the header Content-Type: ap",
    ),
    "no JSON": (b"{", JSON, 400, "is no JSON"),
    "JSON of bytes": (b"\xff\xfe[", JSON, 400, "is no JSON"),
    "JSON of many digits": (b"[" + b"9" * 5000 + b"]", JSON, 400, "is no JSON"),
    "deep JSON": (b"[" * 2_500, JSON, 400, "nested too deeply"),
    "JSON of deep lists": (b"[" * 70 + b"1" + b"]" * 70, JSON, 422, "lists differ in length"),
    "JSON of other names": (b'{"image": []}', JSON, 422, 'give {"images": [...]}'),
    "JSON of a path": (f'{{"images": "/tmp/{CANARY}.png"}}'.encode(), JSON, 422, "something else than numbers"),
    "JSON of booleans": (json.dumps([[True] * 8] * 8).encode(), JSON, 422, "something else than numbers"),
    "JSON of unequal rows": (b"[[0, 1], [0]]", JSON, 422, "lists differ in length"),
    "JSON of NaN": (json.dumps((ONE * np.nan).tolist()).encode(), JSON, 422, "NaN or infinity"),
    "JSON of 0 to 255": (json.dumps([[200] * 8] * 8).encode(), JSON, 422, "divide by 255"),
    "JSON of nothing": (b"[]", JSON, 422, "the detector takes (n, 1, 8, 8)"),
    "JSON of many lists": (b"[" + b"[]," * 49_000 + b"[]]", JSON, 413, "far more values than the 40 images"),
    "JSON of many numbers": (b"[" + b"0," * 20_000 + b"0]", JSON, 413, "far more values than the 40 images"),
    "JSON of deep lists side by side": (
        b"[" + b",".join([b"[" * 500 + b"]" * 500] * 140) + b"]",
        JSON,
        413,
        "far more",
    ),
    "JSON of too many": (json.dumps(ONE.repeat(41, 0).tolist()).encode(), JSON, 413, "has 41 images, and 40 are"),
    "a form without boundary": (PART, {"Content_Type": "multipart/form-data"}, 400, "is no multipart/form-data"),
    "half a form": (PART + b"x", FORM, 400, "is no multipart/form-data"),
    "an empty form": (b"--b--\r\n", FORM, 400, "is no multipart/form-data"),
    "a form of text": (PART + b"/etc/passwd\r\n--b--\r\n", FORM, 415, "part 0: is none of the kinds"),
    "a form of too many": ((PART + b"x\r\n") * 41 + b"--b--\r\n", FORM, 413, "more than 40 parts"),
    "compressed": (npy(ONE), {"Content_Encoding": "gzip"}, 415, "without Content-Encoding"),
    "too large": (bytes(150_001), {}, 413, "more than 150,000 bytes"),
    "far too large": (bytes(5_000_000), {}, 413, "more than 150,000 bytes"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_body_is_refused_in_a_line(name: str, server) -> None:
    body, headers, status, line = BAD[name]
    answer = server.post(DETECT, body, **headers)
    assert (answer.status, line in answer.refusal) == (status, True), answer.refusal


def test_bodies_without_a_length_are_limited_too(server) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(10_000)

    connection = server.connect()
    connection.request("POST", DETECT, pieces(), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
    assert connection.getresponse().status == 413
    connection.close()


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("fpr=2", "fpr is '2'"),
        ("fpr=0", "fpr is '0'"),
        ("fpr=nan", "fpr is 'nan'"),
        ("fpr=x", "fpr is 'x'"),
        ("fpr=0.000001", "finer than the calibration images can tell"),
        ("invert=maybe", "invert is 'maybe'"),
        ("invert=2", "invert is '2'"),
        ("frp=0.01", "'frp' is no parameter of this address; it takes fpr, invert"),
    ],
)
def test_a_bad_parameter_is_refused(query: str, line: str, server) -> None:
    answer = server.post(f"{DETECT}?{query}", npy(ONE))
    assert (answer.status, line in answer.refusal) == (422, True), answer.refusal


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/models/other/detect", 404),
        ("POST", f"/v1/models/..%2f..%2f{CANARY}/detect", 404),
        ("POST", f"/v1/models/%2ftmp%2f{CANARY}/detect", 404),
        ("GET", f"/../../../tmp/{CANARY}", 404),
        ("GET", f"/%2e%2e/%2e%2e/tmp/{CANARY}", 404),
        ("GET", f"/pages/{CANARY}%00.html", 404),
        ("GET", "/..%5c..%5cgate.py", 404),
        ("GET", "/../gate.py", 404),
        ("GET", f"/v1/models/{CANARY * 500}", 404),
        ("GET", DETECT, 405),
        ("DELETE", "/v1/models/digits", 405),
        ("OPTIONS", DETECT, 405),
        ("PROPFIND", "/", 405),
        ("POST", f"{DETECT}/", 404),
        ("GET", "/v1/models/", 404),
        ("POST", "/v1/models/digits%2f..%2fdigits/detect", 404),
        ("POST", "/v1/models/%2e%2e/detect", 404),
        ("POST", "/v1/models/digits%00/detect", 404),
        ("POST", "/v1/models/%E2%80%AE%0A/detect", 404),
        ("GET", "/v2/models/..%2f..%2fdigits", 404),
        ("GET", "/v2/models/digits/versions/..%2f1", 404),
        ("GET", "//v1/models", 404),
    ],
)
def test_addresses_lead_nowhere_else(method: str, path: str, status: int, server) -> None:
    answer = server.ask(method, path, npy(ONE) if method == "POST" else None)
    assert answer.status == status
    assert len(answer.refusal) < 200
    assert answer.refusal.isprintable()
    if status == 405:
        assert answer.refusal == f"this address takes {answer.headers['allow']}"


@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/models", "/docs", "/v2/models/digits"])
def test_head_is_answered_as_get_without_a_body(path: str, server) -> None:
    head, get = server.ask("HEAD", path), server.get(path)
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(get.body)))


def test_requests_that_come_together_are_answered_in_order(server) -> None:
    """Pipelined on one connection, a bad one among them."""
    bodies = [npy(ONE), b"no image", npy(ONE.repeat(2, 0))]
    connection = server.connect()
    connection.connect()
    head = f"POST {DETECT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {{}}\r\n\r\n"
    connection.sock.sendall(b"".join(head.format(len(body)).encode() + body for body in bodies))
    heard = b""
    while heard.count(b"HTTP/1.1 ") < 3 or heard.count(b"class_index") < 3:
        piece = connection.sock.recv(10_000)
        assert piece, heard
        heard += piece
    connection.close()
    answers = heard.split(b"HTTP/1.1 ")[1:]
    assert [(answer[:3], answer.count(b"class_index")) for answer in answers] == [(b"200", 1), (b"415", 0), (b"200", 2)]


def test_other_pages_and_other_names_may_not_ask(server) -> None:
    """A page of another site, and one whose name was made to lead to this machine (DNS rebinding)."""
    assert server.post(DETECT, npy(ONE), Origin="https://example.org").status == 403
    assert (
        server.ask("OPTIONS", DETECT, Origin="https://example.org", Access_Control_Request_Method="POST").status == 403
    )
    assert server.post(DETECT, npy(ONE), Host=f"example.org:{server.port}").status == 421
    assert server.post(DETECT, npy(ONE), Origin="http://[::1").status == 403
    assert server.get("/v1/models", Host=f"LocalHost:{server.port}").status == 200
    own = server.post(DETECT, npy(ONE), Origin=f"http://127.0.0.1:{server.port}")
    assert own.status == 200
    assert not any(name.startswith("access-control") for name in own.headers)


def test_every_answer_has_a_strict_policy(server) -> None:
    for path in ("/", "/healthz", "/v1/models", "/nowhere", "/docs"):
        headers = server.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


def test_a_client_that_goes_away_does_no_harm(server) -> None:
    for _ in range(5):
        connection = server.connect()
        connection.putrequest("POST", DETECT)
        connection.putheader("Content-Length", "1000")
        connection.endheaders(b"\x89PNG")
        connection.close()
    connection = server.connect()
    connection.request("POST", DETECT, npy(ONE))
    connection.close()
    patience = time.monotonic() + 10
    while "twinlatent_under_way 0.0" not in server.get("/metrics").body.decode():
        assert time.monotonic() < patience, "slots were lost"
        time.sleep(0.02)


def test_words_that_are_no_http_are_refused(server) -> None:
    connection = server.connect()
    connection.connect()
    connection.sock.sendall(b"\x16\x03\x01 no http\r\n\r\n")
    answer = http.client.HTTPResponse(connection.sock)
    answer.begin()
    assert answer.status == 400
    connection.close()


def test_the_watch_sees_what_is_opened(opens, tmp_path: Path) -> None:
    """That the server is found to open nothing else means something only if it would be seen."""
    log, own, other = tmp_path / "log", tmp_path / CANARY, tmp_path / "other"
    own.write_text("")
    cases = ((log, "a", False), (log, "r", False), (other, "w", True), (other, "r", False), (own, "r", True))
    for path, mode, seen in cases:
        assert opens(f"open({str(path)!r}, {mode!r}).close()", log) == (f"OPENED {path}\n" if seen else "")
