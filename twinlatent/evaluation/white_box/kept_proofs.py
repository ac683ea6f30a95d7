"""Proofs in files, so that a long certificate resumes: one file for some images at one radius."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from twinlatent.code_digest import code_identity
from twinlatent.digest import digest
from twinlatent.files import replacing

HELD, SECONDS = "held", "seconds"
"""What a file holds, and what is said about it: shards that prove the same have the same tensors, not the same time."""


@dataclass
class KeptProofs:
    """A folder of proofs, which are known by what was asked and by the code that made them.

    So whatever else lies there is never taken for an answer, and nothing has to be refused.

    Attributes:
        folder: where they lie.
        seconds: what those have cost that were found there.
    """

    folder: Path
    seconds: float = 0.0

    def of(self, asked: object, make: Callable[[], Tensor]) -> Tensor:
        """What is kept of a question; else what `make` answers, bool (rates, n), which is kept then.

        Args:
            asked: all that the answer hangs on, for `digest`.
            make: makes it.
        """
        path = self.folder / f"proof-{digest((asked, code_identity()))[:32]}.safetensors"
        found = _read(path)
        if found is not None:
            held, seconds = found
            self.seconds += seconds
            return held
        began = time.monotonic()
        held = make()
        with replacing(path) as temporary:
            save_file({HELD: held.contiguous()}, temporary, metadata={SECONDS: repr(time.monotonic() - began)})
        return held


def _read(path: Path) -> tuple[Tensor, float] | None:
    """What a file holds; None where there is none, or none whole."""
    try:
        with safe_open(path, "pt") as file:
            held, seconds = file.get_tensor(HELD).clone(), float(file.metadata()[SECONDS])
    except Exception:  # whatever is damaged or missing is made anew
        return None
    return (held, seconds) if held.dtype == torch.bool and held.ndim == 2 else None
