import dataclasses
import gzip
import hashlib
import shutil
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from twinlatent.data import downloads
from twinlatent.data.catalogue import CAT_DOG_FACES, COLLECTIONS, FASHION_MNIST, MNIST, Collection, RemoteFile
from twinlatent.data.downloads import DATA_VARIABLE, obtain
from twinlatent.data.idx import read_idx
from twinlatent.errors import TwinlatentError

CONTENTS = {"big": bytes(range(256)) * 1000, "small": b"0123456789"}  # 250 KiB, and under one


def tiny(*mirrors: str) -> Collection:
    files = [RemoteFile(name, len(data), hashlib.md5(data).hexdigest()) for name, data in CONTENTS.items()]
    return Collection("tiny", tuple(files), mirrors)


class Handler(BaseHTTPRequestHandler):
    """/good/NAME is right; the other folders each fail in a way of their own."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        _, manner, name = self.path.split("/")
        body = CONTENTS[name]
        if manner == "slow":
            self.server.finished.wait(20)
        self.send_response(404 if manner == "none" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write({"half": body[: len(body) // 2], "wrong": body[::-1]}.get(manner, body))

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.finished = [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.finished.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def address(server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address where nobody answers."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}/"


def put(folder: Path, **contents: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def all_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_the_catalogue_is_consistent() -> None:
    files = [file for collection in COLLECTIONS for file in collection.files]
    assert len({file.md5 for file in files}) == len(files)
    assert all(len(bytes.fromhex(file.md5)) == 16 for file in files)
    assert all(mirror.endswith("/") for collection in COLLECTIONS for mirror in collection.mirrors)


def test_published_sizes_are_those_of_the_real_files(mnist_paths, fashion_paths, faces_path) -> None:
    sizes = [file.size for collection in (MNIST, FASHION_MNIST, CAT_DOG_FACES) for file in collection.files]
    assert [path.stat().st_size for path in [*mnist_paths, *fashion_paths, faces_path]] == sizes


def test_what_cannot_be_fetched_has_a_command(cache) -> None:
    assert not any(collection.mirrors and collection.command for collection in COLLECTIONS)
    made = dataclasses.replace(tiny(), command="make tiny")
    with pytest.raises(TwinlatentError, match=r"^tiny/big is not in .*; run `make tiny` or put it into "):
        obtain(made, fetch=True, progress=False)
    told = dataclasses.replace(tiny(), source="pictures of yours")
    with pytest.raises(
        TwinlatentError, match=r"^tiny/big .*; it cannot be fetched; make it of pictures of yours, and "
    ):
        obtain(told, fetch=True, progress=False)


def test_a_file_made_again_is_taken_where_it_is_accepted(cache) -> None:
    accepting = [dataclasses.replace(file, accepts=lambda content: content == b"as good") for file in tiny().files]
    collection = dataclasses.replace(tiny(), files=tuple(accepting))
    put(cache / "tiny", big=b"as good", small=CONTENTS["small"])
    assert len(obtain(collection, fetch=False, progress=False)) == 2
    put(cache / "tiny", big=b"not as good")
    with pytest.raises(TwinlatentError, match="big: is damaged, or holds something else"):
        obtain(collection, fetch=False, progress=False)


def test_missing_files_are_fetched_into_the_cache_once(cache, server, address) -> None:
    paths = obtain(tiny(f"{address}/good/"), fetch=True, progress=False)
    assert paths == [cache / "tiny" / "big", cache / "tiny" / "small"]
    assert [path.read_bytes() for path in paths] == list(CONTENTS.values())
    assert obtain(tiny(f"{address}/good/"), fetch=True, progress=False) == paths
    assert server.asked == ["/good/big", "/good/small"]
    assert all_files(cache) == ["big", "small"]


def test_only_what_is_missing_is_fetched(cache, server, address, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "mine"))
    put(tmp_path / "mine" / "tiny", big=CONTENTS["big"])
    paths = obtain(tiny(f"{address}/good/"), fetch=True, progress=False)
    assert paths == [tmp_path / "mine" / "tiny" / "big", cache / "tiny" / "small"]
    assert server.asked == ["/good/small"]


def test_ones_own_folder_comes_before_the_cache(cache, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "mine"))
    put(tmp_path / "mine" / "tiny", **CONTENTS)
    put(cache / "tiny", **CONTENTS)
    assert obtain(tiny(), fetch=False, progress=False)[0].parent == tmp_path / "mine" / "tiny"


@pytest.mark.parametrize(
    ("manner", "reason"), [("none", "HTTP 404"), ("half", "broke off"), ("wrong", "not the published file")]
)
def test_the_next_mirror_helps_out(cache, server, address, manner: str, reason: str) -> None:
    bad = f"{address}/{manner}/"
    obtain(tiny(bad, f"{address}/good/"), fetch=True, progress=False)
    assert server.asked == [f"/{manner}/big", "/good/big", f"/{manner}/small", "/good/small"]

    shutil.rmtree(cache)
    with pytest.raises(TwinlatentError, match=rf"^tiny/big is not in .*: {reason}\), check the network or put it"):
        obtain(tiny(bad), fetch=True, progress=False)
    assert all_files(cache) == []


def test_without_a_network_one_line_names_file_and_mend(cache, nobody) -> None:
    with pytest.raises(TwinlatentError, match=r"no connection, 127.*no connection") as error:
        obtain(tiny(nobody, nobody), fetch=True, progress=False)
    assert str(error.value).startswith(f"tiny/big is not in {cache / 'tiny'}; fetching failed (")
    assert str(error.value).endswith(f"put it into {cache / 'tiny'}")
    assert "\n" not in str(error.value)
    assert all_files(cache) == []


def test_a_silent_mirror_is_given_up(cache, address, monkeypatch) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT_SECONDS", (0.3, 0.3))
    with pytest.raises(TwinlatentError, match="no answer in time"):
        obtain(tiny(f"{address}/slow/"), fetch=True, progress=False)
    assert all_files(cache) == []


def test_an_interrupted_download_leaves_nothing(cache, address, monkeypatch) -> None:
    def interrupt(self, size: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads._PoochBar, "update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        obtain(tiny(f"{address}/good/"), fetch=True, progress=False)
    assert all_files(cache) == []


def test_scraps_of_a_killed_download_go_with_the_next(cache, address) -> None:
    killed = subprocess.Popen([sys.executable, "-S", "-c", ""])
    killed.wait()
    put(cache / "tiny", **{f".big.twinlatent-{killed.pid}-abcd1234": b"half"})
    obtain(tiny(f"{address}/good/"), fetch=True, progress=False)
    assert all_files(cache) == ["big", "small"]


def test_a_cache_that_cannot_be_written_is_named(cache, address) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(TwinlatentError, match=r"cache/tiny: cannot be written \(Not a directory\).*TWINLATENT_DATA"):
        obtain(tiny(f"{address}/good/"), fetch=True, progress=False)


@pytest.mark.parametrize(("fetch", "mirrors", "mend"), [(False, ["http://a/"], "fetch it"), (True, [], "put it")])
def test_what_must_or_can_not_be_fetched_is_missing(cache, tmp_path, monkeypatch, fetch, mirrors, mend: str) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "mine"))
    put(tmp_path / "mine" / "tiny", big=CONTENTS["big"])
    mine = tmp_path / "mine" / "tiny"
    with pytest.raises(TwinlatentError, match=f"^tiny/small is not in {mine} and {cache / 'tiny'}; {mend}.* {mine}$"):
        obtain(tiny(*mirrors), fetch=fetch, progress=False)


@pytest.mark.parametrize("place", ["own folder", "cache"])
@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (CONTENTS["big"][:100], "is cut short, 100 of 256000 bytes"),
        (
            CONTENTS["big"][::-1],
            "is damaged, or another file: its MD5 is [0-9a-f]{32} and not the published [0-9a-f]{32}",
        ),
    ],
)
def test_a_damaged_copy_is_named_and_kept(cache, tmp_path, monkeypatch, place: str, content, complaint: str) -> None:
    folder = cache / "tiny"
    if place == "own folder":
        monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
        folder = tmp_path / "tiny"
    put(folder, big=content, small=CONTENTS["small"])
    with pytest.raises(TwinlatentError, match=f"^{folder / 'big'}: {complaint}; move it away, or put the published"):
        obtain(tiny("http://127.0.0.1:9/"), fetch=True, progress=False)
    assert (folder / "big").read_bytes() == content


def test_a_folder_in_place_of_a_file_is_named(cache) -> None:
    (cache / "tiny" / "big").mkdir(parents=True)
    with pytest.raises(TwinlatentError, match=r"tiny/big: is a folder, not a file"):
        obtain(tiny(), fetch=True, progress=False)


def test_a_mislabelled_copy_is_called_by_its_real_name(cache, mnist_paths, fashion_paths) -> None:
    target = cache / "mnist" / "train-labels-idx1-ubyte.gz"
    target.parent.mkdir(parents=True)
    wanted = dataclasses.replace(MNIST, files=MNIST.files[1:2])
    for real, name in ((mnist_paths[3], "mnist/t10k-labels"), (fashion_paths[1], "fashion-mnist/train-labels")):
        shutil.copyfile(real, target)
        with pytest.raises(TwinlatentError, match=rf"{target.name}: is really {name}-idx1-ubyte\.gz;"):
            obtain(wanted, fetch=True, progress=False)
    shutil.copyfile(mnist_paths[1], target)
    assert obtain(wanted, fetch=False, progress=False) == [target]


@pytest.mark.parametrize("place", ["mnist", "MNIST/raw"])
@pytest.mark.parametrize(
    ("spelling", "change"),
    [
        ("t10k-labels-idx1-ubyte", gzip.decompress),
        ("t10k-labels.idx1-ubyte", gzip.decompress),
        ("t10k-labels.idx1-ubyte.gz", lambda content: content),
        ("t10k-labels-idx1-ubyte.gz", gzip.decompress),
        ("t10k-labels-idx1-ubyte.gz", lambda content: gzip.compress(gzip.decompress(content), 1)),
    ],
)
def test_the_same_content_is_taken_however_it_is_packed(
    cache, mnist_paths, tmp_path, monkeypatch, place: str, spelling: str, change
) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    labels = dataclasses.replace(MNIST, files=MNIST.files[3:])
    put(tmp_path / place, **{spelling: change(mnist_paths[3].read_bytes())})
    assert obtain(labels, fetch=False, progress=False) == [tmp_path / place / spelling]
    np.testing.assert_array_equal(read_idx(tmp_path / place / spelling, 1), read_idx(mnist_paths[3], 1))


def test_a_damaged_copy_does_not_hide_a_sound_one(cache, mnist_paths) -> None:
    labels = dataclasses.replace(MNIST, files=MNIST.files[3:])
    content = gzip.decompress(mnist_paths[3].read_bytes())
    put(cache / "mnist", **{"t10k-labels-idx1-ubyte.gz": b"cut", "t10k-labels-idx1-ubyte": content})
    assert obtain(labels, fetch=False, progress=False) == [cache / "mnist" / "t10k-labels-idx1-ubyte"]
    put(cache / "mnist", **{"t10k-labels-idx1-ubyte": content[:-1]})
    with pytest.raises(TwinlatentError, match=r"t10k-labels-idx1-ubyte\.gz: is cut short"):
        obtain(labels, fetch=False, progress=False)


def test_contents_in_the_catalogue_are_those_of_the_real_files(mnist_paths, fashion_paths) -> None:
    files = [*MNIST.files, *FASHION_MNIST.files]
    for file, path in zip(files, [*mnist_paths, *fashion_paths], strict=True):
        assert file.content == hashlib.md5(gzip.decompress(path.read_bytes())).hexdigest()


@pytest.mark.parametrize("progress", [True, False])
def test_progress_is_said_by_our_bar_alone(cache, address, capfd, progress: bool) -> None:
    obtain(tiny(f"{address}/good/"), fetch=True, progress=progress)
    said = capfd.readouterr().err.splitlines()
    expected = ["fetching tiny/big, KiB: 250/250", "fetching tiny/small, KiB: 1/1"] if progress else []
    assert [line.split(",  ")[0].rsplit(", ", 1)[0] for line in said] == expected


def test_a_home_that_is_not_known_is_no_error(monkeypatch) -> None:
    monkeypatch.setenv("TWINLATENT_DATA", "~no-such-user-here/data")
    assert downloads.folders("mnist")[0] == Path("~no-such-user-here/data/mnist")
