"""Running units as tasks of a Ray cluster, on as many machines as it has; the extra `ray`.

Ray places tasks, does those again whose process or machine died, and moves and spills what they are given. The driver,
which alone has the folders, writes what tasks keep as it comes: started again, it goes on from there.
"""

import hashlib
import importlib.util
import logging
import os
import pickle
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twinlatent.code_digest import code_identity
from twinlatent.errors import TwinlatentError, brief, extra
from twinlatent.loading import sources_run
from twinlatent.provenance import provenance
from twinlatent.running.carried import File, Packed, files_of
from twinlatent.running.cores import physical_cores
from twinlatent.running.ray_task import Common, do_unit
from twinlatent.running.units import Places, Runner, Told, Unit, nothing_told
from twinlatent.running.worker import FAILED, KEPT
from twinlatent.running.workers import AGAIN, on_stderr

LOCAL, AUTO = "local", "auto"
"""A cluster of this machine's cores, made for the run; the one that this machine is part of."""
PATIENCE = 5.0
"""Seconds an address has to answer, and between two looks at the machines of a cluster."""
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Environment of a cluster that is made here: it reports to nobody, and leaves devices as they are."""


@dataclass(frozen=True)
class Ray(Runner):
    """Runs units as tasks of a Ray cluster.

    Where this process is connected to a cluster already, that one is taken, and left connected.

    Attributes:
        address: HOST:PORT of a cluster that this machine is part of, `AUTO`, or `LOCAL`.
        threads: cores that a task takes, and that torch uses in it.
        gpus: that a task takes; a part, such as 0.5, lets two tasks share one.
        say: gets a line on machines that are gone or missing.

    Raises:
        TwinlatentError: Ray is not installed, or the address is none.
    """

    address: str
    threads: int = 1
    gpus: float = 0
    say: Callable[[str], None] = field(default=on_stderr, compare=False)

    def __post_init__(self) -> None:
        if importlib.util.find_spec("ray") is None:
            raise TwinlatentError(f"a cluster needs ray; install it: {extra('ray')}")
        if self.address not in (LOCAL, AUTO):
            _host_and_port(self.address)

    def run(self, stages: Sequence[Sequence[Unit]], given: Any, places: Places, told: Told = nothing_told) -> None:
        """See `Runner`.

        Raises:
            TwinlatentError: besides, no cluster answers, what is given cannot be sent to another machine, or machines
                of the cluster compute differently.
        """
        if not any(stages):
            return
        common = _common(given, self.threads)
        with _connected(self.address):
            tasks = _Tasks(self, common, places)
            for stage in stages:
                tasks.do(stage, told)


def _common(given: Any, threads: int) -> Common:
    try:
        packed = Packed.of(given)
    except (pickle.PicklingError, AttributeError, TypeError, RuntimeError) as error:
        raise TwinlatentError(f"a part of this cannot be sent to other machines ({brief(error)}); define it at the top "
                              "of a file, or do without --ray") from error  # fmt: skip
    return Common(packed, sources_run(), threads, provenance(), code_identity())


# --- the cluster ----------------------------------------------------------------------------------------------------


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """Within the block this process is the driver of a cluster."""
    import ray

    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address == LOCAL:
            with _environment():
                ray.init(LOCAL, num_cpus=physical_cores(), include_dashboard=False, **quiet)
        else:
            ray.init(_answering(address), **quiet)
    except (Exception, SystemExit) as error:
        if isinstance(error, TwinlatentError):
            raise
        raise TwinlatentError(f"--ray {address}: no cluster ({brief(error)}); {_mend(address)}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _mend(address: str) -> str:
    """What to do where an address answers, or none was given, and yet there is no cluster."""
    if address == LOCAL:
        return "try again when it has less to do"
    if address == AUTO:
        return "start one: ray start --head"
    return ("if its first machine says that token authentication is enabled, set RAY_AUTH_MODE=token and copy that "
            "machine's ~/.ray/auth_token; else start one: ray start --head")  # fmt: skip


def _answering(address: str) -> str:
    """The address, if anybody answers there: Ray itself would try for minutes, and end the process."""
    address = os.environ.get("RAY_ADDRESS", AUTO) if address == AUTO else address
    if address == AUTO:
        return address
    try:
        socket.create_connection(_host_and_port(address), PATIENCE).close()
    except OSError as error:
        raise TwinlatentError(f"--ray {address}: nobody answers there ({brief(error)}); start a cluster with ray start "
                              "--head, which says its address") from error  # fmt: skip
    return address


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not (port.isascii() and port.isdigit() and int(port) < 2**16):
        raise TwinlatentError(f"--ray {address}: give the cluster's HOST:PORT, such as 10.0.0.1:6379, or {AUTO}, on a "
                              f"machine that is part of it; or {LOCAL}")  # fmt: skip
    return host.strip("[]"), int(port)


@contextmanager
def _environment() -> Iterator[None]:
    """Within the block what is started here has the environment `QUIET`."""
    before = {name: os.environ.get(name) for name in (*QUIET, "RAY_AUTH_MODE")}  # which Ray sets for its own cluster
    os.environ.update(QUIET)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


# --- its tasks ------------------------------------------------------------------------------------------------------


class _Tasks:
    """The tasks of one run."""

    def __init__(self, asked: Ray, common: Common, places: Places) -> None:
        import ray

        self._ray, self._asked, self._places = ray, asked, places
        self._task = ray.remote(do_unit).options(
            num_returns="streaming", max_retries=AGAIN, num_cpus=asked.threads, num_gpus=asked.gpus
        )
        self._common = ray.put(common)
        self._put: dict[tuple[Path, int], Any] = {}
        self._brought: dict[Path, tuple[str, str]] = {}
        self._machines: set[str] = set()
        self._looked = 0.0
        self._look_at_machines(at_once=True)
        self._say_what_is_missing()

    def do(self, units: Sequence[Unit], told: Told) -> None:
        """Do all units of a stage; files are written as they come."""
        running = {}
        try:
            for unit in units:
                running[self._begin(unit)] = unit
            while running:
                ready, _ = self._ray.wait(list(running), num_returns=1, timeout=PATIENCE, fetch_local=False)
                self._look_at_machines()
                for task in ready:
                    if self._heard(task, running[task], told):
                        del running[task]
            self._look_at_machines(at_once=True)
        finally:
            for task in running:
                with suppress(Exception):
                    self._ray.cancel(task, force=True)

    def _begin(self, unit: Unit) -> Any:
        """A task, with the files that the unit needs, and those that an earlier run has kept."""
        there = dict.fromkeys((*files_of(unit.needs, self._places), *files_of(unit.keeps, self._places)))
        return self._task.remote([self._common], pickle.dumps(unit), [self._sent(*one) for one in there])

    def _sent(self, place: str, path: Path) -> Any:
        """A file in Ray's store, where it lies once for all units."""
        key = path, path.stat().st_mtime_ns
        if key not in self._put:
            self._put[key] = self._ray.put(File.read(place, path, self._places))
        return self._put[key]

    def _heard(self, task: Any, unit: Unit, told: Told) -> bool:
        """Take in what a task says next; whether that was its last word."""
        try:
            kind, *said = self._ray.get(next(task))
        except self._ray.exceptions.RayTaskError as error:  # not the unit's own, which is said: it could not begin
            why = brief(str(error.cause or error).strip().rpartition("\n")[2])
            raise TwinlatentError(f"{unit.name}: a machine of the cluster cannot begin it ({why}); install the same "
                                  "twinlatent, with the same versions, on all of them") from error  # fmt: skip
        except self._ray.exceptions.RayError as error:
            raise TwinlatentError(f"{unit.name}: its process or machine died, and again when Ray began it anew "
                                  f"({brief(type(error).__name__)}); what is done is kept; the same command "
                                  "resumes") from error  # fmt: skip
        if kind == FAILED:
            failure, text = said
            failure.add_note(f"In a task of the cluster:\n{text}")
            raise failure
        if kind != KEPT:
            told(unit, None)
            return True
        heard, files = said
        for file in files:
            self._write(file, unit)
        if heard is not None:
            place, name = heard
            told(unit, self._places[place] / name)
        return False

    def _write(self, file: File, unit: Unit) -> None:
        """Write a file; where two units keep the same, as what says whose work it is, they must agree."""
        path, mark = file.path(self._places), hashlib.sha256(file.content).hexdigest()
        by, before = self._brought.get(path, (unit.name, mark))
        if by != unit.name and before != mark:
            raise TwinlatentError(f"{by} and {unit.name} made another {path.name}: machines of the cluster compute "
                                  "differently; give it machines of one kind")  # fmt: skip
        if by == unit.name:
            file.write(self._places)
            self._brought[path] = unit.name, mark

    def _look_at_machines(self, *, at_once: bool = False) -> None:
        """Say how many machines are gone since the last look, which is not long ago unless it has to be at once."""
        if time.monotonic() - self._looked < PATIENCE and not at_once:
            return
        self._looked = time.monotonic()
        now = {one["NodeID"] for one in self._ray.nodes() if one["Alive"]}
        gone = len(self._machines - now)
        if gone:
            self._asked.say(f"{gone} of {len(self._machines)} machines of the cluster are gone; what they did is done "
                            "again")  # fmt: skip
        self._machines = now

    def _say_what_is_missing(self) -> None:
        """Say what no machine of the cluster has now; units wait until one has."""
        needed = {"CPU": float(self._asked.threads), "GPU": float(self._asked.gpus)}
        machines = [one["Resources"] for one in self._ray.nodes() if one["Alive"]]
        if not any(all(has.get(name, 0) >= count for name, count in needed.items()) for has in machines):
            wanted = " and ".join(f"{count:g} {name}" for name, count in needed.items() if count)
            self._asked.say(f"no machine of the cluster has {wanted}; units wait for one")
