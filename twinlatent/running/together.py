"""Units run by whoever is asked, with one bar, in a folder that may be nobody's."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twinlatent.progress import bar
from twinlatent.running.units import Places, Runner, Unit


def run_all(
    runner: Runner,
    stages: Sequence[Sequence[Unit]],
    given: Any,
    places: Places,
    *,
    name: str,
    progress: bool = True,
) -> None:
    """`Runner.run` with one bar over all that units keep.

    The time left is that of the last stage: networks, which the stages before it train, take much longer than a batch.

    Args:
        runner: who runs them.
        stages, given, places: see `Runner.run`.
        name: of the bar.
        progress: whether to show it.
    """
    counts: Counter[str] = Counter()
    before_last = {unit.name for stage in stages[:-1] for unit in stage}
    with bar(name, sum(unit.steps for stage in stages for unit in stage), show=progress) as shown:

        def told(unit: Unit, path: Path | None) -> None:
            """Files that a unit kept in an earlier attempt are told again, and some units keep fewer than they may."""
            shown.note, typical = "" if path is None else unit.name, unit.name not in before_last
            if path is None:
                shown.advance(max(0, unit.steps - counts[unit.name]), typical=typical)
            elif counts[unit.name] < unit.steps:
                counts[unit.name] += 1
                shown.advance(typical=typical)

        runner.run(stages, given, places, told)


@contextmanager
def some_folder(folder: Path | None) -> Iterator[Path]:
    """The folder, or where there is none one that is gone after the block."""
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="twinlatent-") as made:
        yield Path(made)
