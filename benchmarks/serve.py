"""A server under load: images a second against the bare model, times, memory, and whether every answer is right.

Clients keep their connections and send one request after the other: pictures, arrays, JSON, forms, and one in eight
that must be refused. Each answer is compared with what `detect` says of the same images in this process, bit for bit.
The bare model is asked first, 32 images at a time, with the same number of threads. Clients run in this process, so on
a machine of few cores they take a part of what the server could have.

    python benchmarks/serve.py [--model mnist-mim] [--data mnist] [--seconds 30] [--clients 32] [--threads 1] [--out F]
"""

import argparse
import http.client
import io
import itertools
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import twinlatent as tl
from twinlatent.files import write_json
from twinlatent.method.calibrated import CHUNK, CalibratedDetector
from twinlatent.provenance import provenance
from twinlatent.serve.answers import shortest

FPR = 0.05
FLAT = 1.05
"""Memory at the end, as a multiple of that after a third of the time, that counts as flat."""


@dataclass(frozen=True)
class Request:
    """What is sent, and what must come back: rows of results, or a status that refuses."""

    body: bytes
    kind: str
    images: int
    wanted: Any


@dataclass
class Seen:
    """What one client got."""

    seconds: list[float] = field(default_factory=list)
    images: int = 0
    counts: Counter[str] = field(default_factory=Counter)


def npy(images: Tensor) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, images.numpy())
    return buffer.getvalue()


def png(image: Tensor) -> bytes:
    """An image (channels, H, W) whose values bytes hold."""
    buffer = io.BytesIO()
    values = image.mul(255).round().byte().movedim(0, -1).numpy()
    Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values).save(buffer, "PNG")
    return buffer.getvalue()


def form(images: Tensor) -> bytes:
    parts = [b'--b\r\nContent-Disposition: form-data; name="a"; filename="a.png"\r\n\r\n' + png(image) + b"\r\n"
             for image in images]  # fmt: skip
    return b"".join(parts) + b"--b--\r\n"


def requests_of(detector: CalibratedDetector, images: Tensor) -> list[Request]:
    """Good ones of all kinds on parts of the images, and after each seven of them one bad one."""
    verdict = detector.detect(images, FPR)
    numbers = [[shortest(value) for value in part.tolist()] for part in (verdict.p_value, verdict.suspicion)]
    rows = [list(row) for row in zip(verdict.label.tolist(), verdict.adversarial.tolist(), *numbers, strict=True)]
    kinds = itertools.cycle([
        (1, "image/png", lambda x: png(x[0])),
        (1, "application/x-npy", npy),
        (4, "application/json", lambda x: json.dumps(x.tolist()).encode()),
        (8, "application/x-npy", npy),
        (3, "multipart/form-data; boundary=b", form),
        (32, "application/x-npy", npy),
        (2, "application/json", lambda x: json.dumps({"images": x.tolist()}).encode()),
    ])  # fmt: skip
    bad = itertools.cycle([
        (b"no image", "image/png", 415), (png(images[0])[:40], "image/png", 422), (npy(images[:1] * 3), "", 422),
        (b"[[[", "application/json", 400), (bytes(17 * 2**20), "", 413), (npy(images[:1, :, 1:]), "", 422),
        (npy(images[:1])[:-1], "", 422), (b"", "image/png", 400),
    ])  # fmt: skip
    found, first = [], 0
    for number in range(len(images)):
        count, kind, write = next(kinds)
        if first + count > len(images):
            break
        part = slice(first, first + count)
        found.append(Request(write(images[part]), kind, count, rows[part]))
        first += count
        if number % 7 == 6:
            body, kind, status = next(bad)
            found.append(Request(body, kind, 0, status))
    return found


def ask(connection: http.client.HTTPConnection, path: str, request: Request) -> str:
    """What came of it: `right`, `wrong`, `refused` as it should be, or `busy`."""
    connection.request("POST", path, request.body, {"Content-Type": request.kind})
    answer = connection.getresponse()
    said = json.loads(answer.read())
    if answer.status == 503:
        return "busy"
    if isinstance(request.wanted, int):
        return "refused" if answer.status == request.wanted else "wrong"
    if answer.status != 200:
        return "wrong"
    names = ("class_index", "adversarial", "p_value", "suspicion")
    return "right" if [[row[name] for name in names] for row in said["results"]] == request.wanted else "wrong"


