"""A server that is killed while it is asked: each verdict that went out is in its log, and the log can be read."""

import functools
import http.client
import json
import random
import time
from pathlib import Path

import numpy as np

from faulty.forked import FAILED, command, forked
from faulty.killing import Killed
from faulty.works import free_port
from twinlatent.errors import TwinlatentError
from twinlatent.monitor import read_log


def killed_serving(detector: Path, kills: int, draw: random.Random, folder: Path) -> Killed:
    """Kill it at random moments, while it starts, too; after each kill the log has every verdict that went out."""
    found, log, answered = Killed(), folder / "verdicts.jsonl", folder / "answered"
    log.write_bytes(b"")
    to_answer, seen = 0.0, 0
    for number in range(kills + 1):
        answered.write_bytes(b"")
        port, began = free_port(), time.monotonic()
        server = forked(command("serve", detector, "--port", port, "--log", log, "--threads", 1), folder / "serve.txt")
        client = forked(functools.partial(_ask, port, answered), folder / "client.txt")
        if number:
            time.sleep(draw.uniform(0, to_answer + 1.0))
        else:  # how long it takes until it answers; while it starts and while it answers it is killed alike
            while not answered.stat().st_size and server.wait(0) is None and time.monotonic() < began + 300:
                time.sleep(0.01)
            to_answer = time.monotonic() - began
        running = server.wait(0) is None
        server.kill()
        if client.wait(1.0) == FAILED:
            found.wrong.append(f"it is answered otherwise than with a verdict: {client.text[-300:]}")
        client.kill()
        if not running:
            found.wrong.append(f"the server ended: {server.text[-300:]}")
            break
        found.kills += number > 0
        found.while_writing += not log.read_bytes().endswith(b"\n") and log.stat().st_size > seen
        sent, (seen, rows) = answered.stat().st_size, _rows_after(log, seen)
        found.identical += number > 0 and sent <= rows <= sent + 1
        if not sent <= rows <= sent + 1:
            found.wrong.append(f"{sent} verdicts went out before kill {number}, and the log has {rows} of them")
        found.verdicts = (found.verdicts or 0) + sent
    try:
        list(read_log(log, lambda _: None))
    except TwinlatentError as error:
        found.wrong.append(str(error))
    found.finished = found.kills
    if not found.verdicts:
        found.wrong.append("no verdict went out")
    return found


def _rows_after(log: Path, place: int) -> tuple[int, int]:
    """How long the log is, and how many whole rows it has from that byte on."""
    content = log.read_bytes()
    return len(content), sum(line.endswith(b"}") for line in content[place:].split(b"\n"))


def _ask(port: int, answered: Path) -> None:
    """Send one image after the other until the server is gone, and note each answer by a byte."""
    body = json.dumps(np.full((1, 8, 8), 0.5).tolist()).encode()
    until, met = time.monotonic() + 600, False
    with answered.open("ab", buffering=0) as noted:
        while time.monotonic() < until:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            try:
                connection.request("POST", "/v1/models/digits/detect", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                if met:
                    return
                time.sleep(0.01)
                continue
            finally:
                connection.close()
            assert answer.status == 200, answer.status
            met = True
            noted.write(b".")
