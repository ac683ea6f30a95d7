"""Which images a detector was made with, by short hashes of what they show: the name of a file or set plays no part."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

HASH_BYTES = 8
HASHED_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Seen:
    """The images that a detector was made with; eight bytes each tell one from another but for one pair in 2⁶⁴.

    Attributes:
        train: int64 (n,), sorted, each once: hashes of the training images.
        calibration: int32 (m,), the same of the calibration images.
    """

    train: Tensor
    calibration: Tensor

    @classmethod
    def of(cls, train: Tensor, calibration: Tensor) -> "Seen":
        """From the images themselves, float (n, channels, H, W) in [0, 1]."""
        return cls(image_hashes(train).unique(), image_hashes(calibration).unique())

    @classmethod
    def kept_in(cls, tensors: Mapping[str, Tensor]) -> "Seen | None":
        """From a file's tensors, see `tensors`; None where the file keeps none of this length."""
        train, calibration = (tensors.get(f"seen.{part}") for part in ("train", "calibration"))
        if train is None or calibration is None or train.dtype != torch.int64:
            return None
        return cls(train, calibration)

    def tensors(self) -> dict[str, Tensor]:
        """What a detector's file keeps of it, by name."""
        return {"seen.train": self.train, "seen.calibration": self.calibration}

    def among(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Which of the images (k, channels, H, W) were trained on, and which calibrated on: bool (k,), bool (k,)."""
        found = image_hashes(images)
        return torch.isin(found, self.train), torch.isin(found, self.calibration)


def image_hashes(images: Tensor) -> Tensor:
    """A hash of each image (n, channels, H, W), rounded to 255ths as an image file of bytes holds it: int64 (n,)."""
    digests = bytearray()
    for block in images.flatten(1).split(HASHED_AT_ONCE):
        rows = block.cpu().mul(255).round().to(torch.uint8).numpy()
        digests += b"".join(hashlib.blake2b(row, digest_size=HASH_BYTES).digest() for row in rows)
    return torch.frombuffer(digests, dtype=torch.int64) if digests else torch.empty(0, dtype=torch.int64)
