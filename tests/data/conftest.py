import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pooch
import pytest
from numpy.typing import NDArray
from PIL import Image

from twinlatent.data import catalogue, downloads


def _found(collection: catalogue.Collection) -> list[Path]:
    paths = [downloads.locate(collection, file) for file in collection.files]
    if None in paths:
        pytest.skip(f"{collection.name} is neither in ${downloads.DATA_VARIABLE} nor in the cache")
    return [path for path in paths if path is not None]


@pytest.fixture(scope="session")
def mnist_paths() -> list[Path]:
    """The four real files of MNIST, in the catalogue's order; skips where they are not on this machine."""
    return _found(catalogue.MNIST)


@pytest.fixture(scope="session")
def fashion_paths() -> list[Path]:
    """The four real files of Fashion-MNIST."""
    return _found(catalogue.FASHION_MNIST)


@pytest.fixture(scope="session")
def faces_path() -> Path:
    """The real file of the faces of cats and dogs."""
    return _found(catalogue.CAT_DOG_FACES)[0]


@pytest.fixture(scope="session")
def raw_sample() -> Path:
    """Twenty of the photographs that those faces are from, with boxes.csv."""
    for folder in downloads.folders(catalogue.CAT_DOG_FACES.name):
        if (folder / "raw-sample" / "boxes.csv").is_file():
            return folder / "raw-sample"
    pytest.skip("no raw-sample/ of photographs of cats and dogs")


@pytest.fixture
def picture() -> Callable[..., Path]:
    """Writes a smooth random picture, of its own for each seed, whatever format the name ends in."""

    def write(path: Path, seed: int = 0, width: int = 90, height: int = 60, **options: object) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(seed).integers(0, 256, (9, 9)).astype(np.uint8)
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path, **options)
        return path

    return write


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no other place where files are looked for."""
    monkeypatch.delenv(downloads.DATA_VARIABLE, raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def write_idx() -> Callable[[Path, NDArray[np.uint8]], Path]:
    """Writes an array as a gzipped IDX file."""

    def write(path: Path, array: NDArray[np.uint8]) -> Path:
        header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
        path.write_bytes(gzip.compress(header + array.tobytes()))
        return path

    return write
