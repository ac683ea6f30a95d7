"""Files of tensors: what was written comes back, or the damage is named."""

import json
import os
import pickle
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from twinlatent.errors import TwinlatentError
from twinlatent.files import SCRAP
from twinlatent.method import checkpoints
from twinlatent.method.checkpoints import load_tensors, save_tensors
from twinlatent.method.file_header import read_header

DESCRIPTION = {"rounds": 3, "rate": 0.1, "names": ["a", "ü", "<&>"], "nested": {"none": None, "yes": True}}


def some_tensors() -> dict[str, Tensor]:
    base = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    return {
        "weight": base,
        "view.of it": base[1:3],
        "transposed": base.T,
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 3),
        "odd": torch.tensor([float("inf"), -0.0, float("nan")]),
        "counts": torch.tensor([-(2**62), 7]),
        "bytes": torch.arange(256, dtype=torch.uint8),
        "flags": torch.tensor([True, False]),
        "double": torch.tensor([1 / 3], dtype=torch.float64),
        "coarse": torch.tensor([1 / 3, -2.0], dtype=torch.bfloat16),  # which NumPy does not know
        "asking": torch.ones(2, requires_grad=True),
    }


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "a.safetensors"
    save_tensors(path, "detector", some_tensors(), DESCRIPTION)
    return path


def test_what_was_saved_comes_back(saved: Path) -> None:
    tensors, description = load_tensors(saved, "detector")
    assert description == DESCRIPTION
    expected = some_tensors()
    assert set(tensors) == set(expected)
    for name, value in expected.items():
        assert tensors[name].dtype == value.dtype
        torch.testing.assert_close(tensors[name], value.detach(), rtol=0, atol=0, equal_nan=True)


def test_what_was_loaded_stays_when_the_file_is_written_over(saved: Path) -> None:
    """As `cp` does, which writes into the file that is there: a server reads it long after it has started."""
    tensors, _ = load_tensors(saved, "detector")
    with saved.open("r+b") as file:
        file.write(bytes(saved.stat().st_size))
    for name, value in some_tensors().items():
        torch.testing.assert_close(tensors[name], value.detach(), rtol=0, atol=0, equal_nan=True)


def test_one_file_is_written_and_no_other_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that a library makes for itself would stay there for ever if the process is killed meanwhile."""
    seen, write = [], Path.write_bytes

    def watched(path: Path, content: bytes) -> int:
        done = write(path, content)
        seen.extend(os.listdir(tmp_path))
        return done

    monkeypatch.setattr(Path, "write_bytes", watched)
    save_tensors(tmp_path / "a.safetensors", "detector", some_tensors(), {})
    (name,) = seen
    assert SCRAP.fullmatch(name)
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_nothing_but_a_description(tmp_path: Path) -> None:
    save_tensors(tmp_path / "a", "detector", {}, {"a": 1})
    assert load_tensors(tmp_path / "a", "detector") == ({}, {"a": 1})


def test_equal_contents_are_equal_files(saved: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_tensors(other, "detector", some_tensors(), dict(reversed(DESCRIPTION.items())))
    tensors, description = load_tensors(saved, "detector")
    save_tensors(tmp_path / "again.safetensors", "detector", tensors, description)
    assert load_tensors(other, "detector")[1] == description
    assert sorted(other.read_bytes()) == sorted((tmp_path / "again.safetensors").read_bytes())


def refused(path: Path, kind: str = "detector") -> str:
    with pytest.raises(TwinlatentError) as caught:
        load_tensors(path, kind)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_a_truncated_file_is_refused(saved: Path, tmp_path: Path) -> None:
    whole = saved.read_bytes()
    path = tmp_path / "short.safetensors"
    lengths = {0, 1, 7, 8, 9, len(whole) // 2, *range(len(whole) - 9, len(whole))}
    for length in sorted(lengths | set(range(0, len(whole), len(whole) // 40))):
        path.write_bytes(whole[:length])
        assert "is truncated" in refused(path)


def test_a_file_with_something_behind_it_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes() + b"\0" * 8)
    assert "write it again" in refused(saved)


def test_one_flipped_bit_anywhere_is_found(saved: Path, tmp_path: Path) -> None:
    whole = saved.read_bytes()
    path = tmp_path / "flipped.safetensors"
    places = sorted({*range(16), *range(0, len(whole), len(whole) // 120), len(whole) - 1})
    for number, place in enumerate(places):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (number % 8)
        path.write_bytes(damaged)
        message = refused(path)
        assert "is damaged" in message or "no detector file" in message


def test_swapped_names_and_a_changed_description_are_found(saved: Path) -> None:
    whole = saved.read_bytes()
    for old, new in ((b'"asking"', b'"basking"'), (b'\\"rounds\\": 3', b'\\"rounds\\": 4')):
        assert whole.count(old) == 1
        damaged = whole.replace(old, new)
        header = int.from_bytes(whole[:8], "little") + len(new) - len(old)
        saved.write_bytes(header.to_bytes(8, "little") + damaged[8:])
        assert "checksum" in refused(saved)


def test_a_file_of_another_kind_is_refused(saved: Path) -> None:
    message = refused(saved, "training state")
    assert "no training state file" in message
    assert "'detector'" in message


def test_a_file_of_another_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "FORMAT", "0")
        save_tensors(tmp_path / "old", "detector", some_tensors(), {})
    assert "format" in refused(tmp_path / "old")


def test_a_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, tmp_path / "foreign")
    assert "no detector file" in refused(tmp_path / "foreign")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert "is no file" in refused(tmp_path / "missing")
    assert "is no file" in refused(tmp_path)


class Trap:
    def __reduce__(self):
        return os.mkdir, (str(Trap.path),)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    Trap.path = tmp_path / "sprung"
    plain, zipped = tmp_path / "a.pkl", tmp_path / "a.pt"
    plain.write_bytes(pickle.dumps(Trap()))
    torch.save(Trap(), zipped)
    for path in (plain, zipped):
        refused(path)
    assert not Trap.path.exists()


def test_nothing_in_the_file_is_pickled(saved: Path) -> None:
    whole = saved.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    described = sum(end - start for name, entry in header.items() if name != "__metadata__"
                    for start, end in [entry["data_offsets"]])  # fmt: skip
    assert 8 + length + described == len(whole)
    assert json.loads(header["__metadata__"]["description"]) == DESCRIPTION


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_write_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch, error) -> None:
    def write_half(path: Path, _content: bytes) -> None:
        with path.open("wb") as file:
            file.write(b"half")
        raise error

    before = saved.read_bytes()
    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(error):
        save_tensors(saved, "detector", some_tensors(), {})
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_description_must_be_finite(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_tensors(tmp_path / "a", "detector", {}, {"a": value})
    assert not list(tmp_path.iterdir())


def test_a_disk_that_takes_no_more_is_an_error_of_the_system_and_the_old_file_stays(saved: Path) -> None:
    resource = pytest.importorskip("resource")
    before, limits = saved.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            save_tensors(saved, "detector", {"weight": torch.zeros(1000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names of files are text there")
def test_a_name_that_is_no_text_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.safetensors")
    save_tensors(path, "detector", some_tensors(), DESCRIPTION)
    assert load_tensors(path, "detector")[1] == DESCRIPTION
    assert read_header(path).kind == "detector"
