"""Hundreds of bad inputs, each refused in one line or with a 4xx, and nothing is written for any."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from twinlatent.errors import TwinlatentError
from twinlatent.method.detector import Detector

TABLES = {"bad_files": 200, "bad_models": 150, "bad_values": 200, "bad_bodies": 150}
"""Modules, and how many inputs each has at least."""


@pytest.mark.parametrize("table", TABLES)
def test_all_are_refused(table: str, faulty: Callable, trained_detector: Detector, tmp_path: Path) -> None:
    cases = list(faulty(table).cases(trained_detector, tmp_path))
    done = faulty("cases").tried(cases)
    assert [f"{one.case.name}: {one.complaint}" for one in done if one.complaint] == []
    assert len(done) >= TABLES[table]
    names = Counter((one.case.kind, one.case.name) for one in done)
    assert [name for name, count in names.items() if count > 1] == []
    assert not (tmp_path / "x").exists(), "a refused command leaves nothing behind"


def test_what_is_taken_or_fails_otherwise_is_found(faulty: Callable) -> None:
    def raises(error: Exception) -> Callable[[], None]:
        def call() -> None:
            raise error

        return call

    of_call = faulty("cases").of_call
    assert of_call(raises(TwinlatentError("name is 3; give a text"))) == ""
    assert of_call(lambda: None) == "is taken"
    assert of_call(raises(KeyError("a"))) == "raises KeyError: 'a'"
    assert "1001 letters" in of_call(raises(TwinlatentError("a" * 1001)))
    of_command = faulty("cases").of_command
    assert of_command("zoo", "show", "nosuch") == ""
    assert of_command("zoo", "list") == "is taken"
    assert "status 2" in of_command("zoo", "nosuch")


def test_what_a_server_answers_otherwise_is_found(faulty: Callable) -> None:
    def app(status: int, body: bytes) -> Callable:
        async def answer(_scope: object, _receive: object, send: Callable) -> None:
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": body})

        return answer

    said = json.dumps({"error": "no"}).encode()
    of_request = faulty("cases").of_request
    assert of_request(app(422, said), b"") == ""
    assert of_request(app(200, said), b"").startswith("is answered with 200")
    assert of_request(app(500, said), b"").startswith("is answered with 500")
    assert of_request(app(422, b"no"), b"").startswith("is refused with")
    assert of_request(app(422, json.dumps({"error": "a\nb"}).encode()), b"").startswith("says more than one line")
