"""twinlatent.files: a reader sees the old file or the new one, never a part."""

import errno
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


def test_an_error_of_the_system_names_the_file_that_was_to_be_written(tmp_path) -> None:
    path = tmp_path / "r.json"
    with pytest.raises(OSError, match="No space") as caught, replacing(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(path)
    with pytest.raises(FileNotFoundError) as caught, replacing(path) as temporary:
        temporary.unlink()
    assert caught.value.filename == str(path)
    with pytest.raises(FileNotFoundError) as caught, replacing(path):
        (tmp_path / "other").read_text()
    assert caught.value.filename == str(tmp_path / "other")
    assert os.listdir(tmp_path) == []


def test_a_scrap_of_a_dead_writer_of_this_file_is_removed(tmp_path) -> None:
    dead = 2**31 - 9
    names = [f".r.json.twinlatent-{dead}-abcd1234.json", f".other.json.twinlatent-{dead}-abcd1234.json"]
    for name in names:
        (tmp_path / name).write_text("half")
    write_text(tmp_path / "r.json", "whole")
    assert sorted(os.listdir(tmp_path)) == [names[1], "r.json"]


def test_a_long_name_is_written_too(tmp_path) -> None:
    path = tmp_path / ("ε" * 120 + ".json")
    write_text(path, "x")
    assert os.listdir(tmp_path) == [path.name]


def test_names_of_files_that_are_no_text_are_escaped(tmp_path) -> None:
    write_text(tmp_path / "t.txt", "caf\udce9")
    assert (tmp_path / "t.txt").read_text(encoding="utf-8") == "caf\\udce9"


def test_where_nothing_may_be_written_the_line_names_the_target_and_what_to_do(tmp_path) -> None:
    with pytest.raises(PermissionError) as caught, replacing(tmp_path / "out.txt") as temporary:
        raise PermissionError(errno.EACCES, "Permission denied", str(temporary))
    assert str(caught.value) == f"[Errno 13] Permission denied; give another place: '{tmp_path / 'out.txt'}'"
    with pytest.raises(PermissionError) as caught, replacing(tmp_path / "out.txt"):
        raise PermissionError(errno.EACCES, "Permission denied", "another")  # which the block reads
    assert str(caught.value) == "[Errno 13] Permission denied: 'another'"


def test_a_temporary_file_that_cannot_be_made_is_not_named(tmp_path, monkeypatch) -> None:
    def refuse(dir, prefix, suffix):
        raise PermissionError(errno.EACCES, "Permission denied", f"{dir}/{prefix}abcdefgh{suffix}")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(PermissionError, match="give another place") as caught:
        write_text(tmp_path / "out.txt", "new")
    assert caught.value.filename == str(tmp_path / "out.txt")
