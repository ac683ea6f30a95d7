"""A whole evaluation by a Ray cluster of two nodes on this machine, a node and then the driver killed midway.

Each node is a `ray start` of its own with one core, as two machines would be. The second is killed (SIGKILL) while both
have work; then the driver is; then a new node comes, and the same command goes on. What it finds is compared, number by
number and array by array, with the same evaluation in one process. Needs the extra `ray`.

    python benchmarks/cluster.py [--images 60] [--subset 20] [--steps 5] [--out results/cluster.json]
"""

import argparse
import json
import logging
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np

from twinlatent.files import write_json
from twinlatent.provenance import provenance

DETECTOR = "mnist-mim"
UNFINISHED = "unfinished"
PATIENCE = 1800.0
"""Seconds that anything may take to happen."""
EACH = 4
"""So many files more are waited for before something is killed."""


class Node:
    """A node of the cluster, until it is killed."""

    def __init__(self, log: Path, *words: str) -> None:
        ray = [
            str(Path(sys.executable).with_name("ray")),
            "start",
            "--block",
            "--num-cpus=1",
            "--object-store-memory=600000000",
        ]
        with log.open("a") as said:
            self._process = subprocess.Popen([*ray, "--disable-usage-stats", *words], stdout=said, stderr=said,
                                             start_new_session=True)  # fmt: skip

    @property
    def goes_on(self) -> bool:
        """Whether it has not ended by itself."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it at once; what it started ends with it."""
        self._process.kill()
        self._process.wait()


def joined(address: str, log: Path, *words: str) -> Node:
    """A node, once the cluster has it; on a busy machine Ray may give up starting one, and it is started again."""
    before, until = nodes_alive(address), time.monotonic() + PATIENCE
    while time.monotonic() < until:
        node = Node(log, *words)
        while node.goes_on and time.monotonic() < until:
            if nodes_alive(address) > before:
                return node
            time.sleep(1)
        node.kill()
    raise SystemExit(f"no node could be started:\n{log.read_text()}")


def nodes_alive(address: str) -> int:
    """How many nodes the cluster has; 0 if there is none yet."""
    import ray

    with suppress(OSError), closing(socket.create_connection(address.split(":"), 5)):
        try:
            ray.init(address, logging_level=logging.ERROR, log_to_driver=False)
            return sum(node["Alive"] for node in ray.nodes())
        except ConnectionError:
            return 0
        finally:
            ray.shutdown()
    return 0


def patience(what: Callable[[], bool], process: subprocess.Popen[str] | None = None, pause: float = 0.2) -> None:
    """Wait until something happens, as long as the process goes on."""
    until = time.monotonic() + PATIENCE
    while not what():
        if time.monotonic() > until or (process is not None and process.poll() is not None):
            raise SystemExit("what was waited for did not happen")
        time.sleep(pause)


def kept(run: Path) -> dict[Path, int]:
    """What an unfinished evaluation has kept of attacks, and when each file was written."""
    found = {}
    for path in (run / UNFINISHED).rglob("[!.]*.npz"):
        try:
            found[path] = path.stat().st_mtime_ns
        except FileNotFoundError:  # the evaluation has just ended
            continue
    return found


def found(run: Path) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Every number of a finished evaluation, but for the seconds, and every array."""
    runs = json.loads((run / "results.json").read_text())["runs"]
    numbers = [
        {name: value for name, value in row.items() if name != "seconds"} for part in runs for row in part["rows"]
    ]
    with np.load(run / "evaluation.npz") as arrays:
        return numbers, {name: arrays[name].tobytes() for name in arrays.files}


def main() -> None:
    """Run it, print what was found, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="quick")
    for name, default in (("images", 60), ("subset", 20), ("steps", 5), ("blackbox-images", 60)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--substitute", default="f_p", help="in the black box")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    origin = provenance()
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}  # nobody else gets in
    with tempfile.TemporaryDirectory(prefix="twinlatent-cluster-") as folder:
        measured = on_a_cluster(asked, Path(folder))
    print(json.dumps(measured, indent=2))
    if asked.out:
        write_json(asked.out, {**measured, "provenance": origin.model_dump()})


def on_a_cluster(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The evaluation by one process and by a cluster that loses a node and its driver."""
    sizes = {"suite": asked.suite, "images": asked.images, "subset": asked.subset, "steps": asked.steps,
             "blackbox-images": asked.blackbox_images, "substitute": asked.substitute, "shift-images": 20,
             "certified-images": 20, "recipe": str(Path(__file__).with_name("few-steps.toml"))}  # fmt: skip
    words = [sys.executable, "-m", "twinlatent", "evaluate", DETECTOR, "--no-progress"]
    words += [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    one, many = folder / "one", folder / "many"
    happened = interrupted(words, many, folder)
    subprocess.run([*words, "--workers", "1", "--out", str(one)], check=True, stdout=subprocess.DEVNULL)
    (numbers, arrays), (other, others) = found(one), found(many)
    return {
        "detector": DETECTOR,
        "asked": {name: value for name, value in sizes.items() if name != "recipe"},
        "nodes": 2,
        **happened,
        "numbers": len(numbers),
        "differing": sum(a != b for a, b in zip(numbers, other, strict=True)),
        "arrays": len(arrays),
        "arrays_differing": sum(arrays[name] != others[name] for name in arrays),
    }


def interrupted(words: list[str], run: Path, folder: Path) -> dict[str, Any]:
    """The command on a cluster of two nodes, of which one is killed, then the driver; and again with a new node."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    address = f"127.0.0.1:{port}"
    nodes = [joined(address, folder / "head.log", "--head", f"--port={port}", "--include-dashboard=false")]
    with (folder / "driver.log").open("w+") as said:

        def start() -> subprocess.Popen[str]:
            return subprocess.Popen([*words, "--ray", address, "--out", str(run)], stdout=said, stderr=said, text=True)

        try:
            nodes.append(joined(address, folder / "second.log", f"--address={address}"))
            driver = start()
            patience(lambda: len(kept(run)) >= EACH, driver)
            at_node = len(kept(run))
            nodes.pop().kill()
            patience(lambda: len(kept(run)) >= at_node + EACH, driver)
            driver.kill()
            driver.wait()
            before, redone = kept(run), set[Path]()
            nodes.append(joined(address, folder / "third.log", f"--address={address}"))
            driver = start()
            while driver.poll() is None:
                redone |= {path for path, when in kept(run).items() if before.get(path, when) != when}
                time.sleep(0.2)
        finally:
            for node in nodes:
                node.kill()
        said.seek(0)
        heard = said.read()
    if driver.returncode:
        raise SystemExit(f"the command that was started again ended with {driver.returncode}:\n{heard}")
    gone = [line for line in heard.splitlines() if line.endswith("is done again")]
    return {"kept_at": {"node": at_node, "driver": len(before)}, "redone": len(redone), "said": gone}


if __name__ == "__main__":
    main()
