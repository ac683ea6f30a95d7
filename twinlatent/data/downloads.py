"""Finding the files of a collection on this machine, and fetching those that are missing.

A file is looked for in `$TWINLATENT_DATA/<collection>/`, then in the user's cache, which is also where fetched files
go, and beside both where torchvision leaves it. Whatever is found is checked before it is used: by its published MD5,
by that of what is in it, or, of a file that people can make again, by what it holds.
"""

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pooch

from twinlatent.data.catalogue import Collection, RemoteFile, published_as
from twinlatent.data.kinds import check_file, unpacked
from twinlatent.errors import TwinlatentError
from twinlatent.files import replacing
from twinlatent.progress import Bar, bar

DATA_VARIABLE = "TWINLATENT_DATA"
CHUNK_BYTES = 2**16
TIMEOUT_SECONDS = (10, 30)  # to connect, between two pieces


def obtain(collection: Collection, *, fetch: bool, progress: bool) -> list[Path]:
    """Paths of all files of `collection`, in its order, each checked.

    Args:
        collection: what to find.
        fetch: whether missing files may be fetched over the network into the cache.
        progress: whether to show a progress bar while fetching.

    Raises:
        TwinlatentError: a file is missing and cannot or must not be fetched, or is not the published one.
    """
    found = [locate(collection, file) for file in collection.files]
    missing = [file for file, path in zip(collection.files, found, strict=True) if path is None]
    if missing and not (fetch and collection.mirrors):
        raise _missing(collection, missing[0], _how(collection))
    return [path or _fetch(collection, file, progress) for file, path in zip(collection.files, found, strict=True)]


def _how(collection: Collection) -> str:
    """How to come by a missing file, up to where it goes."""
    if collection.mirrors:
        return "fetch it (fetch=True) or put"
    if collection.command:
        return f"run `{collection.command}` or put"
    return f"it cannot be fetched; make it of {collection.source}, and put" if collection.source else "put"


def folders(name: str) -> list[Path]:
    """Where the files of the collection called `name` may lie, in the order of looking; the last is the cache."""
    chosen = os.environ.get(DATA_VARIABLE)
    roots = [Path(os.path.expanduser(chosen))] if chosen else []
    return [root / name for root in (*roots, Path(pooch.os_cache("twinlatent")))]


def locate(collection: Collection, file: RemoteFile) -> Path | None:
    """Path of the first sound copy of `file` on this machine, None if there is no copy.

    It may lie unpacked, packed anew, or where torchvision leaves it, as long as it holds the same.

    Raises:
        TwinlatentError: no copy is the published file, nor as good as that, or none can be read.
    """
    fault: TwinlatentError | None = None
    for path in _copies(collection, file):
        try:
            _check(path, file)
        except TwinlatentError as error:
            fault = fault or error
        else:
            return path
    if fault is not None:
        raise fault
    return None


def _copies(collection: Collection, file: RemoteFile) -> Iterator[Path]:
    for folder in folders(collection.name):
        for place in (folder, *(folder.parent / name for name in collection.elsewhere)):
            for spelling in file.spellings:
                if (place / spelling).exists() or (place / spelling).is_symlink():
                    yield place / spelling


def _check(path: Path, file: RemoteFile) -> None:
    check_file(path)
    try:
        md5 = _file_md5(path)
        content = _content_md5(path) if file.content and md5 != file.md5 else md5
        accepted = bool(file.accepts) and md5 != file.md5 and file.accepts(path.read_bytes())  # type: ignore[misc]
    except OSError as error:
        raise TwinlatentError(f"{path}: cannot be read ({error.strerror}); mend its permissions") from None
    if md5 != file.md5 and content != file.content and not accepted:
        fault = _fault(path, md5, content, file)
        raise TwinlatentError(f"{path}: {fault}; move it away, or put the published file in its place")


