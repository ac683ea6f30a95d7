"""twinlatent.files: a reader sees the old file or the new one, never a part."""

import json
import os
import stat

import pytest

from twinlatent.files import replacing, write_json, write_text


def test_the_file_appears_only_when_the_block_ends(tmp_path) -> None:
    path = tmp_path / "result.json"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"


def test_the_temporary_file_is_beside_the_target_and_keeps_its_suffix(tmp_path) -> None:
    # Beside it: a rename across file systems is not atomic. Its suffix: matplotlib and others go by it.
    with replacing(tmp_path / "figure.png") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".png"


def test_a_new_file_replaces_an_old_one(tmp_path) -> None:
    path = tmp_path / "result.txt"
    path.write_text("old, and longer than the new one")
    write_text(path, "new")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["result.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_block_that_raises_leaves_everything_as_it_was(tmp_path, error) -> None:
    path = tmp_path / "result.txt"
    path.write_text("old")

    def write_half() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of the ne")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.txt"]


def test_a_block_that_raises_leaves_no_new_file(tmp_path) -> None:
    with pytest.raises(ValueError, match="stop"), replacing(tmp_path / "result.txt"):
        raise ValueError("stop")
    assert os.listdir(tmp_path) == []


def test_a_reader_who_has_the_old_file_open_goes_on_reading_it(tmp_path) -> None:
    path = tmp_path / "result.txt"
    path.write_text("old")
    with path.open() as reader:
        write_text(path, "new")
        assert reader.read() == "old"


def test_missing_folders_are_made(tmp_path) -> None:
    write_text(tmp_path / "a" / "b" / "c.txt", "text")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "text"


def test_a_path_may_be_a_string_and_relative(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_text("result.txt", "text")
    assert (tmp_path / "result.txt").read_text() == "text"


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX")
def test_others_may_read_the_file(tmp_path) -> None:
    path = tmp_path / "result.txt"
    write_text(path, "text")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644  # not the 0600 of temporary files


def test_text_is_utf8(tmp_path) -> None:
    write_text(tmp_path / "t.txt", "ε = ⅓")
    assert (tmp_path / "t.txt").read_bytes() == "ε = ⅓".encode()


def test_json_comes_back_as_it_went_and_ends_with_a_newline(tmp_path) -> None:
    value = {"rate": 0.1, "names": ["a", "ε"], "none": None, "third": 1 / 3}
    write_json(tmp_path / "r.json", value)
    text = (tmp_path / "r.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert text.endswith("}\n")
    assert len(text.splitlines()) > 4  # indented: differences can be read


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_refuses_what_is_no_number(tmp_path, value) -> None:
    path = tmp_path / "r.json"
    path.write_text("old")
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"deep": [1.0, value]})
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["r.json"]
