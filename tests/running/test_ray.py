"""Units as tasks of a real Ray cluster of two nodes: the same files, also when a node or the driver dies midway."""

import gc
import importlib.util
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import twinlatent as tl
from twinlatent.cells import CELLS, Cell
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.results import Report
from twinlatent.reproduce import _SETTINGS, reproduce
from twinlatent.running.ray import Ray
from twinlatent.running.units import Here

pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray's own code
UNITS = '''
"""Units that write two files each, in the ways that a test asks."""
import os, signal, time
from dataclasses import dataclass
from pathlib import Path
from twinlatent.errors import TwinlatentError
from twinlatent.files import write_text

@dataclass(frozen=True)
class Write:
    number: int
    how: str = ""
    marks: str = ""
    steps = 2
    needs = {}

    @property
    def name(self):
        return f"number {self.number}"

    @property
    def keeps(self):
        return {"here": (f"{self.number}-*.txt", "whose.txt")}

    def __call__(self, given, places, heard):
        write_text(places["here"] / "whose.txt", "all the same" if self.how != "odd" else "another")
        for part in "ab":
            path = places["here"] / f"{self.number}-{part}.txt"
            if not path.exists():
                write_text(path, f"{given['word']} {self.number}")
            heard(path)
            if part == "a":
                self.between()

    def between(self):
        if self.how == "refuse":
            raise TwinlatentError("number is 3; give another")
        if self.how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "wait":
            import ray
            marks = Path(self.marks)
            write_text(marks / f"{self.number}.{ray.get_runtime_context().get_node_id()}", str(os.getpid()))
            while not (marks / "go").exists():
                time.sleep(0.1)
'''
DRIVER = """
import sys
from pathlib import Path
from twinlatent.loading import load_object
from twinlatent.running.ray import Ray
if __name__ == "__main__":
    units, kept, marks, address = sys.argv[1:]
    Write = load_object(f"{units}:Write")
    stages = [[Write(0)], [Write(1, "wait", marks), Write(2)], [Write(3)]]
    Ray(address).run(stages, {"word": "a"}, {"here": Path(kept)}, lambda unit, path: print(unit.number, path))
"""


@dataclass(frozen=True)
class Cluster:
    """A head with one core, and another node with one core that can be killed."""

    address: str
    second: str
    kill: Callable[[], None]


