"""The table of detectors of images in colour, from results/; scripts/pages.py puts it into docs/results.md."""

from collections.abc import Iterator

from tables import (
    ATTACKS,
    BEYOND,
    RESULTS,
    TITLES,
    Records,
    between,
    find,
    head,
    measured,
    own_score,
    row,
)

from twinlatent.evaluation.results import WORST, false_alarms, read_records

SHOWN = {
    "cifar10-plain": "plain classifier, rejecting",
    "cifar10-guard": "plain classifier, guarded",
    "cifar10-resnet_4b": "other people's, rejecting",
    "gtsrb32": "ours",
}
"""Evaluations by the names of their files, which their attacks beside have too; what the table calls each."""


def in_colour() -> Iterator[str]:
    """Detectors of images in colour: benign images, the black box, and the white box at the same radius."""
    yield from head("images", "detector", "accuracy", "flagged", *(f"AUC {name.upper()}" for name in ATTACKS), "images",
                    "SR@5", "images")  # fmt: skip
    for name, called in SHOWN.items():
        records, beside = (coloured(f"{begin}{name}") for begin in ("", BEYOND))
        if not records:
            continue
        areas = [find(records, metric="auc", attack=attack, score=own_score(records)) for attack in ATTACKS]
        benign = [between(r, digits=3) for r in (find(records, metric="accuracy"), false_alarms(records))]
        worst, counts = find(beside, metric="sr@5", attack=WORST), [area.n for area in areas if area]
        yield row(TITLES[records[0].data], called, *benign, *map(between, areas), *counts[:1], between(worst),
                  worst.n if worst else "")  # fmt: skip


def coloured(name: str) -> Records:
    """The records of a file in results/; none where there is no such file."""
    path = RESULTS / f"{name}.json"
    return read_records(path) if path.exists() else []


def coloured_commands() -> Iterator[str]:
    """Where those numbers come from."""
    found = {called: [*coloured(name), *coloured(f"{BEYOND}{name}")] for name, called in SHOWN.items()}
    return measured({f"{TITLES[rs[0].data]} | {called}": rs for called, rs in found.items() if rs})
