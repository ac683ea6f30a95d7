"""What an evaluation shows in pictures, as plain arrays: attacked images with verdicts, and latents of one class."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinlatent.errors import TwinlatentError
from twinlatent.files import replacing

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]
Names = NDArray[np.str_]
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class PairGrid:
    """k benign images, and what m attacks made of each (figures 7 to 11 of the paper).

    Attributes:
        fpr: share of benign images the detector was set to flag, in (0, 1).
        benign: (k, H, W), or in colour (k, H, W, 3), in [0, 1].
        true: (k,) name of the true class.
        benign_label: (k,) name of the class the detector predicts for the benign image.
        benign_flagged: (k,) whether it flags the benign image.
        columns: (m,) what the images were attacked with, no two alike: an attack's name, and after a space its L∞
            radius where it has one, such as "mim_w 0.2" or "cw_w".
        images: (m, k, H, W), or in colour (m, k, H, W, 3), in [0, 1].
        predicted: (m, k) name of the class predicted for each.
        flagged: (m, k) whether each is flagged.

    Errors: `TwinlatentError` when the shapes, types or ranges are not these, or k or m is 0.
    """

    fpr: float
    benign: Floats
    true: Names
    benign_label: Names
    benign_flagged: Flags
    columns: Names
    images: Floats
    predicted: Names
    flagged: Flags

    def __post_init__(self) -> None:
        if not 0 < self.fpr < 1:
            raise TwinlatentError(f"grid_fpr is {self.fpr}: give a share between 0 and 1")
        for name, (kind, dimensions) in _GRID.items():
            check = check_pictures if name in _PICTURES else check_array
            check(f"grid_{name}", getattr(self, name), kind, dimensions)
        m, k = len(self.columns), len(self.benign)
        if not m or not k:
            raise TwinlatentError(f"grid_images has {m} attacks on {k} images: give at least one of each")
        images = {"images": (m, *self.benign.shape)}
        benign, attacked = dict.fromkeys(("true", "benign_label", "benign_flagged"), (k,)), (m, k)
        for name, shape in {**benign, **images, "predicted": attacked, "flagged": attacked}.items():
            if getattr(self, name).shape != shape:
                raise TwinlatentError(f"grid_{name} has shape {getattr(self, name).shape}: it needs {shape}")
        if len(set(self.columns.tolist())) < m:
            raise TwinlatentError(f"grid_columns has a name twice: {', '.join(self.columns)}")
        for name in ("benign", "images"):
            check_unit_interval(f"grid_{name}", getattr(self, name))

    @property
    def won(self) -> Flags:
        """(m, k), whether the attack won: misclassified and not flagged."""
        won: Flags = (self.predicted != self.true) & ~self.flagged
        return won


_PICTURES = ("benign", "images")
_GRID = {
    "benign": ("f", 3),
    **dict.fromkeys(("true", "benign_label", "columns"), ("U", 1)),
    "benign_flagged": ("b", 1),
    "images": ("f", 4),
    "predicted": ("U", 2),
    "flagged": ("b", 2),
}  # the numpy kind and the dimensions of each array


@dataclass(frozen=True, eq=False)
class LatentPoints:
    """Latents of n images as the encoder of one class sees them (figure 5 of the paper).

    Attributes:
        robust: (n, Z_r), means of z_r.
        vulnerable: (n, Z_v), means of z_v.
        attacked: (n,); False: a benign image of the class, True: an attacked image predicted as the class.
        class_name: name of the class.

    Errors: `TwinlatentError` when the shapes or types are not these, a number is not finite, or n is 0.
    """

    robust: Floats
    vulnerable: Floats
    attacked: Flags
    class_name: str

    def __post_init__(self) -> None:
        check_array("latents_attacked", self.attacked, "b", 1)
        for name in ("robust", "vulnerable"):
            values = getattr(self, name)
            check_array(f"latents_{name}", values, "f", 2)
            if not values.size or not np.isfinite(values).all():
                raise TwinlatentError(f"latents_{name} is empty or holds a number that is not finite")
            if len(values) != len(self.attacked):
                raise TwinlatentError(f"latents_{name} has {len(values)} rows, latents_attacked {len(self.attacked)}")


def to_arrays(
    grid: PairGrid | None, latents: LatentPoints | None, shifted: PairGrid | None = None
) -> dict[str, NDArray[Any]]:
    """All as named arrays; empty if there is none."""
    parts = {"grid": grid, "latents": latents, "shifted": shifted}
    return {
        f"{prefix}_{field.name}": np.asarray(getattr(part, field.name))
        for prefix, part in parts.items()
        if part is not None
        for field in fields(part)
    }


def from_arrays(arrays: Arrays) -> tuple[PairGrid | None, LatentPoints | None, PairGrid | None]:
    """What `to_arrays` was given.

    Raises:
        TwinlatentError: an array is missing or wrong; the line names it.
    """
    latents = _part(arrays, "latents", LatentPoints)
    return (
        _grid(arrays, "grid"),
        LatentPoints(**latents | {"class_name": str(_scalar("latents_class_name", latents["class_name"], "U"))})
        if latents
        else None,
        _grid(arrays, "shifted"),
    )


def read_pictures(path: Path) -> tuple[PairGrid | None, LatentPoints | None, PairGrid | None]:
    """What `to_arrays` was given, nothing where there is no file; `TwinlatentError` naming the file and the array."""
    if not path.exists():
        return None, None, None
    arrays = read_arrays(path)
    try:
        return from_arrays(arrays)
    except TwinlatentError as error:
        raise TwinlatentError(f"{path}: {error}") from error


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """As an .npz."""
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """What `write_arrays` wrote; `TwinlatentError` naming the file where it is none."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:  # numpy leaves damaged ones open
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise TwinlatentError(f"{path}: no such file") from error
    except (OSError, ValueError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error).partition("\n")[0]
        raise TwinlatentError(f"{path}: not an .npz of plain arrays: {reason}") from error


