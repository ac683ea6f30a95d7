"""Shards: a text names one of them, and all of them together are the work."""

import pytest

from twinlatent.errors import TwinlatentError
from twinlatent.running.shards import Shard


@pytest.mark.parametrize(("units", "of"), [(0, 3), (2, 3), (20, 8), (7, 1)])
def test_every_unit_is_in_one_shard(units: int, of: int) -> None:
    parts = [Shard(number, of).mine(range(units)) for number in range(1, of + 1)]
    assert sorted(unit for part in parts for unit in part) == list(range(units))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_shard_is_named_by_a_text() -> None:
    assert Shard.read(" 3/8") == Shard(3, 8)
    assert str(Shard(3, 8)) == "3/8"


@pytest.mark.parametrize("text", ["", "3", "3/", "0/8", "9/8", "-1/8", "3/8/1", "a/b", "3.0/8", "٣/8"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(TwinlatentError, match=r"shard .*give I/N with I from 1 to N, such as 3/8"):
        Shard.read(text)