@pytest.fixture
def two_nodes(monkeypatch) -> Iterator[Cluster]:
    pytest.importorskip("ray", reason="needs the extra ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # whatever token lies in the home of who runs this
    monkeypatch.setenv("RAY_worker_register_timeout_seconds", "600")
    cluster, second = started()
    try:
        yield Cluster(cluster.address, second.node_id, lambda: cluster.remove_node(second, allow_graceful=False))
    finally:
        cluster.shutdown()
        gc.collect()  # what Ray leaves open is warned of here, where that is ignored


def started(tries: int = 3) -> tuple[Any, Any]:
    """A cluster and its second node; Ray gives a node half a minute to start, which is little on a busy machine."""
    from ray.cluster_utils import Cluster as Nodes

    options, cluster = {"num_cpus": 1, "object_store_memory": 200 * 2**20}, None
    try:
        cluster = Nodes(initialize_head=True, head_node_args={**options, "include_dashboard": False})
        return cluster, cluster.add_node(**options)
    except Exception:
        if cluster is not None:
            cluster.shutdown()
        if tries == 1:
            raise
        return started(tries - 1)


@pytest.mark.slow
def test_files_are_the_same_though_a_node_dies_while_it_does_a_unit(
    unit, written, patience, two_nodes: Cluster, tmp_path: Path
) -> None:
    marks, kept, said, told = tmp_path / "marks", tmp_path / "many", [], []
    marks.mkdir()
    waiting = [unit(number, "wait", str(marks)) for number in (1, 2)]
    stages, plain = [[unit(0)], waiting, [unit(3)]], [[unit(n) for n in range(4)]]
    Here().run(plain, {"word": "a"}, {"here": tmp_path / "one"})
    on_second = lambda: [path.stem for path in marks.glob(f"*.{two_nodes.second}")]  # noqa: E731

    def killing() -> None:
        patience(lambda: bool(on_second()) and len(list(marks.iterdir())) == 2 and len(written(kept)) == 5)
        worker = int(next(marks.glob(f"*.{two_nodes.second}")).read_text())
        two_nodes.kill()
        patience(lambda: not Path(f"/proc/{worker}").exists())  # it outlives its node for a moment
        (marks / "go").touch()

    killer = threading.Thread(target=killing)

    def hear(one: Any, path: Path | None) -> None:
        (tmp_path / "units.py").unlink(missing_ok=True)  # tasks have its source
        told.append((one.number, path and path.name))

    killer.start()
    Ray(two_nodes.address, say=said.append).run(stages, {"word": "a"}, {"here": kept}, hear)
    killer.join()
    assert written(kept) == written(tmp_path / "one")
    assert len(list(marks.glob(f"{on_second()[0]}.*"))) == 2, "what the dead node did was done again on the other"
    assert sorted(told, key=str) == sorted(
        [(n, name) for n in range(4) for name in (f"{n}-a.txt", f"{n}-b.txt", None)], key=str
    )
    assert set(said) <= {"1 of 2 machines of the cluster are gone; what they did is done again"}, "once Ray tells"


@pytest.mark.slow
def test_errors_are_one_line_and_what_was_kept_stays(unit, written, two_nodes: Cluster, tmp_path: Path) -> None:
    asked = Ray(two_nodes.address)
    for how, line in (
        ("refuse", "(?m)^number is 3; give another$"),  # its traceback is in a note below
        ("die", "^number 1: its process or machine died, and again when Ray began it anew .*; what is done is kept"),
        ("odd", "^number [01] and number [01] made another whose.txt: machines of the cluster compute differently"),
    ):
        place = tmp_path / how
        with pytest.raises(TwinlatentError, match=line):
            asked.run([[unit(0)], [unit(1, how)]], {"word": "a"}, {"here": place})
        assert written(place).items() >= {"0-a.txt": "a 0", "0-b.txt": "a 0", "whose.txt": "all the same"}.items()
    with pytest.raises(TwinlatentError, match=r"cannot be sent to other machines .*define it at the top of a file"):
        asked.run([[unit(0)]], {"word": lambda: 0}, {"here": tmp_path})


@pytest.mark.slow
def test_a_machine_without_the_package_is_said_to_be_one(unit, monkeypatch, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="needs the extra ray")
    monkeypatch.chdir(tmp_path)  # tasks find what lies in the driver's folder
    other = tmp_path / "other" / "twinlatent"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise ImportError('it is not here')", encoding="utf-8")
    elsewhere = {"env_vars": {"PYTHONPATH": str(other.parent)}}
    ray.init("local", num_cpus=1, include_dashboard=False, runtime_env=elsewhere)
    try:
        with pytest.raises(TwinlatentError, match=r"number 0: a machine of the cluster cannot begin it \(ImportError: "
                                                  r"it is not here\); install the same twinlatent"):  # fmt: skip
            Ray("local").run([[unit(0)]], {"word": "a"}, {"here": tmp_path / "kept"})
    finally:
        ray.shutdown()


@pytest.mark.slow
def test_a_driver_that_was_killed_goes_on_when_it_is_started_again(
    unit, written, patience, two_nodes: Cluster, tmp_path: Path
) -> None:
    script, kept, marks = tmp_path / "driver.py", tmp_path / "kept", tmp_path / "marks"
    marks.mkdir()
    script.write_text(DRIVER, encoding="utf-8")
    command = [sys.executable, str(script), str(tmp_path / "units.py"), str(kept), str(marks), two_nodes.address]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE)
    patience(lambda: {"0-b.txt", "1-a.txt", "2-b.txt"} <= {*written(kept)})
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    before = {path: path.stat().st_mtime_ns for path in kept.glob("*.txt")}
    (marks / "go").touch()
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900)
    assert written(kept) == {"whose.txt": "all the same"} | {f"{n}-{p}.txt": f"a {n}" for n in range(4) for p in "ab"}
    assert {path: path.stat().st_mtime_ns for path in before} == before, "what was kept is not done again"
    assert len(done.stdout.splitlines()) == 12
    assert done.stderr == "", "Ray is quiet"


