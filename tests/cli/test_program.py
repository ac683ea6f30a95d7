"""How the program starts: at once, and however early Ctrl-C comes, it ends in a line."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.core import TyperGroup

SLOW = ("torch", "numpy", "sklearn", "scipy", "matplotlib")


def run(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [("--help", "reproduce"), ("train --help", "gong"), ("zoo list", "mnist-mim"), ("zoo show mnist-mim", "mnist"),
     ("data list", "fashion-mnist5")],
)  # fmt: skip
def test_nothing_slow_is_imported_to_say_what_there_is(words: str, said: str) -> None:
    done = run(f"""
import sys
from twinlatent.cli import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
loaded = [name for name in {SLOW} if name in sys.modules]
sys.exit(f"imported: {{loaded}}" if loaded else 0)
""", *words.split())  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert said in done.stdout


@pytest.mark.parametrize("early", ["typer", "torch", "torch.nn"])
def test_ctrl_c_while_something_is_imported_is_a_line_and_130(early: str, tmp_path: Path) -> None:
    done = run(f"""
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "{early}":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Finder())
from twinlatent.cli import main
main()
""", "demo", "--out", str(tmp_path / "demo"))  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "twinlatent: stopped\n")


def test_ctrl_c_while_the_words_are_read_is_a_line_and_130(program: Callable, monkeypatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TyperGroup, "make_context", stop)
    done = program("zoo", "list")
    assert (done.status, done.out, done.err) == (130, "", "twinlatent: stopped\n")
