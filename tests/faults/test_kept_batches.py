"""What a suite keeps of its batches, changed by somebody: it is attacked again, and the answer is the same."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import twinlatent as tl
from twinlatent.criteria import Misclassified
from twinlatent.data import Split
from twinlatent.method.detector import Detector


def encrypted(whole: bytes) -> bytes:
    """The archive, which says that its first file is encrypted."""
    central = whole.index(b"PK\x01\x02")
    return whole[:6] + b"\1\0" + whole[8 : central + 8] + b"\1\0" + whole[central + 10 :]


def of_texts(whole: bytes) -> bytes:
    """The archive with texts in place of one array."""
    kept = io.BytesIO()
    with np.load(io.BytesIO(whole)) as arrays:
        np.savez(kept, **{name: np.array(["a"]) if name == "success" else arrays[name] for name in arrays.files})
    return kept.getvalue()


def alone(whole: bytes) -> bytes:
    """An array that is in no archive."""
    kept = io.BytesIO()
    np.save(kept, np.zeros(3))
    return kept.getvalue()


def of_another_method(whole: bytes) -> bytes:
    """The archive, packed in a way that nobody knows."""
    central = whole.index(b"PK\x01\x02")
    return whole[:8] + b"\x63\0" + whole[10 : central + 10] + b"\x63\0" + whole[central + 12 :]


@pytest.mark.parametrize("change", [encrypted, of_texts, alone, of_another_method, lambda whole: whole[:-30]])
def test_it_is_attacked_again(
    change: Callable[[bytes], bytes], trained_detector: Detector, digits: Split, tmp_path: Path
) -> None:
    attacks = {"fgsm": tl.attacks.Suite("quick", epsilon=0.2).attacks()["fgsm"]}

    def run() -> tl.attacks.SuiteResult:
        return tl.attacks.run_suite(attacks, trained_detector, digits.test.images[:4], digits.test.labels[:4],
                                    criterion=Misclassified(), norm="linf", epsilon=0.2, folder=tmp_path,
                                    progress=False)  # fmt: skip

    first = run()
    path = tmp_path / "fgsm-000000.npz"
    before = path.read_bytes()
    assert zipfile.is_zipfile(path)
    path.write_bytes(change(before))
    assert torch.equal(run().images, first.images)
    with np.load(path) as arrays, np.load(io.BytesIO(before)) as kept:
        assert all(np.array_equal(arrays[name], kept[name]) for name in ("images", "success"))