def _file_md5(path: Path) -> str:
    """MD5 of a file."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, _md5).hexdigest()


def _md5(start: bytes = b"") -> "hashlib._Hash":
    return hashlib.md5(start, usedforsecurity=False)


def _content_md5(path: Path) -> str:
    """MD5 of a file, or of what is in it if it is a gzip file; empty if that is damaged."""
    digest = _md5()
    try:
        with unpacked(path) as file:
            while piece := file.read(CHUNK_BYTES):
                digest.update(piece)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return ""
    return digest.hexdigest()


def _fault(path: Path, md5: str, content: str, file: RemoteFile) -> str:
    real = published_as(md5) or (content and published_as(content))
    if real:
        return f"is really {real}"
    if file.accepts is not None:  # made again, it may have any size
        return "is damaged, or holds something else than the published file"
    size = path.stat().st_size
    if size < file.size and path.name == file.name:
        return f"is cut short, {size} of {file.size} bytes"
    return f"is damaged, or another file: its MD5 is {md5} and not the published {file.md5}"


def _missing(collection: Collection, file: RemoteFile, mend: str) -> TwinlatentError:
    first, *more = folders(collection.name)
    places = " and ".join(str(folder) for folder in (first, *more))
    return TwinlatentError(f"{collection.name}/{file.name} is not in {places}; {mend} it into {first}")


def _fetch(collection: Collection, file: RemoteFile, progress: bool) -> Path:
    from requests.exceptions import RequestException  # with pooch; slow to import

    failures = []
    for mirror in collection.mirrors:
        try:
            return _download(mirror + file.name, collection, file, progress)
        except (RequestException, ValueError) as error:
            failures.append(f"{urlsplit(mirror).netloc}: {_reason(error)}")
        except OSError as error:
            folder = folders(collection.name)[-1]
            mend = f"mend that, or put the files elsewhere and set {DATA_VARIABLE}"
            raise TwinlatentError(
                f"{folder}: cannot be written ({error.strerror or 'no permission'}); {mend}"
            ) from None
    raise _missing(collection, file, f"fetching failed ({', '.join(failures)}), check the network or put")


def _download(address: str, collection: Collection, file: RemoteFile, progress: bool) -> Path:
    with bar(f"fetching {collection.name}/{file.name}, KiB", _kibibytes(file.size), show=progress) as shown:
        downloader = pooch.HTTPDownloader(
            progressbar=_PoochBar(shown),
            chunk_size=CHUNK_BYTES,
            timeout=TIMEOUT_SECONDS,
            headers={"Accept-Encoding": "identity"},  # the gzip file itself, not one more layer around it
        )
        path = folders(collection.name)[-1] / file.name
        with replacing(path) as temporary:  # pooch's own would stay for ever in the cache where it is killed
            downloader(address, str(temporary), None)
            found = _file_md5(temporary)
            if found != file.md5:
                raise ValueError(f"its MD5 is {found}")
        return path


def _kibibytes(size: int) -> int:
    return -(-size // 1024)


class _PoochBar:
    """What pooch asks of a progress bar, told to one of ours that counts KiB."""

    def __init__(self, shown: Bar) -> None:
        self.total = 0  # pooch sets it; ours is the published size
        self._shown, self._bytes = shown, 0

    def update(self, size: int) -> None:
        self._bytes += size
        step = min(_kibibytes(self._bytes), self._shown.total) - self._shown.done
        if step > 0:
            self._shown.advance(step)

    def reset(self) -> None:
        self._bytes = 0

    def close(self) -> None:
        pass


def _reason(error: Exception) -> str:
    from requests import exceptions

    match error:
        case exceptions.HTTPError(response=response) if response is not None:
            return f"HTTP {response.status_code}"
        case exceptions.Timeout():
            return "no answer in time"
        case exceptions.ChunkedEncodingError():
            return "broke off"
        case exceptions.ConnectionError():
            return "no connection"
        case exceptions.RequestException():
            return type(error).__name__
        case _:
            return "not the published file"
