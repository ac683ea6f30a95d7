"""What the tests of the server share."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from torch import Tensor

import twinlatent as tl
from twinlatent.data import Split
from twinlatent.method.detector import Detector


@dataclass(frozen=True)
class Looked:
    """A server in this process, as the page asks it.

    Attributes:
        port: on this machine.
        watched: folder of the evaluation that it watches.
    """

    port: int
    watched: Path

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def ask(self, path: str, images: Tensor | None = None, **query: object) -> tuple[int, Any, dict[str, str]]:
        """Status, answer and headers; a POST where there are images."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            address = f"/{path}?{urlencode(query)}" if query else f"/{path}"
            if images is None:
                connection.request("GET", address)
            else:
                body = json.dumps({"images": images.tolist()})
                connection.request("POST", address, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            headers, said = {name.lower(): value for name, value in answer.getheaders()}, answer.read()
            return answer.status, json.loads(said) if "json" in headers["content-type"] else said.decode(), headers
        finally:
            connection.close()


@contextmanager
def in_a_thread(models: dict[str, Detector], examples: str | None, **settings: object) -> Iterator[Looked]:
    """Serve on a free port; `watch` among the settings."""
    import uvicorn

    from twinlatent.serve.app import create_app
    from twinlatent.serve.looking.benign import examples_of
    from twinlatent.serve.running import bound
    from twinlatent.serve.settings import ServeSettings

    shown = None if examples is None else examples_of(models, examples, lambda line: None)
    app = create_app(models, ServeSettings(**settings), shown)
    listening = bound("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        patience = time.monotonic() + 30
        while not server.started:
            assert time.monotonic() < patience, "the server did not start"
            time.sleep(0.01)
        yield Looked(listening.getsockname()[1], Path(str(settings.get("watch"))))
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture(scope="session")
def looked(trained_detector: Detector, digits: Split, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looked]:
    """Serves `digits`, with benign images, and `mnist-mim`; watches a folder that is not there yet."""
    watch = tmp_path_factory.mktemp("watched") / "evaluation"
    models = {"mnist-mim": tl.load("mnist-mim"), "digits": trained_detector}
    with in_a_thread(models, "digits", watch=watch) as running:
        yield running


@pytest.fixture(scope="session")
def serve_looking() -> Callable[..., Any]:
    """A function: a context with another such server, see `in_a_thread`."""
    return in_a_thread
