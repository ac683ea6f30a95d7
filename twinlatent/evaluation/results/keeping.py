"""Networks that an evaluation keeps in a folder for the next one: known again by what made them."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from twinlatent.code_digest import code_identity
from twinlatent.errors import TwinlatentError, listed
from twinlatent.method.checkpoints import load_tensors, save_tensors
from twinlatent.provenance import Provenance


def keep(path: Path, kind: str, tensors: Mapping[str, Tensor], identity: Mapping[str, Any], origin: Provenance) -> None:
    """Write what was made, with its settings, the code's digest and where it comes from.

    Args:
        path: of the file.
        kind: what it is, in a word.
        tensors: by name.
        identity: JSON-able; all settings that decided the tensors.
        origin: of the run that made them.
    """
    about = {"identity": {**identity, **code_identity()}, "origin": origin.model_dump()}
    save_tensors(path, kind, tensors, about)


def kept(path: Path, kind: str, identity: Mapping[str, Any]) -> tuple[dict[str, Tensor], Provenance] | None:
    """What `keep` wrote with the same identity and code; None if there is no such file.

    Raises:
        TwinlatentError: it was made otherwise, or is damaged; the line says what differs and what made it.
    """
    if not path.exists():
        return None
    tensors, about = load_tensors(path, kind)
    wanted = json.loads(json.dumps({**identity, **code_identity()}))
    before = about.get("identity", {})
    differs = [name for name in wanted if before.get(name) != wanted[name]]
    try:
        origin = Provenance.model_validate(about.get("origin"))
    except ValidationError:
        raise TwinlatentError(f"{path} was made by an earlier version; remove it or give another folder") from None
    if differs:
        raise TwinlatentError(f"{path} holds a {kind} of other {listed(differs)} ({said(origin)}); remove it or "
                              "give another folder")  # fmt: skip
    return tensors, origin


def said(origin: Provenance) -> str:
    """In a few words, which run it was."""
    return f"`{origin.command}`, commit {origin.commit}, {origin.date}"


def reused(origins: Iterable[Provenance], now: Provenance) -> str | None:
    """Which other runs made what a record rests on; None if this one made it all."""
    mine = _run(now)
    others = dict.fromkeys(said(origin) for origin in origins if _run(origin) != mine)
    return "; ".join(others) or None


def _run(origin: Provenance) -> tuple[Any, ...]:
    """What tells two runs apart; a command that was interrupted and resumed the same day is one."""
    return origin.command, origin.commit, origin.date, origin.machine, tuple(sorted(origin.versions.items()))
