"""What goes from one machine to another: files of places as bytes, and objects with their large tensors beside."""

import io
import pickle
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from twinlatent.claims import LOCK
from twinlatent.files import SCRAP, replacing
from twinlatent.running.units import Places

LARGE = 100_000
"""Bytes of a tensor from which on it goes beside; as many as Ray sends without its store."""


@dataclass(frozen=True)
class File:
    """A file below a place.

    Attributes:
        place: its name.
        name: below the place, with slashes.
        content: all of it.
    """

    place: str
    name: str
    content: bytes

    @classmethod
    def read(cls, place: str, path: Path, places: Places) -> "File":
        """The file at a path below a place."""
        return cls(place, path.relative_to(places[place]).as_posix(), path.read_bytes())

    def path(self, places: Places) -> Path:
        """Where it lies, or will."""
        return places[self.place] / PurePosixPath(self.name)

    def write(self, places: Places) -> None:
        """Write it, whole or not at all, unless it is there."""
        path = self.path(places)
        if path.is_file() and path.read_bytes() == self.content:
            return
        with replacing(path) as temporary:
            temporary.write_bytes(self.content)


def files_of(patterns: Mapping[str, Sequence[str]], places: Places) -> Iterator[tuple[str, Path]]:
    """Place and path of all files that are there of these, each once; locks and temporary files are nobody's."""
    for place, globs in patterns.items():
        for path in sorted({path for pattern in globs for path in places[place].glob(pattern)}):
            if path.is_file() and path.name != LOCK and not SCRAP.fullmatch(path.name):
                yield place, path


class Changes:
    """Files of a unit in its own folders that are new, or other than before.

    Args:
        patterns: of what the unit keeps.
        places: its folders; what is there now counts as seen.
    """

    def __init__(self, patterns: Mapping[str, Sequence[str]], places: Places) -> None:
        self._patterns, self._places = patterns, places
        self._seen: dict[Path, tuple[int, int, int]] = {}
        self.take()

    def take(self, last: Path | None = None) -> list[File]:
        """What has changed since it was asked before; `last` comes last, since the others say whose it is."""
        changed = []
        for place, path in files_of(self._patterns, self._places):
            stat = path.stat()
            now = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if self._seen.get(path) != now:
                self._seen[path] = now
                changed.append((path == last, place, path))
        return [File.read(place, path, self._places) for _, place, path in sorted(changed)]


@dataclass(frozen=True)
class Packed:
    """An object as a pickle, and its large tensors as arrays, which a store of objects can map into many processes.

    Attributes:
        pickled: all but these.
        arrays: numpy arrays, in the order in which the pickle asks for them.
    """

    pickled: bytes
    arrays: Sequence[Any]

    @classmethod
    def of(cls, thing: Any) -> "Packed":
        """Pack it; errors are those of `pickle`."""
        file = io.BytesIO()
        pickler = _Pickler(file)
        pickler.dump(thing)
        return cls(file.getvalue(), [tensor.numpy() for tensor in pickler.beside])

    def unpacked(self) -> Any:
        """The object; its large tensors share the memory of the arrays, so nobody may change them in place."""
        return _Unpickler(io.BytesIO(self.pickled), self.arrays).load()


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=5)
        self.beside: list[Any] = []
        self._numbers: dict[int, int] = {}

    def persistent_id(self, thing: Any) -> int | None:
        """The number of a tensor that goes beside; the same tensor goes once."""
        import torch

        if type(thing) is not torch.Tensor or thing.nbytes < LARGE or thing.requires_grad or thing.is_sparse:
            return None
        if thing.device.type != "cpu" or thing.dtype == torch.bfloat16 or not thing.is_contiguous():
            return None
        if id(thing) not in self._numbers:
            self._numbers[id(thing)] = len(self.beside)
            self.beside.append(thing)  # keeps it, so that its id stays its own
        return self._numbers[id(thing)]


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, arrays: Iterable[Any]) -> None:
        import torch

        super().__init__(file)
        with warnings.catch_warnings():  # arrays of a store cannot be written to, and are not
            warnings.simplefilter("ignore")
            self._tensors = [torch.from_numpy(array) for array in arrays]

    def persistent_load(self, number: int) -> Any:
        """The tensor of that number."""
        return self._tensors[number]
