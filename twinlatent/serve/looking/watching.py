"""`/v1/evaluation`: an evaluation's folder while it is made, and its report."""

import os
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from twinlatent.claims import LOCK, OURS
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.results.folder import PAGE, UNFINISHED, WHOSE
from twinlatent.serve.refusals import Refusal

if TYPE_CHECKING:
    from fastapi import FastAPI

REPORT = "/evaluation/report"
"""Its address; a key that `/v1/evaluation` tells stands for the token, which a frame cannot send."""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'"
"""Of the report: one file without scripts that holds all it shows."""
MOST_PARTS = 500
BATCH = re.compile(r"-\d{6,}$")
"""How the name of a batch ends: with its first image."""


class Part(BaseModel):
    """What is done of one part of an evaluation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    where: str = Field(description="Folder below `unfinished`.", examples=["points-ratio/epsilon-0.3-fpr-0.05"])
    what: str = Field(description="Attacks or networks of which something is kept.", examples=["fgsm, pgd"])
    files: int = Field(description="Files that are kept: a batch of images each, or a network.", examples=[6])
    seconds_since: float = Field(description="Since the last one was written.", examples=[1.5])


class Watching(BaseModel):
    """How far an evaluation is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="Of the folder.", examples=["evaluation"])
    state: Literal["empty", "unfinished", "stopped", "finished"]
    seconds_since: float | None = Field(description="Since anything was written; null where nothing is there.")
    parts: list[Part] = Field(description="Last written first.")
    report: str | None = Field(description="Address of the report, another one after it changed.")


@dataclass(frozen=True)
class Watched:
    """The one folder that is shown; no request says which.

    Attributes:
        folder: that `evaluate` writes, or will write.
        key: what shows that somebody was told the report's address.

    Raises:
        TwinlatentError: it is a file.
    """

    folder: Path
    key: str

    def __post_init__(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise TwinlatentError(f"--watch {self.folder} is a file; give the folder of an evaluation (its --out)")

    def look(self) -> Watching:
        """How far it is now."""
        now = time.time()
        parts = sorted(_parts(self.folder / UNFINISHED, now), key=lambda part: (part.seconds_since, part.where))
        report = _changed(self.folder / PAGE)
        times = [part.seconds_since for part in parts] + ([] if report is None else [max(0.0, now - report)])
        return Watching(
            name=self.folder.resolve().name,
            state=self._state(bool(parts), report is not None),
            seconds_since=min(times, default=None),
            parts=parts[:MOST_PARTS],
            report=None if report is None else f"{REPORT[1:]}?key={self.key}&changed={report:.3f}",
        )

    def _state(self, parts: bool, report: bool) -> Literal["empty", "unfinished", "stopped", "finished"]:
        if (self.folder / LOCK).exists():
            return "unfinished"
        if parts or (self.folder / UNFINISHED / WHOSE).exists():
            return "stopped"
        return "finished" if report else "empty"


def _parts(unfinished: Path, now: float) -> Iterator[Part]:
    """Folders in which anything is done."""
    for place, _, names in os.walk(unfinished):
        kept = {name: changed for name in names
                if OURS.fullmatch(name) and name.endswith((".npz", ".safetensors"))
                and (changed := _changed(Path(place) / name)) is not None}  # fmt: skip
        if kept:
            what = sorted({BATCH.sub("", Path(name).stem) for name in kept})
            where = Path(place).relative_to(unfinished).as_posix()
            yield Part(where=where, what=", ".join(what), files=len(kept),
                       seconds_since=max(0.0, now - max(kept.values())))  # fmt: skip


def _changed(path: Path) -> float | None:
    """When a file was written, in seconds; None where there is none, or none any more."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def add_watching(app: "FastAPI", folder: Path | None) -> None:
    """Add its routes; without a folder there is nothing to watch."""
    from fastapi import Query
    from fastapi.responses import Response

    watched = None if folder is None else Watched(folder, secrets.token_urlsafe(24))

    @app.get("/v1/evaluation", tags=["look"], summary="How far an evaluation is", response_model=Watching)
    def evaluation() -> Watching:
        """Only where the server was started with `--watch`."""
        if watched is None:
            raise Refusal(404, "no evaluation is watched; start the server with --watch FOLDER")
        return watched.look()

    @app.get(REPORT, include_in_schema=False)
    def report(key: Annotated[str, Query()] = "") -> Response:
        if watched is None or not secrets.compare_digest(key.encode(), watched.key.encode()):
            raise Refusal(404, "there is no such report; its address is on the page /evaluation")
        try:
            body = (watched.folder / PAGE).read_bytes()
        except OSError:
            raise Refusal(404, "the report is not there yet, or no more") from None
        return Response(body, headers={"Content-Security-Policy": POLICY, "Content-Type": "text/html; charset=utf-8"})
