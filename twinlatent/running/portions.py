"""Which batches of a walk over images are done here; the others are somebody else's."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


def _nobody(path: Path) -> None:
    """Hears nothing."""


@dataclass(frozen=True)
class Portion:
    """Some batches of a walk that keeps a file for each batch and attack.

    Images are divided into batches once, in their order, and stay in theirs; attacks later in the walk see what of a
    batch is left. So a batch goes its way in any process as if it were alone.

    Attributes:
        batches: their numbers, from 0; None: all.
        attacks: names of the attacks that are run; None: all. The others count as not tried.
        heard: gets each file as soon as it is kept.
    """

    batches: frozenset[int] | None = None
    attacks: frozenset[str] | None = None
    heard: Callable[[Path], None] = _nobody

    def has(self, batch: int, attack: str) -> bool:
        """Whether this attack is run here on the batch of that number."""
        return (self.batches is None or batch in self.batches) and (self.attacks is None or attack in self.attacks)


ALL = Portion()
