"""Processes killed with SIGKILL at random moments: nothing that was kept is lost, and what is resumed ends the same."""

import functools
import hashlib
import http.client
import json
import os
import random
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from faulty.forked import Process, command, ended, forked
from twinlatent.attacks.budgets import Budget
from twinlatent.data import known, reading
from twinlatent.data.catalogue import Collection, RemoteFile
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation import whole
from twinlatent.evaluation.black_box import detection
from twinlatent.method.checkpoints import load_tensors
from twinlatent.monitor import read_log

LIMIT = 900.0
"""Seconds that one run may take."""
FEW = (Budget("fgsm", 0.3), Budget("pgd", 0.4, steps=3, step_size=0.1))
"""In place of the paper's attacks of the black box."""
RECIPE = """
purpose = "smoke"
[substitutes.cnn5]
layers = "c(3,4) mp(2) d(16) sm(10)"
steps = 10
batch = 16
[judges]
steps = 10
"""


@dataclass(frozen=True)
class Work:
    """A command that keeps what it has done.

    Attributes:
        name: of the row in the results.
        call: the command for a folder, or what resumes it there.
        kept: what the folder keeps that must not be lost again, by name. Raises where a file is not whole.
        result: what it leaves in the end; None where it is not there yet.
    """

    name: str
    call: Callable[[Path], Callable[[], None]]
    kept: Callable[[Path], Mapping[str, object]]
    result: Callable[[Path], object]


@dataclass
class Killed:
    """What became of a command that was killed again and again.

    Attributes:
        kills: how often.
        finished: how many runs came to an end, in spite of these.
        identical: how many of them left the same as one that was never killed.
        wrong: what was lost, or how a run failed.
    """

    kills: int = 0
    finished: int = 0
    identical: int = 0
    wrong: list[str] = field(default_factory=list)


def killed(work: Work, kills: int, draw: random.Random, folder: Path) -> Killed:
    """Run a command, kill it at random moments, resume it, and see to it that it ends as if nothing had been."""
    found, said, alone = Killed(), folder / f"{work.name}.txt", folder / f"{work.name}-whole"
    began = time.monotonic()
    first = ended(work.call(alone), said, LIMIT)
    duration, wanted = time.monotonic() - began, work.result(alone)
    if first.status or wanted is None:
        found.wrong.append(f"it ends with status {first.status}: {first.text[-300:]}")
        return found
    number = 0
    while found.kills < kills and not found.wrong:
        place = folder / f"{work.name}-{number}"
        process = _to_its_end(work, place, said, lambda: draw.uniform(0, duration), kills, found)
        _finish(work, place, process, wanted, found)
        shutil.rmtree(place, ignore_errors=True)
        number += 1
    return found


def _to_its_end(
    work: Work, place: Path, said: Path, patience: Callable[[], float], kills: int, found: Killed
) -> Process:
    """One run from nothing to its end, killed as long as there are kills left."""
    before: dict[str, object] = {}
    while True:
        process = forked(work.call(place), said)
        if process.wait(patience() if found.kills < kills else LIMIT) is not None or found.kills >= kills:
            process.kill()  # it has ended, and so must its children
            return process
        process.kill()
        found.kills += 1
        try:
            after = dict(work.kept(place))
        except Exception as error:
            found.wrong.append(f"what is kept cannot be read: {type(error).__name__}: {error}"[:300])
            return process
        lost = [name for name in before if name not in after or after[name] != before[name]]
        if lost and work.result(place) is None:
            found.wrong.append(f"lost {len(lost)} of {len(before)}, {lost[0]} among them")
        before = after


def _finish(work: Work, place: Path, process: Process, wanted: object, found: Killed) -> None:
    """Count a run that ended by itself; one that finds everything done by the killed one before may say so."""
    result = work.result(place)
    if process.status and not (process.status == 1 and result is not None and "already" in process.text):
        found.wrong.append(f"resumed, it ends with status {process.status}: {process.text[-300:]}")
        return
    found.finished += 1
    found.identical += result == wanted
    if result != wanted:
        found.wrong.append("resumed, it ends otherwise than one that was never killed")


