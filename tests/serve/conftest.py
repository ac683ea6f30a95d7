"""What the tests of the server share: real server processes, and a plain client of the standard library."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import twinlatent as tl
from twinlatent.data import Split
from twinlatent.guards.guarded import Guarded
from twinlatent.method.detector import Detector

CANARY = "canary7f3a"
"""Stands in paths and names that requests send: the server must never open a file that is called so."""
WATCH = f"""
import sys
LOG = sys.argv.pop(1)
def watch(event, given):
    if event == "open" and isinstance(given[0], (str, bytes)):
        path, writes = str(given[0]), isinstance(given[2], int) and given[2] & 3
        if {CANARY!r} in path or (writes and ".pyc" not in path and path not in ("/dev/null", LOG)):
            sys.stderr.write("OPENED " + path + chr(10))
sys.addaudithook(watch)
"""
"""Says on standard error if the process opens anything for writing but its log, or what a request named."""
PROGRAM = """
sys.argv += ["--log", LOG]
import twinlatent.cli
twinlatent.cli.main()
"""
CLASSIFIER = """
import torch
def load():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    network.load_state_dict(torch.load(r"{}", weights_only=True))
    return network
"""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def refusal(self) -> str:
        """The one line of an answer that refuses."""
        said = self.json
        assert set(said) == {"error"}, said
        assert "\n" not in said["error"]
        return said["error"]


@dataclass
class Server:
    """A process that serves, and how to ask it."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    errors: Path
    headers: dict[str, str] = field(default_factory=dict)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """One request; header names are given with underscores."""
        connection = self.connect()
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, self.headers | given)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: bytes, **headers: str) -> Answer:
        return self.ask("POST", path, body, **headers)

    @property
    def said(self) -> str:
        """What it wrote on standard error."""
        return self.errors.read_text(encoding="utf-8")


@contextmanager
def served(folder: Path, *words: object) -> Iterator[Server]:
    """A server process of its own on a free port, watched for what it opens; asked only once it is ready."""
    folder.mkdir()
    log, errors = folder / "log.jsonl", folder / "errors.txt"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    options = ["--port", "0", "--threads", "1"]
    command = [sys.executable, "-c", WATCH + PROGRAM, str(log), "serve", *map(str, words), *options]
    with errors.open("wb") as sink:
        process = subprocess.Popen(command, env=environment, stderr=sink, stdout=sink, cwd=folder)
    try:
        patience = time.monotonic() + 120
        while not (found := re.search(r"serving .* at http://\S+:(\d+)\n", errors.read_text(encoding="utf-8"))):
            assert process.poll() is None, errors.read_text(encoding="utf-8")
            assert time.monotonic() < patience, "the server did not start"
            time.sleep(0.02)
        yield Server(int(found[1]), process, log, errors)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="session")
def guarded(digits: Split, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Guarded]:
    """A guard's file, the words that name its classifier, and the guard."""
    folder = tmp_path_factory.mktemp("guarded")
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    means = torch.stack([digits.train.images[digits.train.labels == c].mean(0).flatten() for c in range(10)])
    with torch.no_grad():
        network[1].weight.copy_(20 * means)
        network[1].bias.copy_(-10 * means.square().sum(1))
    torch.save(network.state_dict(), folder / "weights.pt")
    (folder / "model.py").write_text(CLASSIFIER.format(folder / "weights.pt"), encoding="utf-8")
    made = tl.rejecting(network, digits)
    made.save(folder / "guard.safetensors")
    return folder / "guard.safetensors", f"{folder / 'model.py'}:load", made


@pytest.fixture(scope="session")
def detector_file(trained_detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("detector") / "digits.safetensors"
    trained_detector.save(path)
    return path


@pytest.fixture(scope="session")
def server(
    detector_file: Path, guarded: tuple[Path, str, Guarded], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Serves `digits` and `guard`, with small limits, without a token.

    In the end it must not have said that it opened anything it should not, nor that anything went wrong in it.
    """
    path, classifier, _ = guarded
    limits = ["--max-bytes", 150_000, "--max-pixels", 1_000_000, "--max-images", 40]
    words = [detector_file, f"guard={path}", "--classifier", classifier, *limits]
    with served(tmp_path_factory.mktemp("serve") / "open", *words) as running:
        yield running
        assert set(running.said.splitlines()[1:]) <= {"WARNING:  Invalid HTTP request received."}, running.said


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Any]:
    """A function: a context with another server, called with its words."""
    return lambda *words: served(tmp_path / "server", *words)


@pytest.fixture
def opens() -> Callable[[str, Path], str]:
    """A function: what the watch says when a process with that log runs some code."""

    def run(code: str, log: Path) -> str:
        command = [sys.executable, "-S", "-c", WATCH + code, str(log)]
        return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True).stderr

    return run
