"""What a detector file says of itself, without its tensors."""

import json
from pathlib import Path

import pytest
import torch

from twinlatent.errors import TwinlatentError
from twinlatent.method.checkpoints import load_tensors, save_tensors
from twinlatent.method.detector import Detector
from twinlatent.method.file_header import read_header, trained_with


def test_the_header_is_what_was_written(tmp_path: Path) -> None:
    description = {"ε": [1, 2.5, None], "text": 'a "quoted" line\n'}
    save_tensors(tmp_path / "a", "some kind", {"x": torch.arange(5)}, description)
    header = read_header(tmp_path / "a")
    assert (header.kind, header.format, header.description) == ("some kind", "1", description)
    assert header.description == load_tensors(tmp_path / "a", "some kind")[1]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\1\0\0\0",
        (2**63).to_bytes(8, "little") + b"{}",
        (10**6).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"\xff\xff",
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
        (20).to_bytes(8, "little") + b'{"__metadata__": [] }',
    ],
)
def test_other_files_are_refused_in_a_line_that_names_them(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(TwinlatentError, match=r"other is truncated or no safetensors file; write it again \(.+\)"):
        read_header(tmp_path / "other")
    with pytest.raises(TwinlatentError, match="nosuch is no file"):
        read_header(tmp_path / "nosuch")


def test_a_safetensors_file_of_somebody_else_says_nothing_of_itself(tmp_path: Path) -> None:
    text = json.dumps({"x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    (tmp_path / "other").write_bytes(len(text).to_bytes(8, "little") + text + b"\0")
    assert read_header(tmp_path / "other").kind == ""


def test_what_it_was_trained_with_is_on_the_card(trained_detector: Detector) -> None:
    assert trained_with(trained_detector.card) == trained_detector.trained_with == "mim"
    assert trained_with({"training": {"attack": "cw"}}) == "cw"
    assert trained_with({}) == "none"