@pytest.mark.slow
def test_an_evaluation_is_the_same_bit_for_bit_though_a_node_dies(
    patience, two_nodes: Cluster, trained_detector, digits: Split, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {"suite": "quick", "steps": 1, "images": 60, "subset": 52, "blackbox_images": 8,
                             "shift_images": 4, "certified_images": 8, "epsilon": 0.1, "radii": (0.5,),
                             "condition_radii": (0.3,), **weak(digits),
                             "judges": {"steps": 3, "remembered": 50}, "progress": False}  # fmt: skip
    said: list[str] = []

    def killing() -> None:
        patience(lambda: any(tmp_path.rglob("*-0000*.npz")))
        two_nodes.kill()

    killer = threading.Thread(target=killing)
    killer.start()
    many = tl.evaluate(trained_detector, digits, folder=tmp_path / "run",
                       workers=Ray(two_nodes.address, say=said.append), **asked)  # fmt: skip
    killer.join()
    one = tl.evaluate(trained_detector, digits, **asked)
    assert numbers(many) == numbers(one)
    assert (many.checks, many.judges) == (one.checks, one.judges)
    assert set(said) <= {"1 of 2 machines of the cluster are gone; what they did is done again"}, "once Ray tells"


@pytest.mark.slow
def test_detectors_are_trained_and_judged_by_a_cluster_as_here(
    two_nodes: Cluster, digits: Split, tmp_path: Path, monkeypatch
) -> None:
    cells = Cell("twinlatent", "mim"), Cell("plain", "none")
    monkeypatch.setitem(CELLS, "table2", cells)
    monkeypatch.setitem(_SETTINGS, "smoke", _SETTINGS["smoke"].model_copy(update=weak(digits)))
    asked: dict[str, Any] = {"preset": "smoke", "data": ["digits"], "progress": False}
    by_cluster = reproduce("table2", tmp_path / "many", workers=Ray(two_nodes.address), **asked)["digits"]
    for one, many in zip(reproduce("table2", tmp_path / "one", **asked)["digits"], by_cluster, strict=True):
        assert numbers(many) == numbers(one)
    for cell in cells:
        one, many = (tl.load(tmp_path / called / "digits" / cell.folder).fingerprint for called in ("one", "many"))
        assert one == many, "the same weights"


def weak(digits: Split) -> dict[str, Any]:
    """Settings of an evaluation with one substitute, of few steps; processes of their own know of no patch."""
    usual = tl.EvaluationSettings().for_images(digits, {}).networks["f_p"]
    return {"substitutes": ("f_p",), "networks": {"f_p": usual.model_copy(update={"steps": 3})}}


def numbers(report: Report) -> list[dict[str, Any]]:
    """All that is measured but the time, and where it comes from: a commit may be made meanwhile."""
    return [
        {name: value for name, value in record if name not in ("seconds", "commit", "date")}
        for record in report.records
    ]


def test_without_ray_a_line_names_the_extra(monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TwinlatentError, match=r"^a cluster needs ray; install it: pip install '\.\[ray\]' in a copy"):
        Ray("local")


@pytest.fixture
def with_ray(monkeypatch) -> None:
    """As if Ray were installed, as far as nobody imports it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)


@pytest.mark.parametrize("wrong", ["", "cluster", ":6379", "ray://10.0.0.1:10001", "10.0.0.1:x", "10.0.0.1:70000"])
def test_what_is_no_address_is_said(with_ray, wrong: str) -> None:
    with pytest.raises(TwinlatentError, match=f"^--ray {wrong}: give the cluster's HOST:PORT, such as 10.0.0.1:6379"):
        Ray(wrong)


@pytest.mark.parametrize(
    ("address", "mend"),
    [
        ("local", r"try again when it has less to do$"),
        ("auto", r"start one: ray start --head$"),
        ("", r"if its first machine says that token authentication is enabled, set RAY_AUTH_MODE=token and copy .*"),
    ],
)
def test_a_cluster_that_lets_nobody_in_is_one_line(unit, with_ray, monkeypatch, tmp_path, address: str, mend: str):
    def init(*_: object, **__: object) -> None:
        raise ConnectionError("Failed to connect")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False, init=init))
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        address = address or f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(TwinlatentError, match=rf"^--ray {address}: no cluster \(Failed to connect\); {mend}"):
            Ray(address).run([[unit(0)]], {}, {"here": tmp_path})


def test_an_address_that_nobody_answers_is_one_line(unit, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    with pytest.raises(TwinlatentError, match=f"^--ray 127.0.0.1:{port}: nobody answers there .*ray start --head"):
        Ray(f"127.0.0.1:{port}").run([[unit(0)]], {}, {"here": tmp_path})