# --- the commands ---------------------------------------------------------------------------------------------------


def training(_: Path) -> Work:
    """`train`: a state after every round."""
    more = ["--set", "rounds=30", "--set", "checkpoint_every=1"]
    words = ["train", "digits", "--preset", "smoke", "--no-progress", *more]

    def call(place: Path) -> Callable[[], None]:
        resume = ["--resume"] if (place / "state.safetensors").exists() else []
        return command(*words, "--out", place, *resume)

    def kept(place: Path) -> dict[str, object]:
        state = place / "state.safetensors"
        if not state.exists():
            return {}
        done = int(load_tensors(state, "training state")[1]["round"])
        rows = [json.loads(line) for line in (place / "log.jsonl").read_text().splitlines()[:done]]
        assert len(rows) == done, f"the log has {len(rows)} of {done} rounds"
        return {f"round {row['round']}": row["loss_total"] for row in rows}

    def result(place: Path) -> object:
        if not (place / "detector.safetensors").exists():
            return None
        tensors, description = load_tensors(place / "detector.safetensors", "detector")
        description["card"].pop("seconds")
        return {name: value.tolist() for name, value in tensors.items()}, _plain(description), kept(place)

    return Work("train", call, kept, result)


def evaluating(detector: Path, folder: Path, workers: int = 1) -> Work:
    """`evaluate`: a file after every batch of an attack."""
    (folder / "tiny.toml").write_text(RECIPE, encoding="utf-8")
    words = ["evaluate", detector, "digits", "--suite", "quick", "--steps", 2, "--images", 6, "--subset", 3,
             "--blackbox-images", 6, "--certified-images", 3, "--shift-images", 20, "--substitute", "cnn5",
             "--recipe", folder / "tiny.toml", "--no-progress", "--workers", workers]  # fmt: skip

    def kept(place: Path) -> dict[str, object]:
        found: dict[str, object] = {}
        for path in sorted((place / "unfinished").rglob("*")):
            name = path.relative_to(place).as_posix()
            if path.suffix == ".npz" and not path.name.startswith("."):
                with np.load(path, allow_pickle=False) as arrays:
                    named = {key: arrays[key] for key in sorted(arrays.files) if key not in ("seconds", "origin")}
                found[name] = hashlib.sha256(b"".join(array.tobytes() for array in named.values())).hexdigest()
            elif path.suffix == ".safetensors" and not path.name.startswith(".") and path.name != "state.safetensors":
                found[name] = hashlib.sha256(path.read_bytes()[8:]).hexdigest() if not _is_training(path) else ""
        return found

    def result(place: Path) -> object:
        if not (place / "report.html").exists():
            return None
        rows = [row for run in json.loads((place / "results.json").read_text())["runs"] for row in run["rows"]]
        for row in rows:
            row.pop("seconds", None)
        with np.load(place / "evaluation.npz", allow_pickle=False) as arrays:
            return rows, {name: arrays[name].tobytes() for name in sorted(arrays.files)}

    def call(place: Path) -> Callable[[], None]:
        def evaluate() -> None:
            if workers == 1:  # those of the paper take long; a worker, which is no fork, would know nothing of this
                whole.BLACK_BOX = detection.BLACK_BOX = FEW
            command(*words, "--out", place)()

        return evaluate

    return Work("evaluate" if workers == 1 else f"evaluate by {workers} workers", call, kept, result)


def _is_training(path: Path) -> bool:
    """Whether a network is still being trained beside its state."""
    return path.with_name("state.safetensors").exists()


