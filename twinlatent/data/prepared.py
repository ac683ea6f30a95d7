"""Data sets made of one's own photographs, written and read; `prepared_files` says where they lie."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from twinlatent.data.arrays import read_npz
from twinlatent.data.split import LabelledImages, from_bytes
from twinlatent.errors import TwinlatentError, brief
from twinlatent.files import replacing


@dataclass(frozen=True)
class Prepared:
    """What a prepared file holds.

    Attributes:
        images: uint8 (n, size, size), in colour (n, size, size, 3).
        labels: int64 (n,).
        class_names: in the order of the labels.
        sources: the photograph of each image, below the folder that it was found in.
        made_with: how the images were made, and how many of each class there are; plain JSON.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    sources: tuple[str, ...]
    made_with: dict[str, Any]

    def labelled(self) -> LabelledImages:
        """All images as float32 (n, channels, size, size) in [0, 1]."""
        return LabelledImages(from_bytes(self.images), torch.from_numpy(self.labels))


def write_prepared(path: Path, prepared: Prepared) -> None:
    """Write the file, whole or not at all, without pickles."""
    with replacing(path) as temporary:
        np.savez_compressed(
            temporary,
            images=prepared.images,
            labels=prepared.labels,
            class_names=np.array(prepared.class_names),
            sources=np.array(prepared.sources),
            made_with=np.array(json.dumps(prepared.made_with)),
        )


def read_prepared(path: Path) -> Prepared:
    """Read a prepared file.

    Raises:
        TwinlatentError: it is damaged, or something else.
    """
    try:
        arrays = read_npz(path, ("images", "labels", "class_names", "sources", "made_with"))
        return _checked(
            Prepared(
                images=arrays["images"],
                labels=arrays["labels"],
                class_names=tuple(map(str, arrays["class_names"])),
                sources=tuple(map(str, arrays["sources"])),
                made_with=json.loads(str(arrays["made_with"])),
            )
        )
    except Exception as error:  # NumPy's and zip's readers raise nearly every type on damaged files
        raise _damaged(path, error) from None


def read_made_with(path: Path) -> dict[str, Any]:
    """Only how a prepared file was made, which is read at once however many images there are.

    Raises:
        TwinlatentError: as `read_prepared`.
    """
    try:
        made_with = json.loads(str(read_npz(path, ("made_with",))["made_with"]))
        return {"size": int(made_with["size"]), "channels": 1, "counts": dict(made_with["counts"]), **made_with}
    except Exception as error:
        raise _damaged(path, error) from None


def _checked(prepared: Prepared) -> Prepared:
    images, labels, size = prepared.images, prepared.labels, prepared.made_with["size"]
    shapes = [(len(labels), size, size, *colours) for colours in ((), (3,))]
    if images.dtype != np.uint8 or images.shape not in shapes or len(prepared.sources) != len(labels):
        raise ValueError(f"images are {images.dtype} {images.shape}")
    if labels.dtype != np.int64 or set(labels.tolist()) != set(range(len(prepared.class_names))):
        raise ValueError("labels do not fit the class names")
    return prepared


def _damaged(path: Path, error: Exception) -> TwinlatentError:
    reason = brief(str(error).removeprefix(f"{path}"), most=80)
    mend = "take it away and prepare the set again"
    return TwinlatentError(f"{path}: is no prepared data set, or damaged ({reason}); {mend}")
