"""Files of tensors with a JSON description: safetensors, a checksum over everything, nothing pickled.

The checksum finds damage, not malice: who can rewrite a file can recompute it.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from twinlatent.arguments import file_path
from twinlatent.errors import TwinlatentError, brief
from twinlatent.files import replacing
from twinlatent.method.file_header import read_header

FORMAT = "1"
"""Changes when files written before cannot be read as they are."""
UNFIT = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError)
"""What making something of a file's contents can raise where they are those of something else."""


def save_tensors(path: str | Path, kind: str, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Write tensors and a JSON-able description to `path`, whole or not at all.

    Args:
        path: conventionally ends in `.safetensors`.
        kind: what the file is, such as "detector"; `load_tensors` asks for the same.
        tensors: by name.
        description: finite numbers, text, lists, dicts.

    Raises:
        TwinlatentError: `path` is no path.
        OSError: naming `path`; the disk is full, or the like.
    """
    held = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    text = json.dumps(description, sort_keys=True, allow_nan=False)
    metadata = {"kind": kind, "format": FORMAT, "description": text, "sha256": _checksum(kind, text, held)}
    with replacing(file_path("path", path)) as temporary:
        # not `save_file`, which makes a file of its own beside it that stays when the process is killed
        temporary.write_bytes(save(held, metadata=metadata))


def load_tensors(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote: tensors on the CPU, and the description.

    Raises:
        TwinlatentError: the file is missing, truncated, damaged, tampered with, or of another kind or format; the
            line names it.
    """
    path = file_path("path", path)
    if not path.is_file():
        raise TwinlatentError(f"{path} is no file; give the path of a {kind} file")
    try:
        with _name(path) as name, safe_open(name, framework="pt", device="cpu") as file:
            # copies: else they are the file itself, and change with it if somebody writes another one over it
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise TwinlatentError(f"{path} is truncated or no {kind} file; write it again ({brief(error)})") from error
    header = read_header(path)
    if header.kind != kind or header.format != FORMAT:
        found = f"kind {header.kind!r}, format {header.format!r}"
        raise TwinlatentError(f"{path} is no {kind} file of format {FORMAT} ({found})")
    if header.sha256 != _checksum(kind, header.text, tensors):
        raise TwinlatentError(f"{path} is damaged: its checksum does not match its contents; write it again")
    return tensors, header.description


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under names that begin with `prefix` and a dot."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose name starts with `prefix` and a dot, without those."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


@contextmanager
def _name(path: str | Path) -> Iterator[str | Path]:
    """What safetensors can open the file by: it takes no name that is not text."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        with open(path, "rb") as file:
            yield f"/dev/fd/{file.fileno()}"
    else:
        yield path


def _checksum(kind: str, description: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(f"{FORMAT}\n{kind}\n{description}".encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)  # NumPy does not know every type
    return digest.hexdigest()