def member(arrays: Arrays, name: str) -> NDArray[Any]:
    """The array of that name; `TwinlatentError` if there is none."""
    if name not in arrays:
        raise TwinlatentError(f"the array {name!r} is missing: write the folder anew with write_run")
    return arrays[name]


def check_array(name: str, values: NDArray[Any], kind: str, dimensions: int) -> None:
    """`TwinlatentError` unless `values` has so many dimensions and a dtype of that numpy kind: f, U or b."""
    if values.ndim != dimensions:
        raise TwinlatentError(f"{name} has shape {values.shape}: it needs {dimensions} dimension(s)")
    if values.dtype.kind != kind:
        wanted = {"f": "floating-point numbers", "U": "text", "b": "booleans"}[kind]
        raise TwinlatentError(f"{name} holds {values.dtype}: it needs {wanted}")


def check_pictures(name: str, values: NDArray[Any], kind: str, dimensions: int) -> None:
    """`check_array`; pictures in colour have one more dimension, of three."""
    coloured = values.ndim == dimensions + 1 and values.shape[-1] == 3
    check_array(name, values, kind, dimensions + coloured)


def check_unit_interval(name: str, values: Floats) -> None:
    """`TwinlatentError` unless all `values` lie in [0, 1]."""
    if not ((values >= 0) & (values <= 1)).all():
        raise TwinlatentError(f"{name} has values outside [0, 1]")


def _grid(arrays: Arrays, prefix: str) -> PairGrid | None:
    found = _part(arrays, prefix, PairGrid)
    return PairGrid(**found | {"fpr": _scalar(f"{prefix}_fpr", found["fpr"], "f").item()}) if found else None


def _part(arrays: Arrays, prefix: str, of: type[PairGrid] | type[LatentPoints]) -> dict[str, Any]:
    """The arrays of one picture by their fields; empty if none is there."""
    if not any(name.startswith(f"{prefix}_") for name in arrays):
        return {}
    return {field.name: member(arrays, f"{prefix}_{field.name}") for field in fields(of)}


def _scalar(name: str, value: NDArray[Any], kind: str) -> NDArray[Any]:
    check_array(name, value, kind, 0)
    return value
