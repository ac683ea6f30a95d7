"""Text names an object of a user's file or module; whatever is wrong with it is said in one line."""

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from twinlatent.errors import TwinlatentError
from twinlatent.loading import built, files_run, load_object, run_sources, sources_run

GOOD = """
from dataclasses import dataclass
import neighbour

BUILT = []


@dataclass(frozen=True)
class Model:
    width: int = 3

    def __call__(self, images):
        return images * self.width


class Wide:
    def __init__(self, width, *, depth, name="x"):
        pass


def build(width=neighbour.WIDTH):
    import later

    return Model(later.WIDTH + width)


def answers(images):
    return images


def pair(logits, suspicion):
    return logits


def broken():
    return [][1]


model = Model(9)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch) -> Iterator[Path]:
    """The current folder, with a file in a folder `code` and its neighbours; the path and modules are put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = set(sys.modules)
    code = tmp_path / "code"
    code.mkdir()
    for name, text in (("mine.py", GOOD), ("neighbour.py", "WIDTH = 2"), ("later.py", "WIDTH = 5")):
        (code / name).write_text(text, encoding="utf-8")
    yield tmp_path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def of(text: str) -> object:
    return built(load_object(text), text)


def test_objects_of_a_file_arrive_where_the_file_is_not(folder: Path) -> None:
    sent = pickle.dumps(load_object("code/mine.py:model"))
    sources = sources_run()
    (folder / "code" / "mine.py").unlink()
    for name in [name for name in sys.modules if name.startswith("mine of ")]:
        del sys.modules[name]
    with pytest.raises(ModuleNotFoundError):
        pickle.loads(sent)
    run_sources(sources)
    assert pickle.loads(sent).width == 9


def test_a_class_and_a_function_are_called_and_all_else_is_taken_as_it_is() -> None:
    assert of("code/mine.py:Model").width == 3  # type: ignore[attr-defined]
    assert of("code/mine.py:build").width == 7  # type: ignore[attr-defined]
    assert of("code/mine.py:model").width == 9  # type: ignore[attr-defined]
    assert of("code/mine.py:answers")(4) == 4  # type: ignore[operator]
    assert of("code/mine.py:BUILT") == []


def test_a_module_is_found_in_the_current_folder(folder: Path) -> None:
    (folder / "package").mkdir()
    (folder / "package" / "inner.py").write_text("class A:\n    answer = 42\n", encoding="utf-8")
    assert load_object("package.inner:A.answer") == 42
    (folder / "alone.py").write_text("x = 1", encoding="utf-8")
    assert load_object("alone:x") == 1


def test_two_names_of_a_file_are_of_one_module(folder: Path) -> None:
    """What they make can be pickled together, as work for other processes is."""
    (folder / "two.py").write_text("class A: pass\nclass B(A): pass\n", encoding="utf-8")
    one, other = load_object(f"{folder}/two.py:A"), load_object(f"{folder}/two.py:B")
    assert issubclass(other, one)  # type: ignore[arg-type]


def test_a_file_is_run_anew_and_leaves_nothing_beside_it(folder: Path) -> None:
    path = folder / "random.py"  # of a name that Python has
    for number in (1, 2):
        path.write_text(f"x = {number}", encoding="utf-8")
        assert load_object(f"{path}:x") == number
    assert sorted(one.name for one in folder.iterdir()) == ["code", "random.py"]
    assert sys.path[-1] == str(folder)
    assert hasattr(sys.modules["random"], "shuffle")


def test_what_fails_is_not_told_to_other_processes(folder: Path) -> None:
    """Nor does it take the place of what was run of that file before."""
    path = folder / "changing.py"
    for source, left in (("x = (", []), ("x = 1", [path]), ("x = 1 / 0", [path])):
        path.write_text(source, encoding="utf-8")
        if source != "x = 1":
            with pytest.raises(TwinlatentError, match="changing"):
                load_object(f"{path}:x")
        else:
            assert load_object(f"{path}:x") == 1
        assert [one for one in files_run() if one.parent == folder] == left


def test_a_path_of_windows_keeps_its_colon() -> None:
    with pytest.raises(TwinlatentError, match=r"there is no file .*C:.*mine\.py$"):
        load_object(r"C:\code\mine.py:build")


FAULTS = [
    ("code/mine.py", "", "'code/mine.py' names no object; give FILE.py:NAME or MODULE:NAME"),
    (r"C:\runs\mine", "", "names no object"),
    ("code/mine.py:", "", "names no object"),
    ("code/mien.py:build", "", r"code/mien.py:build: there is no file .*mien\.py; did you mean mine\.py\?"),
    ("code/mine.py:biuld", "", r"code/mine\.py has no biuld; did you mean build\?"),
    ("code/mine.py:zzzz", "", r"has no zzzz; it has BUILT, Model, Wide, build, answers, pair, broken, model$"),
    ("code/mine.py:Model.zzzz", "", r"has no Model\.zzzz; it has width"),
    ("code/mine.py:Wide", "", r"code/mine.py:Wide is a class that needs width and depth; give them defaults, or"),
    ("code/mine.py:pair", "", "is a function that needs logits and suspicion; name one that needs nothing"),
    ("code/mine.py:broken", "", r"mine.py:broken fails in line 36 of mine\.py: IndexError: list index out of range$"),
    ("bad.py:x", "a = 1\nimport nosuch\n", r"line 2 of bad\.py: ModuleNotFoundError: No module named 'nosuch'"),
    ("bad.py:x", "def f():\n    1/0\n\nf()", r"fails in line 2 of bad\.py: ZeroDivisionError: division by zero$"),
    ("bad.py:x", "\n\nx = (", r"fails in line 3 of bad\.py: SyntaxError: '\(' was never closed"),
    ("bad.py:x", "raise SystemExit(2)", r"line 1 of bad\.py: SystemExit: 2; do that under if __name__"),
    ("bad.py:x", "raise ValueError", r"line 1 of bad\.py: ValueError$"),
    ("bad.py:x", "", r"bad\.py has no x; it is empty$"),
    ("bad:x", "import nosuch", r"bad:x fails in line 1 of bad\.py: ModuleNotFoundError: No module named 'nosuch'$"),
    ("nosuch.inner:x", "", r"there is no module nosuch; install it, run this from the folder it is in, or name a file"),
    ("bad.inner:x", "", r"there is no module bad\.inner; install it"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "source", "line"), FAULTS, ids=[line[:30] for *_, line in FAULTS])
def test_what_is_wrong_is_said_in_one_line(text: str, source: str, line: str, folder: Path) -> None:
    (folder / "bad.py").write_text(source, encoding="utf-8")
    with pytest.raises(TwinlatentError, match=line) as refused:
        of(text)
    assert "\n" not in str(refused.value)


def test_ctrl_c_passes(folder: Path) -> None:
    (folder / "bad.py").write_text("raise KeyboardInterrupt", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        load_object("bad.py:x")
