"""Cutting many pieces out of photographs: shown as progress, and kept on Ctrl-C."""

import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from twinlatent.claims import claimed_file
from twinlatent.data.kinds import check_file
from twinlatent.data.photos import CutPiece, Piece, take
from twinlatent.data.pictures import GREY, Look
from twinlatent.errors import TwinlatentError
from twinlatent.files import replacing
from twinlatent.interrupts import deferred_interrupt
from twinlatent.progress import bar

SAVE_SECONDS = 30.0
Key = tuple[Any, ...]


def partial_of(path: Path) -> Path:
    """Where what is read is kept until `path` is written."""
    return path.with_suffix(".partial")


def check_writable(folder: Path) -> None:
    """Raise a `TwinlatentError` unless files can be made in `folder`; it is left as it is, made or not."""
    made: list[Path] = []
    try:
        made += [place for place in (folder, *folder.parents) if not place.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = f"cannot be written ({error.strerror or 'no permission'})"
        raise TwinlatentError(f"{folder}: {reason}; mend that, or name another folder with --out") from None
    finally:
        for place in made:
            with suppress(OSError):
                place.rmdir()


def read_pieces(
    pieces: Sequence[Piece],
    size: int,
    partial: Path,
    asked: dict[str, Any],
    *,
    title: str,
    progress: bool,
    look: Look = GREY,
) -> list[CutPiece]:
    """`take` every piece, in order.

    On Ctrl-C, every half minute, and at the end, the images are written to `partial`. The next call does not read their
    files again unless they changed. The caller removes it when its result is written.

    Args:
        pieces: what to take.
        size: height and width of the images in pixels.
        partial: the file to resume from, and to keep what is done in.
        asked: whatever else decides what the images are; plain JSON. A partial file of anything else is refused.
        title: of the bar.
        progress: whether to show it.
        look: grey or colour, and what is behind transparent parts.

    Raises:
        TwinlatentError: `partial` is damaged, or was begun with other settings.
        KeyboardInterrupt: after Ctrl-C, with what was done kept.
    """
    asked = {**asked, "size": size} | ({} if look == GREY else asdict(look))
    before = _kept(partial, asked) if partial.exists() else {}
    done: dict[Key, CutPiece] = {}
    saved = time.monotonic()
    with claimed_file(partial), deferred_interrupt() as interrupted, bar(title, len(pieces), show=progress) as shown:
        for piece in pieces:
            key = _key(piece)
            done[key] = before[key] if key in before else take(piece, size, look)
            shown.advance()
            stop = interrupted()
            if stop or time.monotonic() - saved > SAVE_SECONDS:
                _keep(partial, asked, before | done)
                saved = time.monotonic()
            if stop:
                raise KeyboardInterrupt(f"stopped after {len(done)} of {len(pieces)}")
    if any(taken.image is not None and key not in before for key, taken in done.items()):
        _keep(partial, asked, before | done)
    return [done[_key(piece)] for piece in pieces]


def _key(piece: Piece) -> Key:
    """What a piece is of: file, its time and length, box."""
    try:
        status = piece.path.stat()
        stamp = (status.st_mtime_ns, status.st_size)
    except OSError:
        stamp = (0, 0)
    return (str(piece.path.absolute()), *stamp, piece.box, piece.photo_size)


def _keep(partial: Path, asked: dict[str, Any], done: dict[Key, CutPiece]) -> None:
    done = {key: taken for key, taken in done.items() if taken.image is not None}
    images = [taken.image for taken in done.values()]
    about = {"asked": asked, "done": [[key, taken.digest, taken.square] for key, taken in done.items()]}
    with replacing(partial) as temporary, temporary.open("wb") as file:
        np.savez(file, images=np.array(images, np.uint8), about=np.array(json.dumps(about)))


def _kept(partial: Path, asked: dict[str, Any]) -> dict[Key, CutPiece]:
    check_file(partial)
    try:
        with partial.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            images, about = iter(arrays["images"]), json.loads(str(arrays["about"]))
        same = about["asked"] == asked
        kept = {
            _hashable(key): CutPiece(next(images), digest, tuple(square))
            for key, digest, square in (about["done"] if same else [])
        }
    except Exception as error:  # NumPy's and zip's readers raise nearly every type on damaged files
        raise TwinlatentError(f"{partial}: is damaged ({' '.join(str(error).split())[:80]}); delete it") from None
    if not same:
        raise TwinlatentError(f"{partial}: was begun with other settings; give the same ones, or delete it")
    return kept


def _hashable(key: list[Any]) -> Key:
    return tuple(tuple(part) if isinstance(part, list) else part for part in key)
