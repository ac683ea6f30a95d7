import gzip
import hashlib

import numpy as np
import pytest

from twinlatent.data.idx import read_idx
from twinlatent.errors import TwinlatentError

ARRAY = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def test_what_was_written_is_read(tmp_path, write_idx) -> None:
    read = read_idx(write_idx(tmp_path / "a.gz", ARRAY), 3)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, ARRAY)


def test_it_need_not_be_gzipped(tmp_path, write_idx) -> None:
    packed = write_idx(tmp_path / "a.gz", ARRAY)
    packed.write_bytes(gzip.decompress(packed.read_bytes()))
    np.testing.assert_array_equal(read_idx(packed), ARRAY)


def test_real_labels_have_the_known_counts(mnist_paths) -> None:
    train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(read_idx(mnist_paths[1], 1)).tolist() == train
    assert np.bincount(read_idx(mnist_paths[3], 1)).tolist() == test


def test_real_images_have_the_known_bytes(mnist_paths) -> None:
    images = read_idx(mnist_paths[2], 3)
    header = bytes.fromhex("00000803 00002710 0000001c 0000001c")
    assert images.shape == (10000, 28, 28)
    assert hashlib.md5(header + images.tobytes()).hexdigest() == "2646ac647ad5339dbf082846283269ea"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda packed: packed[:-12], "gzip file cut short"),
        (lambda packed: packed[:5], "gzip file cut short"),
        (lambda packed: packed[:12] + b"\xff\xff\xff" + packed[15:], "not a sound gzip file"),
        (lambda packed: packed[:-8] + b"\0\0\0\0" + packed[-4:], "not a sound gzip file"),
        (lambda packed: gzip.decompress(packed)[:-1], "holds only 23 values, its header says 24"),
        (lambda packed: gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12), "GB of memory, and there are"),
        (lambda packed: gzip.compress(b""), "starts with nothing"),
        (lambda packed: gzip.compress(b"\0\0\x08\x03\0\0"), "is cut short, in its header"),
        (lambda packed: gzip.compress(b"PNG image"), "starts with 504e4720"),
        (lambda packed: gzip.compress(b"\0\0\x0d\x03" + gzip.decompress(packed)[4:]), "starts with 00000d03"),
        (lambda packed: gzip.compress(gzip.decompress(packed)[:-1]), "holds only 23 values, its header says 24"),
        (lambda packed: gzip.compress(gzip.decompress(packed) + b"\0"), "holds more values, its header says 24"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, write_idx, change, complaint: str) -> None:
    path = write_idx(tmp_path / "a.gz", ARRAY)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(TwinlatentError, match=complaint) as error:
        read_idx(path, 3)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_labels_are_not_images(tmp_path, write_idx) -> None:
    path = write_idx(tmp_path / "labels.gz", np.zeros(7, np.uint8))
    with pytest.raises(TwinlatentError, match="not as IDX bytes in 3 dimensions"):
        read_idx(path, 3)


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(TwinlatentError, match=r"no\.gz: no such file"):
        read_idx(tmp_path / "no.gz", 1)
