"""Commands that keep what they have done: how each is given, what it keeps, and how often it began a piece of work."""

import hashlib
import json
import os
import random
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from faulty.forked import Process, command, forked
from twinlatent.attacks import suite_runs
from twinlatent.attacks.budgets import Budget
from twinlatent.data import known, reading
from twinlatent.data.catalogue import Collection, RemoteFile
from twinlatent.drawing import canvas
from twinlatent.evaluation import whole
from twinlatent.evaluation.black_box import detection
from twinlatent.method import game
from twinlatent.method.checkpoints import load_tensors

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
        kept: what the folder keeps that must not be lost or written again, by name. Raises where a file is not whole.
        result: what it leaves in the end; None where it is not there yet.
        begun: how many rounds, batches, photographs or files were begun for a folder, in all processes; None where
            that is not known.
    """

    name: str
    call: Callable[[Path], Callable[[], None]]
    kept: Callable[[Path], Mapping[str, object]]
    result: Callable[[Path], object]
    begun: Callable[[Path], int] | None = None


class Begun:
    """Counts what is begun, a byte in a file for each, so that a kill takes nothing back."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, place: Path) -> int:
        """How much was begun for a place."""
        path = self._path(place)
        return path.stat().st_size if path.exists() else 0

    def noting(self, place: Path, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, which is noted whenever it begins."""

        def noted(*given: Any, **named: Any) -> Any:
            with self._path(place).open("ab") as file:
                file.write(b".")
            return call(*given, **named)

        return noted

    def _path(self, place: Path) -> Path:
        return self._folder / f"{place.parent.name}-{place.name}.begun"


def training(folder: Path) -> Work:
    """`train`: a state after every round."""
    words = ["train", "digits", "--preset", "smoke", "--no-progress", "--set", "rounds=10",
             "--set", "checkpoint_every=1"]  # fmt: skip
    begun = Begun(folder)

    def call(place: Path) -> Callable[[], None]:
        def train() -> None:
            game.defender_turn = begun.noting(place, game.defender_turn)
            resume = ["--resume"] if (place / "state.safetensors").exists() else []
            command(*words, "--out", place, *resume)()

        return train

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

    return Work("train", call, kept, result, begun)


def _plain(value: Any) -> Any:
    """Without what says when and by what command it was made."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items() if name not in ("provenance", "seconds")}
    return value


def evaluating(detector: Path, folder: Path, workers: int = 1) -> Work:
    """`evaluate`: a file after every batch of an attack."""
    (folder / "tiny.toml").write_text(RECIPE, encoding="utf-8")
    words = ["evaluate", detector, "digits", "--suite", "quick", "--steps", 1, "--images", 6, "--subset", 3,
             "--blackbox-images", 6, "--certified-images", 3, "--shift-images", 20, "--substitute", "cnn5",
             "--recipe", folder / "tiny.toml", "--no-progress", "--workers", workers]  # fmt: skip
    begun = Begun(folder)

    def kept(place: Path) -> dict[str, object]:
        """Of batches all bytes, which say how long each took: one that is attacked again is another."""
        found: dict[str, object] = {}
        for path in sorted((place / "unfinished").rglob("*")):
            name = path.relative_to(place).as_posix()
            if path.suffix == ".npz" and not path.name.startswith("."):
                with np.load(path, allow_pickle=False) as arrays:
                    assert all(arrays[key] is not None for key in arrays.files)
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
            elif path.suffix == ".safetensors" and not path.name.startswith(".") and path.name != "state.safetensors":
                found[name] = hashlib.sha256(path.read_bytes()[8:]).hexdigest() if not _is_training(path) else ""
        return found

    def result(place: Path) -> object:
        if not (place / "report.html").exists():
            return None
        rows = [row for run in json.loads((place / "results.json").read_text())["runs"] for row in run["rows"]]
        for row in rows:
            for when in ("seconds", "reused"):  # the second names an earlier part of the run once midnight has passed
                row.pop(when, None)
        with np.load(place / "evaluation.npz", allow_pickle=False) as arrays:
            return rows, {name: arrays[name].tobytes() for name in sorted(arrays.files)}

    def call(place: Path) -> Callable[[], None]:
        def evaluate() -> None:
            canvas.svg = lambda _: "<svg></svg>"  # a third of the time, and nothing of it is kept
            if workers == 1:  # those of the paper take long; a worker, which is no fork, would know nothing of this
                whole.BLACK_BOX = detection.BLACK_BOX = FEW
                suite_runs._kept_or_done = _noting(begun, place, suite_runs._kept_or_done)
            command(*words, "--out", place)()

        return evaluate

    if workers == 1:
        return Work("evaluate", call, kept, result, begun)
    return Work(f"evaluate by {workers} workers", call, kept, result)


def _noting(begun: Begun, place: Path, keep: Callable[..., Any]) -> Callable[..., Any]:
    """The function that takes what is kept of a batch or attacks it: the second is noted if it will be kept."""

    def kept_or_done(path: Path | None, images: Any, work: Callable[[], Any], now: Any) -> Any:
        return keep(path, images, work if path is None else begun.noting(place, work), now)

    return kept_or_done


def _is_training(path: Path) -> bool:
    """Whether a network is still being trained beside its state."""
    return path.with_name("state.safetensors").exists()


def preparing(folder: Path) -> Work:
    """`data prepare`: what was read is kept after every photograph."""
    draw, begun = np.random.default_rng(0), Begun(folder)
    for name in ("cat", "dog"):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(12):
            coarse = Image.fromarray(draw.integers(0, 256, (6, 6, 3), dtype=np.uint8))
            coarse.resize((400, 400), Image.Resampling.BICUBIC).save(folder / "photos" / name / f"{name}{number}.jpg")

    def call(place: Path) -> Callable[[], None]:
        def prepare() -> None:
            reading.SAVE_SECONDS = 0.0  # else half a minute of reading is what is under way
            reading.take = begun.noting(place, reading.take)
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

    return Work("data prepare", call, kept, result, begun)


# --- what is fetched, and from where ----------------------------------------------------------------------------------

FILES = {f"{name}-ubyte.gz": random.Random(name).randbytes(400_000) for name in ("one", "two", "three")}


class FileServer:
    """A server of `FILES` in a process of its own, which gives a piece at a time and notes what it is asked for.

    Args:
        folder: for what it notes.
    """

    def __init__(self, folder: Path) -> None:
        port, self._asked = free_port(), folder / "asked"
        handler = type("_Noting", (_Slow,), {"asked": self._asked})
        self.address = f"http://127.0.0.1:{port}"
        self.process: Process = forked(
            lambda: ThreadingHTTPServer(("127.0.0.1", port), handler).serve_forever(), folder / "server.txt"
        )

    def asked(self, _: Path) -> int:
        """How many files were asked for, by whomever."""
        return self._asked.stat().st_size if self._asked.exists() else 0


class _Slow(BaseHTTPRequestHandler):
    asked: Path

    def do_GET(self) -> None:
        """Give one."""
        with self.asked.open("ab") as file:
            file.write(b".")
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


def fetching(server: FileServer) -> Work:
    """`data fetch` from a server: what was fetched is whole, or not there."""
    files = tuple(RemoteFile(name, len(body), hashlib.md5(body).hexdigest()) for name, body in FILES.items())
    collection = Collection("mnist", files, (f"{server.address}/",))

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

    return Work("data fetch", call, kept, result, server.asked)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])
