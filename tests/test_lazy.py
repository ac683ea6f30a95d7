"""Packages whose public names are imported when they are asked for."""

import subprocess
import sys

import pytest

import twinlatent as tl
from twinlatent import baselines, data


@pytest.mark.parametrize("package", [tl, data, baselines])
def test_every_public_name_is_there_and_listed(package) -> None:
    assert [name for name in package.__all__ if getattr(package, name, None) is None] == []
    assert set(package.__all__) <= set(dir(package))
    assert dir(package) == sorted(dir(package))


def test_a_name_that_is_not_there_is_refused_as_by_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'twinlatent' has no attribute 'nosuch'"):
        _ = tl.nosuch
    with pytest.raises(ImportError, match="cannot import name 'nosuch' from 'twinlatent'"):
        from twinlatent import nosuch  # noqa: F401


def test_names_come_when_asked_for_by_any_way_to_import() -> None:
    program = """
import sys
import twinlatent as tl
assert "torch" not in sys.modules and "Detector" in dir(tl)
from twinlatent import Detector, attacks
assert "torch" in sys.modules and attacks is tl.attacks is sys.modules["twinlatent.attacks"]
assert Detector is tl.Detector is sys.modules["twinlatent.method.detector"].Detector
assert tl.data.load is sys.modules["twinlatent.data.sources"].load
names = {}
exec("from twinlatent import *", names)
assert set(tl.__all__) <= set(names)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