def client(port: int, path: str, requests: list[Request], until: float, seen: Seen) -> None:
    """Ask until the time is over; what is under way then is still waited for."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for request in itertools.cycle(requests):
        began = time.perf_counter()
        if began > until:
            break
        try:
            outcome = ask(connection, path, request)
        except (OSError, http.client.HTTPException, ValueError):
            outcome = "lost"
            connection.close()
        seen.counts[outcome] += 1
        if outcome == "right":
            seen.seconds.append(time.perf_counter() - began)
            seen.images += request.images
    connection.close()


@contextmanager
def served(model: str, threads: int) -> Iterator[int]:
    """A server of that model in a process of its own; yields its port."""
    command = [sys.executable, "-m", "twinlatent", "serve", f"own={model}", "--port", "0", "--threads", str(threads)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = re.search(r":(\d+)$", process.stderr.readline().strip())
            if found is None:
                raise SystemExit("the server did not start")
            yield int(found[1])
        finally:
            process.send_signal(signal.SIGTERM)
            if process.wait(60) != 0:
                raise SystemExit("the server did not end as it should")


def memory(port: int) -> float:
    """Of the server, in megabytes, as it says itself."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    connection.close()
    found = re.search(r"^process_resident_memory_bytes (\S+)$", page, re.MULTILINE)
    return float(found[1]) / 1e6 if found else float("nan")


def bare(detector: CalibratedDetector, images: Tensor, seconds: float) -> float:
    """Images a second of the detector without a server."""
    chunk, done, began = images[:CHUNK], 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        detector.detect(chunk, FPR)
        done += len(chunk)
    return done / (time.perf_counter() - began)


def measure(model: str, images: Tensor, *, seconds: float, clients: int, threads: int) -> dict[str, Any]:
    """Put a server of that model under load.

    Args:
        model: as `twinlatent serve` takes it.
        images: (n, channels, H, W) whose values bytes hold, n at least 32.
        seconds: of load.
        clients: that ask at the same time.
        threads: of the server's model.
    """
    torch.set_num_threads(threads)
    detector = tl.load(model)
    requests, rate = requests_of(detector, images), bare(detector, images, min(5, seconds / 3))
    with served(model, threads) as port:
        until, seen = time.perf_counter() + seconds, [Seen() for _ in range(clients)]
        crowd = [threading.Thread(target=client, args=(port, "/v1/models/own/detect", turned, until, one))
                 for one, turned in zip(seen, turns(requests, clients), strict=True)]  # fmt: skip
        began, sizes = time.perf_counter(), []
        for one in crowd:
            one.start()
        while time.perf_counter() < until:
            sizes.append(memory(port))
            time.sleep(min(1.0, seconds / 10))
        for one in crowd:
            one.join()
        took = time.perf_counter() - began
        sizes.append(memory(port))
    times, counts = [t for one in seen for t in one.seconds], sum((one.counts for one in seen), Counter[str]())
    percentiles = quantiles(times, n=100)
    served_rate = sum(one.images for one in seen) / took
    third = sizes[len(sizes) // 3]
    return {
        "seconds": round(took, 1), "clients": clients, "threads": threads,
        "requests": dict(sorted(counts.items())), "requests_per_second": round(sum(counts.values()) / took, 1),
        "images_per_second": round(served_rate, 1), "bare_images_per_second": round(rate, 1),
        "share_of_bare": round(served_rate / rate, 3), "p50_ms": round(1e3 * percentiles[49], 1),
        "p99_ms": round(1e3 * percentiles[98], 1), "wrong": counts["wrong"], "lost": counts["lost"],
        "memory_mb": {"after_a_third": round(third, 1), "end": round(sizes[-1], 1), "highest": round(max(sizes), 1)},
        "memory_flat": sizes[-1] <= FLAT * third,
    }  # fmt: skip


def turns(requests: list[Request], clients: int) -> Iterator[list[Request]]:
    """The same requests for each client, each from another one on."""
    for number in range(clients):
        first = number * len(requests) // clients
        yield requests[first:] + requests[:first]


def main() -> None:
    """Measure, print, write if asked; fail if an answer was wrong or lost, or memory grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mnist-mim")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    where = provenance().model_dump()
    images = tl.data.load(options.data).test.images[:512].mul(255).round() / 255
    found = measure(options.model, images, seconds=options.seconds, clients=options.clients, threads=options.threads)
    found = {"model": options.model, "data": options.data, **found, "provenance": where}
    print(json.dumps(found, indent=2))
    if options.out:
        write_json(options.out, found)
    if found["wrong"] or found["lost"] or not found["memory_flat"]:
        raise SystemExit("an answer was wrong or lost, or memory grew")


if __name__ == "__main__":
    main()
