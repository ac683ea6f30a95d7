"""The Dockerfile, line by line, since it cannot be built here: small, nobody's rights, nothing that is not there."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
import typer

from twinlatent.cli.program import app
from twinlatent.cli.serve import TOKEN

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
KNOWN = {"FROM", "ARG", "WORKDIR", "RUN", "COPY", "ENV", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}


def instructions(text: str) -> list[tuple[str, str]]:
    """Name and rest of each instruction, comments left out, continued lines joined."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def offences(text: str) -> list[str]:
    """What a careful reader would complain of."""
    found, lines = [], instructions(text)
    names = [name for name, _ in lines]
    found += [f"{name} is not used here" for name in names if name not in KNOWN]
    found += [f"FROM {rest}: name a slim image of one version" for name, rest in lines
              if name == "FROM" and not re.fullmatch(r"python:3\.\d+-slim( AS \w+)?", rest)]  # fmt: skip
    last = lines[len(names) - names[::-1].index("FROM") :]
    users = [rest for name, rest in last if name == "USER"]
    if not users or not users[-1].isdecimal() or int(users[-1]) == 0:
        found.append("the last stage does not end as a user with a number that is not root's")
    after = [name for name, _ in last[[name for name, _ in last].index("USER") :]] if users else []
    found += [f"{name} after USER" for name in after if name in ("RUN", "COPY")]
    for name, rest in last:
        if name in ("ENTRYPOINT", "CMD") and not rest.startswith("["):
            found.append(f"{name} needs a shell, which does not hand SIGTERM on")
    for name, rest in lines:
        words = shlex.split(rest) if name == "RUN" else []
        if "pip" in " ".join(words) and "install" in words and not {"--no-cache-dir", "-c"} <= set(words):
            found.append(f"RUN {rest}: pip without --no-cache-dir or constraints")
    if any(word in text.lower() for word in ("token=", "password", "secret")):
        found.append("a secret would stay in the image")
    return found


def copied(text: str) -> list[str]:
    """What comes from the build's folder."""
    lines = [shlex.split(rest) for name, rest in instructions(text) if name == "COPY"]
    return [source for words in lines if not words[0].startswith("--from") for source in words[:-1]]


def test_nothing_is_to_complain_of() -> None:
    assert offences(TEXT) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("USER 10001", "USER 0"),
        ("USER 10001\n", ""),
        ("FROM python:3.11-slim\n", "FROM python:latest\n"),
        ("COPY twinlatent", "ADD twinlatent"),
        ('CMD ["mnist-mim"]', "CMD mnist-mim"),
        (" --no-cache-dir", ""),
        ("USER 10001", "USER 10001\nRUN id"),
        ("PYTHONUNBUFFERED=1", "PYTHONUNBUFFERED=1 TWINLATENT_TOKEN=abc"),
    ],
)
def test_a_fault_is_found(old: str, new: str) -> None:
    assert old in TEXT
    assert len(offences(TEXT.replace(old, new))) == 1


def test_what_is_copied_is_there_and_not_ignored() -> None:
    kept = [line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
            if line.startswith("!")]  # fmt: skip
    assert sorted(copied(TEXT)) == sorted(kept)
    assert all((ROOT / name).exists() for name in kept)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {project["readme"], *project["license-files"]} <= set(kept), "the build reads them"
    assert "serve" in project["optional-dependencies"]


def test_what_it_starts_can_be_started() -> None:
    lines = dict(instructions(TEXT))
    words = json.loads(lines["ENTRYPOINT"])
    assert words[:2] == ["twinlatent", "serve"]
    known: Any = typer.main.get_command(app)
    options = {name for option in known.commands["serve"].params for name in option.opts}
    assert {word for word in words if word.startswith("--")} <= options
    assert words[words.index("--port") + 1] == lines["EXPOSE"]
    assert f"127.0.0.1:{lines['EXPOSE']}/readyz" in lines["HEALTHCHECK"]
    assert TOKEN in TEXT


class Answers(BaseHTTPRequestHandler):
    """Ready when asked first, and not any more then."""

    statuses: ClassVar = [200, 503]

    def do_GET(self) -> None:
        self.send_response(self.statuses.pop(0) if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_the_health_check_asks_the_server_itself() -> None:
    """Whatever proxy the container was told of."""
    words = json.loads(dict(instructions(TEXT))["HEALTHCHECK"].partition("CMD ")[2])
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        code = words[-1].replace(":8000", f":{server.server_address[1]}")
        environment = {**os.environ, "http_proxy": "http://127.0.0.1:9"}
        done = [subprocess.run([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, check=False)
                for _ in range(2)]  # fmt: skip
        server.shutdown()
    assert words[:2] == ["python", "-c"]
    assert [one.returncode for one in done] == [0, 1], done[0].stderr
