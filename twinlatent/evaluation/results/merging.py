"""Shards of an evaluation or an attack, put together in the folder of the whole."""

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from twinlatent.claims import LOCK, OURS, claimed
from twinlatent.errors import TwinlatentError, listed
from twinlatent.evaluation.results.folder import UNFINISHED
from twinlatent.evaluation.results.records import complaint, read_json
from twinlatent.files import replacing, write_json
from twinlatent.provenance import Provenance
from twinlatent.running.shards import Shard

SHARD = "shard.json"
"""File of a shard's folder that says which it is; it is there when all of it is done."""
ANYBODYS = frozenset({"seconds.json", LOCK})
"""Of these every shard has its own, and none counts."""


class ShardFile(BaseModel):
    """What a shard's folder says.

    Attributes:
        format: of the file.
        command: that made it.
        number, of: see `Shard`.
        asked: the command's options by name, JSON-able.
        origin: of the run without its shard.
        kept: SHA-256 of each file that it kept, by place; None of shards made before this was noted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["twinlatent shard 1"] = "twinlatent shard 1"
    command: Literal["evaluate", "attack"]
    number: int
    of: int
    asked: dict[str, Any]
    origin: Provenance
    kept: dict[str, str] | None = None


def shard_folder(whole: Path, shard: Shard) -> Path:
    """The folder of a shard, beside that of the whole: `run.shard-3-of-8`."""
    whole = whole if whole.name else whole.resolve()  # such as `.`
    return whole.with_name(whole.name + shard.suffix)


def write_shard(folder: Path, shard: ShardFile) -> None:
    """Say that a shard is done, and what it kept."""
    kept = {relative.as_posix(): _digest(path) for relative, path in _kept(folder)}
    write_json(folder / SHARD, shard.model_copy(update={"kept": kept}).model_dump(mode="json"))


def read_shard(folder: Path) -> ShardFile:
    """What a shard's folder says.

    Raises:
        TwinlatentError: it is no shard, or not finished.
    """
    if not (folder / SHARD).exists():
        begun = (folder / UNFINISHED).is_dir()
        what = "is a shard that is not finished; run its command again" if begun else f"is no shard: no {SHARD} in it"
        raise TwinlatentError(f"{folder} {what}")
    try:
        return ShardFile.model_validate(read_json(folder / SHARD))
    except ValidationError as error:
        raise TwinlatentError(f"{folder / SHARD}: {complaint(error)}") from error


def merge(folders: Sequence[Path], into: Path) -> ShardFile:
    """Copy what the shards kept into the folder `into` of unfinished work; what they say, being the same, is returned.

    Args:
        folders: one a shard; all of them, in any order.
        into: where the command itself would look for unfinished work; nothing is written before all is checked.

    Raises:
        TwinlatentError: a shard is missing, there twice or not finished, or lacks a file that it kept; or two do not
            belong together, since they are of other detectors, settings, seeds, data, code, or networks.
    """
    for number, folder in enumerate(folders):
        if folder.resolve() in [other.resolve() for other in folders[:number]]:
            raise TwinlatentError(f"{folder} is given twice; give each once")
    shards = {folder: read_shard(folder) for folder in folders}
    first = _all_there(shards)
    with ExitStack() as stack:
        for folder, shard in shards.items():
            stack.enter_context(claimed(folder))
            _check_kept(folder, shard)
        files = list(_files(folders))
        for file in files:
            target = into / file.name
            if target.exists() and not _same(file.path, target):
                raise TwinlatentError(f"{target} is of other work than {file.path}; give another folder than {into}")
        for file in files:
            if not (into / file.name).exists():
                with replacing(into / file.name) as temporary:
                    shutil.copyfile(file.path, temporary)
    return first


def _all_there(shards: Mapping[Path, ShardFile]) -> ShardFile:
    """The first of them; `TwinlatentError` if they are not all parts of one work, each once."""
    numbers: dict[int, Path] = {}
    (where, first), *others = shards.items()
    for folder, shard in shards.items():
        if shard.number in numbers:
            raise TwinlatentError(f"{numbers[shard.number]} and {folder} are both shard {shard.number}/{shard.of}; "
                                  "give each once")  # fmt: skip
        numbers[shard.number] = folder
    for folder, shard in others:
        names = [name for name in ("command", "of") if getattr(shard, name) != getattr(first, name)]
        names += [name for name in first.asked if shard.asked.get(name) != first.asked[name]]
        if names:
            raise TwinlatentError(f"{folder} and {where} are shards of different work: other {listed(names)}")
    missing = [str(number) for number in range(1, first.of + 1) if number not in numbers]
    if missing:
        raise TwinlatentError(f"of {first.of} shards {len(missing)} are missing: {listed(missing, 20)}; give their "
                              f"folders too, or make them: {first.origin.command} --shard "
                              f"{missing[0]}/{first.of}")  # fmt: skip
    return first


class _File(NamedTuple):
    name: Path
    path: Path


def _files(folders: Collection[Path]) -> Iterator[_File]:
    """Every file that shards kept, once, by its place; `TwinlatentError` where two shards differ in one."""
    seen: dict[Path, Path] = {}
    for folder in folders:
        for relative, path in _kept(folder):
            if relative not in seen:
                seen[relative] = path
                yield _File(relative, path)
            elif not _same(path, seen[relative]):
                raise TwinlatentError(f"{path} and {seen[relative]} differ{_where(path, seen[relative])}, so these "
                                      "shards do not belong together")  # fmt: skip


def _kept(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Each file that a shard kept and that counts: its place, and where it is."""
    home = folder / UNFINISHED
    for place, _, names in os.walk(home):
        for name in sorted(names):
            if name not in ANYBODYS and OURS.fullmatch(name):
                yield (Path(place) / name).relative_to(home), Path(place) / name


def _check_kept(folder: Path, shard: ShardFile) -> None:
    """Refuse a shard that lacks what it had when it was done, as one does that was copied in part."""
    for name, mark in (shard.kept or {}).items():
        path = folder / UNFINISHED / name
        if not path.is_file() or _digest(path) != mark:
            what = "is another file than it was" if path.is_file() else "is missing, which was there"
            raise TwinlatentError(f"{path} {what} when the shard was done; copy its folder again, or run its command "
                                  "again")  # fmt: skip


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _same(a: Path, b: Path) -> bool:
    """Whether two files are the same, or hold the same network though made by different runs."""
    contents = a.read_bytes(), b.read_bytes()
    return contents[0] == contents[1] or (a.suffix == ".safetensors" and _tensors(contents[0]) == _tensors(contents[1]))


def _tensors(content: bytes) -> tuple[Any, bytes]:
    """Names, shapes and bytes of the tensors of a .safetensors file, without what is said about them."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    return header, content[8 + length :]


def _where(a: Path, b: Path) -> str:
    """In which of their names two JSON files differ."""
    if a.suffix != ".json":
        hint = "; a network is made once and given to all by --shared where machines differ"
        return hint if a.suffix == ".safetensors" else ""
    first, second = read_json(a), read_json(b)
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return ""
    return f" in {listed([name for name in first if first[name] != second.get(name)])}"