def preparing(folder: Path) -> Work:
    """`data prepare`: what was read is kept after every photograph."""
    draw = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(12):
            coarse = Image.fromarray(draw.integers(0, 256, (6, 6, 3), dtype=np.uint8))
            coarse.resize((400, 400), Image.Resampling.BICUBIC).save(folder / "photos" / name / f"{name}{number}.jpg")

    def call(place: Path) -> Callable[[], None]:
        def prepare() -> None:
            reading.SAVE_SECONDS = 0.0  # else half a minute of reading is what is under way
            words = ["data", "prepare", "pets", "--photos", folder / "photos", "--size", 16, "--no-progress"]
            command(*words, "--out", place)()

        return prepare

    def kept(place: Path) -> dict[str, object]:
        partial = place / "prepared" / "pets.partial"
        if not partial.exists():
            return {}
        with np.load(partial, allow_pickle=False) as arrays:
            about, images = json.loads(str(arrays["about"])), arrays["images"]
        keys = [str(key) for key, _, _ in about["done"]]
        return {key: image.tobytes() for key, image in zip(keys, images, strict=True)}

    def result(place: Path) -> object:
        made = place / "prepared" / "pets.npz"
        return made.read_bytes() if made.exists() else None

    return Work("data prepare", call, kept, result)


def fetching(address: str) -> Work:
    """`data fetch` from a server at that address: what was fetched is whole, or not there."""
    files = tuple(RemoteFile(name, len(body), hashlib.md5(body).hexdigest()) for name, body in FILES.items())
    collection = Collection("mnist", files, (f"{address}/",))

    def call(place: Path) -> Callable[[], None]:
        def fetch() -> None:
            known.KNOWN["mnist"] = replace(known.KNOWN["mnist"], collection=collection)
            os.environ.pop("TWINLATENT_DATA", None)
            command("data", "fetch", "mnist", "--no-progress",
                    variables={"XDG_CACHE_HOME": str(place), "NO_PROXY": "127.0.0.1"})()  # fmt: skip

        return fetch

    def kept(place: Path) -> dict[str, object]:
        found: dict[str, object] = {}
        for name in FILES:
            path = place / "twinlatent" / "mnist" / name
            if path.exists():
                assert path.read_bytes() == FILES[name], f"{name} is there and not whole"
                found[name] = len(FILES[name])
        return found

    def result(place: Path) -> object:
        there = kept(place)
        names = sorted(path.name for path in (place / "twinlatent" / "mnist").glob("*"))
        return (there, names) if len(there) == len(FILES) else None

    return Work("data fetch", call, kept, result)


FILES = {f"{name}-ubyte.gz": random.Random(name).randbytes(400_000) for name in ("one", "two", "three")}


class _Slow(BaseHTTPRequestHandler):
    """Gives the files, a piece at a time."""

    def do_GET(self) -> None:
        """Give one."""
        body = FILES[self.path.rpartition("/")[2]]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(OSError):
            for start in range(0, len(body), 50_000):
                self.wfile.write(body[start : start + 50_000])
                time.sleep(0.02)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


def file_server(said: Path) -> tuple[Process, str]:
    """A server of `FILES` in a process of its own, and its address."""
    port = free_port()
    process = forked(lambda: ThreadingHTTPServer(("127.0.0.1", port), _Slow).serve_forever(), said)
    return process, f"http://127.0.0.1:{port}"


# --- the server -----------------------------------------------------------------------------------------------------


def killed_serving(detector: Path, kills: int, draw: random.Random, folder: Path) -> Killed:
    """Kill a server that is asked without pause: each verdict that went out is in its log, and the log can be read."""
    found, log, answered = Killed(), folder / "verdicts.jsonl", folder / "answered"
    answered.write_bytes(b"")
    to_answer = 0.0
    for number in range(kills + 1):
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
        client.wait(1.0)
        client.kill()
        if not running:
            found.wrong.append(f"the server ended: {server.text[-300:]}")
            break
        found.kills += number > 0
    try:
        rows = len(list(read_log(log, lambda _: None))) if log.exists() else 0
    except TwinlatentError as error:
        found.wrong.append(str(error))
        return found
    sent = answered.stat().st_size
    found.finished = found.identical = found.kills
    if not sent or not sent <= rows <= sent + found.kills + 1:
        found.wrong.append(f"{sent} verdicts went out, and the log has {rows} of them")
    return found


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


def _plain(value: Any) -> Any:
    """Without what says when and by what command it was made."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items() if name not in ("provenance", "seconds")}
    return value
