import signal
from pathlib import Path

import numpy as np
import pytest

from twinlatent.data import reading
from twinlatent.data.photos import Piece
from twinlatent.data.pictures import Look
from twinlatent.data.reading import check_writable, partial_of, read_pieces
from twinlatent.errors import TwinlatentError


@pytest.fixture
def pieces(tmp_path: Path, picture) -> list[Piece]:
    """Eight pictures, the fourth of which is none."""
    made = [Piece(picture(tmp_path / "photos" / f"{k}.png", k), (k, 0, 40, 40)) for k in range(8)]
    made[3].path.write_text("no picture")
    return made


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    return partial_of(tmp_path / "set.npz")


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The photographs that are really read, in order; Ctrl-C is pressed while the sixth is."""
    read = []
    real = reading.take

    def take(piece: Piece, size: int, look: Look):
        read.append(piece.path)
        if len(read) == 6:
            signal.raise_signal(signal.SIGINT)
        return real(piece, size, look)

    monkeypatch.setattr(reading, "take", take)
    return read


def read(pieces: list[Piece], partial: Path, size: int = 16, **asked: str):
    return read_pieces(pieces, size, partial, asked, title="reading", progress=False)


def same(some, others) -> bool:
    return all(
        (a.digest, a.fault, a.square) == (b.digest, b.fault, b.square) and np.array_equal(a.image, b.image)
        for a, b in zip(some, others, strict=True)
    )


def test_all_are_read_in_order(pieces, partial: Path) -> None:
    found = read(pieces, partial)
    assert [result.image is None for result in found] == [k == 3 for k in range(8)]
    assert found[3].fault == "is not an image"
    assert len({result.digest for result in found}) == 8
    assert [result.square for result in found] == [(0, 0, 0) if k == 3 else (k, 0, 40) for k in range(8)]


def test_only_what_could_be_read_is_kept(pieces, partial: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may become readable without a change of its time, as by `chmod`."""
    first, real, again = read(pieces, partial), reading.take, []
    monkeypatch.setattr(reading, "take", lambda piece, size, look: again.append(piece) or real(piece, size, look))
    before = partial.read_bytes()
    assert same(first, read(pieces, partial))
    assert again == [pieces[3]]
    assert partial.read_bytes() == before


def test_where_nothing_could_be_read_nothing_is_kept(pieces, partial: Path) -> None:
    read([pieces[3]], partial)
    assert not partial.exists()


def test_an_interrupted_reading_goes_on(pieces, partial: Path, taken: list[Path]) -> None:
    with pytest.raises(KeyboardInterrupt, match="stopped after 6 of 8"):
        read(pieces, partial)
    assert partial.exists()
    found = read(pieces, partial)
    assert taken == [pieces[k].path for k in (0, 1, 2, 3, 4, 5, 3, 6, 7)], "no image was read twice"
    partial.unlink()
    assert same(found, read(pieces, partial))


def test_what_changed_in_between_is_read_again(pieces, partial: Path, taken: list[Path], picture) -> None:
    with pytest.raises(KeyboardInterrupt):
        read(pieces, partial)
    picture(pieces[3].path, 33)
    pieces[1] = Piece(pieces[1].path, (9, 9, 9, 9))
    found = read(pieces, partial)
    assert taken[6:] == [pieces[k].path for k in (1, 3, 6, 7)]
    assert found[3].image is not None
    partial.unlink()
    assert same(found, read(pieces, partial))


@pytest.mark.parametrize(("size", "asked"), [(17, {}), (16, {"boxes": "other.csv"})])
def test_other_settings_do_not_go_on(pieces, partial: Path, taken: list[Path], size: int, asked: dict) -> None:
    with pytest.raises(KeyboardInterrupt):
        read(pieces, partial)
    before = partial.read_bytes()
    with pytest.raises(TwinlatentError, match=r"set\.partial: was begun with other settings"):
        read(pieces, partial, size, **asked)
    assert partial.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 and then nothing"])
def test_a_damaged_partial_file_is_named(pieces, partial: Path, content: bytes) -> None:
    partial.write_bytes(content)
    with pytest.raises(TwinlatentError, match=r"set\.partial: is damaged .*; delete it"):
        read(pieces, partial)


def test_now_and_then_it_is_kept_without_ctrl_c(pieces, partial: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SAVE_SECONDS", -1)
    read(pieces, partial)
    monkeypatch.setattr(reading, "take", None)
    assert all(result.image is not None for result in read(pieces[:3] + pieces[4:], partial))


def test_a_folder_that_can_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "deep")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old").mkdir()
    check_writable(tmp_path / "old")
    assert list(tmp_path.rglob("*")) == [tmp_path / "old"]


@pytest.mark.parametrize("name", ["file/deep", "x" * 300, "file"])
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TwinlatentError, match=f"{name}: cannot be written .*; mend that, or name another folder"):
        check_writable(tmp_path / name)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_progress_is_shown(pieces, partial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read_pieces(pieces, 16, partial, {}, title="reading photos", progress=True)
    assert "reading photos: 8/8" in capsys.readouterr().err
