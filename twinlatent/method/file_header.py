"""What a file of `checkpoints` says of itself, read without its tensors, and so without torch.

A safetensors file starts with the length of its header, eight bytes, little-endian; the header is JSON with texts under
`__metadata__`: here the file's kind and format, a description, which is JSON again, and a checksum.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinlatent.errors import TwinlatentError, brief

LONGEST = 100_000_000
"""Bytes of a header that safetensors accepts."""


@dataclass(frozen=True)
class FileHeader:
    """Texts that lie before the tensors.

    Attributes:
        kind: what the file is, such as "detector".
        format: of which version.
        text: JSON that describes it.
        sha256: over kind, text and tensors, in hex.
    """

    kind: str
    format: str
    text: str
    sha256: str

    @property
    def description(self) -> dict[str, Any]:
        """What was handed to `save_tensors`."""
        found: dict[str, Any] = json.loads(self.text)
        return found


def read_header(path: Path) -> FileHeader:
    """The header of a file that `save_tensors` wrote, texts that are missing being empty; tensors stay unread.

    Raises:
        TwinlatentError: it is missing, cut short, or no safetensors file.
    """
    if not path.is_file():
        raise TwinlatentError(f"{path} is no file; give the path of a detector file")
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= min(LONGEST, path.stat().st_size - 8):
                raise ValueError(f"its header would be of {length:,} bytes")
            header = json.loads(file.read(length).decode())
        texts = header.get("__metadata__", {})
        return FileHeader(*(str(texts.get(name, "")) for name in ("kind", "format", "description", "sha256")))
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        reason = brief(error)
        raise TwinlatentError(f"{path} is truncated or no safetensors file; write it again ({reason})") from error


def trained_with(card: Mapping[str, Any]) -> str:
    """The training attack of a detector that has this card, ours or a baseline's; `none` where there was none.

    `bound` where the adversary was bounded, `bound+mim` or the like where it was searched for as well; before `then`
    that of the detector it was begun from, which is all where there were no rounds.
    """
    before, training = (card.get("start") or {}).get("training"), card.get("training", {})
    if before and not training.get("rounds", 1):
        return trained_with({"training": before})
    if before:
        return f"{trained_with({'training': before})} then {trained_with({'training': training})}"
    searched = str(training.get("adversary", training).get("attack", "none"))
    share = training.get("bound", {}).get("share", 0)
    return searched if not share else "bound" if share == 1 else f"bound+{searched}"
