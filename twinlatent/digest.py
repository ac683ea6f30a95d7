"""A digest of settings, tensors and networks, by which work and detectors are known again."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass

from torch import Tensor, nn


def digest(value: object) -> str:
    """SHA-256 of settings with all their tensors, and of a module's weights; of anything else, of its `repr`."""
    content = hashlib.sha256()
    _feed(content, value)
    return content.hexdigest()


def _feed(content: "hashlib._Hash", value: object) -> None:
    sized = isinstance(value, Mapping | tuple | list)
    content.update(f"\0{type(value).__name__} {len(value) if sized else ''}\0".encode())  # type: ignore[arg-type]
    if isinstance(value, Tensor):
        content.update(f"{value.dtype}{tuple(value.shape)}".encode() + value.detach().cpu().numpy().tobytes())
    elif isinstance(value, nn.Module):
        content.update(repr(value).encode())
        _feed(content, value.state_dict())
    elif isinstance(value, Mapping):
        for name, part in value.items():
            content.update(repr(name).encode())
            _feed(content, part)
    elif isinstance(value, tuple | list):
        for part in value:
            _feed(content, part)
    elif is_dataclass(value):
        content.update(type(value).__name__.encode())
        _feed(content, {field.name: getattr(value, field.name) for field in fields(value) if field.repr})
    else:
        content.update(re.sub(r" at 0x[0-9a-f]+", "", repr(value)).encode())  # where an object lies is no setting
