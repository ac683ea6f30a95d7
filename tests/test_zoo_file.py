"""scripts/zoo_file.py: what it refuses, in one line, assertions or not."""

import runpy
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from twinlatent.data import Split
from twinlatent.method.detector import Detector

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "zoo_file.py"


def test_wrong_input_ends_in_a_line(trained_detector: Detector, digits: Split, tmp_path: Path, monkeypatch) -> None:
    main: Callable[[], None] = runpy.run_path(str(SCRIPT))["main"]
    names = main.__globals__
    monkeypatch.setitem(names, "LARGE", 0)
    trained = trained_detector.card | {"data": {"name": "digits", "fingerprint": digits.fingerprint}, "seed": 0}
    monkeypatch.setattr(trained_detector, "card", trained, raising=False)
    other = replace(digits, train=digits.train.subset(slice(50)))
    for words, loaded, line in (
        (["run"], None, "usage: "),
        (["run", "file"], object(), "run holds a baseline"),
        (["run", "file"], trained_detector, "digits has other images here than run was trained with"),
    ):
        monkeypatch.setattr(sys, "argv", ["zoo_file.py", *words])
        monkeypatch.setitem(names, "load", lambda _, loaded=loaded: loaded)
        monkeypatch.setitem(names, "load_data", lambda *_, **__: other)
        with pytest.raises(SystemExit, match=line):
            main()
    assert not list(tmp_path.iterdir())
