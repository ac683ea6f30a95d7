"""A server of its own: tokens, one request too many, SIGTERM; and how one is started wrongly."""

import io
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from twinlatent.cli import main
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.method.detector import Detector
from twinlatent.serve.running import bound, listen

DETECT = "/v1/models/own/detect"
TOKEN = "correct horse battery staple"


def npy(images: Tensor) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, images.numpy())
    return buffer.getvalue()


def accepts(server) -> bool:
    """Whether a new connection is taken."""
    try:
        with socket.create_connection(("127.0.0.1", server.port)):
            return True
    except ConnectionError:
        return False


def test_a_server_for_others_from_its_start_to_its_end(
    detector_file: Path, start: Callable, digits: Split, trained_detector: Detector
) -> None:
    """One process, since it takes seconds to start: token, full house, and requests under way when it is to end."""
    body = npy(digits.test.images[:3])
    words = [f"own={detector_file}", "--host", "0.0.0.0", "--token", TOKEN, "--max-requests", 1]
    with start(*words) as server:
        for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Authorization": "Bearer "}):
            answer = server.post(DETECT, body, **wrong)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert "Authorization: Bearer TOKEN" in answer.refusal
            assert server.get("/metrics", **wrong).status == server.get("/v2/models/own", **wrong).status == 401
        assert server.get("/v1/models", Authorization="Bearer caf\xe9").status == 401
        for path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/", "/docs", "/openapi.json"):
            assert server.get(path).status == 200, path
        assert server.get("/v1/models", Authorization=f"bearer {TOKEN}").status == 200  # the scheme has no case
        server.headers["Authorization"] = f"Bearer {TOKEN}"
        assert server.post(DETECT, body, Origin="https://example.org", Host="example.org").status == 200

        slow = server.connect()
        slow.putrequest("POST", DETECT)
        for name, value in (*server.headers.items(), ("Content-Length", str(len(body)))):
            slow.putheader(name, value)
        slow.endheaders(body[:100])
        assert all(server.post(DETECT, body).status == 200 for _ in range(3)), "a slow body takes a place"
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: server.post(DETECT, npy(digits.test.images[:200])), range(24)))
        full = [answer for answer in answers if answer.status != 200]
        assert 0 < len(full) < 24
        assert {(answer.status, answer.headers["retry-after"]) for answer in full} == {(503, "1")}
        assert "1 requests are under way" in full[0].refusal
        assert server.get("/healthz").status == 200

        patience = time.monotonic() + 10
        server.process.send_signal(signal.SIGTERM)
        while accepts(server):
            assert time.monotonic() < patience, "it still takes new requests"
        slow.send(body[100:])
        answer = slow.getresponse()
        assert answer.status == 200
        assert answer.read().count(b'"label"') == 3
        slow.close()
        assert server.process.wait(30) == 0
        rows = server.log.read_text(encoding="utf-8").splitlines()
        assert rows[-1].endswith("}")
        assert len(rows) == 3 * 5 + 200 * (24 - len(full))
        assert server.said.count("\n") == 1, server.said


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0 lets other machines ask; choose a token"),
        (["--token", "short"], "the token must have 16 or more"),
        (["--token", "café café café café"], "printable ASCII"),
        (["--token", TOKEN, "--host", "no such host."], "is no address"),
        (["--log", "/dev/null/x"], "cannot be written"),
        (["--fpr", "0.00001"], "finer than the calibration images can tell"),
        (["--fpr", "2"], "fpr = 2"),
        (["digits=mnist-mim"], "two models are called digits"),
        (["no-such-model"], "is no detector file"),
        (["detector.onnx"], "detector.onnx is an ONNX file, which gives verdicts alone"),
        (["../"], "cannot be part of an address"),
    ],
)
def test_a_wrong_start_ends_in_a_line(
    words: list[str], line: str, detector_file: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("detector.onnx").write_bytes(b"\x08\x08\x12\x0atwinlatent")
    monkeypatch.setattr("sys.argv", ["twinlatent", "serve", str(detector_file), "--port", "0", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    said = capsys.readouterr()
    assert (stop.value.code, said.out, said.err.count("\n")) == (1, "", 1), said
    assert line in said.err


def test_nobody_can_connect_before_all_is_loaded(detector_file: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """The classifier is loaded last, and then the port, which is reserved by then, does not answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = f"""
import socket
def load():
    with socket.socket() as other, socket.socket() as asking:
        try:
            other.bind(("127.0.0.1", {port}))
        except OSError:
            raise ValueError("reserved, and " + ("open" if asking.connect_ex(("127.0.0.1", {port})) == 0 else "closed"))
"""
    (tmp_path / "slow.py").write_text(code, encoding="utf-8")
    words = [str(detector_file), "--port", str(port), "--classifier", f"{tmp_path / 'slow.py'}:load"]
    monkeypatch.setattr("sys.argv", ["twinlatent", "serve", *words])
    with pytest.raises(SystemExit):
        main()
    assert "reserved, and closed" in capsys.readouterr().err


def test_a_taken_port_is_said(detector_file: Path, monkeypatch, capsys) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr("sys.argv", ["twinlatent", "serve", str(detector_file), "--port", str(port)])
        with pytest.raises(SystemExit):
            main()
    assert f"127.0.0.1 port {port} cannot be used" in capsys.readouterr().err


def test_of_two_servers_that_begin_at_once_one_is_told() -> None:
    """Both may reserve the port, as long as nobody listens there."""
    with bound("127.0.0.1", 0) as first, bound("127.0.0.1", first.getsockname()[1]) as second:
        listen(first)
        with pytest.raises(TwinlatentError, match=r"127.0.0.1 port \d+ cannot be used .*give another --port"):
            listen(second)
