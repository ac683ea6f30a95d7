"""A unit in folders of its own: it sees what it is brought and nothing else, and all that it keeps is said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from twinlatent.files import write_text
from twinlatent.running.carried import File
from twinlatent.running.ray_task import KEPT, do_apart
from twinlatent.running.units import Heard, Places

WHOSE = File("out", "run/whose.txt", b"mine")


@dataclass(frozen=True)
class Sums:
    """Writes the sums of what it needs, a file each, but those that are there; and a file that it does not tell of."""

    name = "sums"
    steps = 2
    keeps = {"out": ("run/*.txt",)}  # noqa: RUF012
    needs = {"in": ("*.txt",)}  # noqa: RUF012

    def __call__(self, given: int, places: Places, heard: Heard) -> None:
        numbers = [int(path.read_text()) for path in sorted(places["in"].glob("*.txt"))]
        write_text(places["out"] / "run" / "whose.txt", "mine")
        for number in numbers:
            path = places["out"] / "run" / f"{number}.txt"
            if not path.exists():
                write_text(path, str(number + given))
            heard(path)
        write_text(places["out"] / "run" / "end.txt", "end")
        write_text(places["out"] / "run" / "scratch.json", "{}")
        assert not places["nowhere"].exists()


def said(tmp_path: Path, files: Sequence[File]) -> list[tuple[object, Mapping[str, bytes]]]:
    heard: list[tuple[object, Mapping[str, bytes]]] = []

    def say(what: tuple[object, ...]) -> None:
        kind, told, changed = what
        assert kind == KEPT
        heard.append((told, {file.name: file.content for file in changed}))  # type: ignore[attr-defined]

    do_apart(Sums(), 10, files, tmp_path, say)
    return heard


def test_each_file_is_said_when_it_is_kept_after_what_says_whose_it_is(tmp_path: Path) -> None:
    found = said(tmp_path, [File("in", "a.txt", b"1"), File("in", "b.txt", b"2")])
    assert found == [
        (("out", "run/1.txt"), {"run/whose.txt": b"mine", "run/1.txt": b"11"}),
        (("out", "run/2.txt"), {"run/2.txt": b"12"}),
        (None, {"run/end.txt": b"end"}),
    ]
    assert [*found[0][1]][-1] == "run/1.txt"


def test_what_was_kept_before_is_not_done_again_nor_sent_back(tmp_path: Path) -> None:
    before = File("out", "run/1.txt", b"kept before")
    found = said(tmp_path, [File("in", "a.txt", b"1"), before])
    assert found[0] == (("out", "run/1.txt"), {"run/whose.txt": b"mine"})
    assert (tmp_path / "out" / "run" / "1.txt").read_bytes() == before.content
