"""A part of a work for one machine of many: every eighth unit, say."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

from twinlatent.errors import TwinlatentError

MOST = 1_000_000
U = TypeVar("U")


@dataclass(frozen=True)
class Shard:
    """The units number, number + of, number + 2·of, ... of a work, counted from 1.

    Attributes:
        number: from 1 to `of`.
        of: how many shards there are.

    Raises:
        TwinlatentError: there is no such shard.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of <= MOST:
            raise TwinlatentError(f"shard {self}: there is none; give I/N with I from 1 to N, such as 3/8")

    @classmethod
    def read(cls, text: str) -> Self:
        """The shard that `3/8` means; `TwinlatentError` for other texts.

        Example:
            >>> Shard.read("3/8")
            Shard(number=3, of=8)
        """
        parts = re.fullmatch(r"(\d{1,7})/(\d{1,7})", text.strip(), re.ASCII)
        if parts is None:
            raise TwinlatentError(f"shard {text!r}: give I/N with I from 1 to N, such as 3/8")
        return cls(int(parts[1]), int(parts[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def suffix(self) -> str:
        """What its folder's name ends with, such as `.shard-3-of-8`."""
        return f".shard-{self.number}-of-{self.of}"

    def mine(self, units: Sequence[U]) -> list[U]:
        """Its units.

        Example:
            >>> Shard(3, 8).mine(range(20))
            [2, 10, 18]
        """
        return list(units[self.number - 1 :: self.of])
