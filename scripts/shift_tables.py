"""The tables of mild changes, from results/shift/; scripts/pages.py puts them into docs/results.md."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from tables import LADDER, RESULTS, ROOT, find, head, row, short

from twinlatent.evaluation.results import ACCURACY_SHIFT, FLAGGED_SHIFT, MILD, OF_CLASS, UNCHANGED, Record, read_records
from twinlatent.evaluation.shift import CHANGES, STRENGTHS, shift_name

FOLDER = RESULTS / "shift"
ASKED = 0.05

Records = Sequence[Record]


@cache
def shifted() -> Mapping[str, Records]:
    """The records of each shipped detector by its name."""
    return {path.stem: read_records(path) for path in sorted(FOLDER.glob("*.json"))}


def of(records: Records, name: str, *, accuracy: bool = False, budget: str = MILD) -> Record | None:
    """Share flagged where 5 % was asked for, or accuracy, after the change of that name."""
    wanted = (ACCURACY_SHIFT, None) if accuracy else (FLAGGED_SHIFT, ASKED)
    return next((r for r in records if (r.metric, r.asked) == wanted and (r.attack, r.budget) == (name, budget)), None)


def by_strength(everything: Mapping[str, Records], *, accuracy: bool = False) -> Iterator[str]:
    """Three numbers a cell, of strengths 1, 2 and 3: share flagged; below, if asked, accuracy."""
    yield from head("detector", "images", "", "as they are", *CHANGES)
    for name, records in everything.items():
        for right in (False, True)[: 1 + accuracy]:
            first = of(records, UNCHANGED, accuracy=right)
            cells = (
                " ".join(short(of(records, shift_name(change, strength), accuracy=right)) for strength in STRENGTHS)
                for change in CHANGES
            )
            begin = (" | ",) if right else (f"`{name}`", first.n if first else "")
            yield row(*begin, "accuracy" if right else "flagged", short(first), *cells)


def mild_scale() -> Iterator[str]:
    """What each change is, and how much of it."""
    yield from head("change", "what", *(f"strength {strength}" for strength in STRENGTHS))
    for name, change in CHANGES.items():
        yield row(name, change.meaning, *(f"{amount:g}" for amount in change.amounts))


def mild_changes() -> Iterator[str]:
    """Of all shipped detectors."""
    yield from by_strength(shifted(), accuracy=True)


def mild_by_class() -> Iterator[str]:
    """The share of each class flagged at strength 1: the mean over the changes, and the most, after which change."""
    yield from head("detector", "class: mean over the changes, the worst of them")
    for name, records in shifted().items():
        names = dict.fromkeys(r.budget.partition(OF_CLASS)[2] for r in records if OF_CLASS in r.budget)
        yield row(f"`{name}`", "; ".join(_of_class(records, class_name) for class_name in names))


def _of_class(records: Records, class_name: str) -> str:
    found = {change: share for change in CHANGES
             if (share := of(records, shift_name(change, 1), budget=f"{MILD}{OF_CLASS}{class_name}"))}  # fmt: skip
    worst = max(found, key=lambda change: found[change].value)
    mean = sum(share.value for share in found.values()) / len(found)
    return f"{class_name} {f'{mean:.2f}'.removeprefix('0')}, {worst} {short(found[worst])}"


def mild_commands() -> Iterator[str]:
    """Where the numbers come from."""
    for name, records in shifted().items():
        first = records[0]
        yield f"- `{name}`: commit {first.commit}, {first.date}, {first.seconds:.0f} s"


def mild_rungs(name: str) -> Iterator[str]:
    """A ladder of trainings on mildly changed images, of those rungs that were run; means are over the changes."""
    plan = tomllib.loads((ROOT / "experiments" / "ladders" / f"{name}.toml").read_text(encoding="utf-8"))
    path, radii = RESULTS / f"{LADDER}{name}.json", plan["epsilons"]
    records = read_records(path) if path.exists() else ()
    yield from head("trained on images", "seed", "accuracy", "flagged",
                    *(f"flagged, strength {strength}" for strength in STRENGTHS), "accuracy, strength 1",
                    *(f"SR@5, ε {e:g}" for e in radii), "expected", "found")  # fmt: skip
    for rung in plan["rung"]:
        seed = rung.get("seed", plan["seed"])
        own = [r for r in records if r.budget == f"ladder: {rung['name']}, training seed {seed}"]
        if not own:
            continue
        as_they_are = [of(own, UNCHANGED, accuracy=right, budget=own[0].budget) for right in (True, False)]
        means = [_mean(own, strength) for strength in STRENGTHS] + [_mean(own, 1, accuracy=True)]
        attacked = [find(own, metric="sr@5", epsilon=epsilon) for epsilon in radii]
        change = ", ".join(f"`{line}`" for line in rung["change"])
        yield row(f"{rung['name']}{f': {change}' if change else ''}", seed, *map(short, as_they_are), *means,
                  *map(short, attacked), rung["expected"], rung.get("found", ""))  # fmt: skip


def _mean(records: Records, strength: int, *, accuracy: bool = False) -> str:
    """Over the changes, of one strength."""
    found = [of(records, shift_name(change, strength), accuracy=accuracy, budget=records[0].budget)
             for change in CHANGES]  # fmt: skip
    values = [record.value for record in found if record]
    if len(values) < len(found):
        raise ValueError(f"{records[0].budget} lacks changes of strength {strength}")
    return f"{sum(values) / len(values):.3f}".removeprefix("0")


def mild_card(name: str) -> list[str]:
    """What a card says of mild changes; nothing where they were not measured."""
    records = shifted().get(name)
    if records is None:
        return []
    first = of(records, UNCHANGED)
    assert first is not None
    lines = [
        "",
        "## False alarms on honest images",
        "",
        f"Of {first.n} benign test images the 5 % threshold flags {short(first)} as they are, and this share once they",
        "are mildly changed, at strengths 1, 2 and 3; docs/results.md says what these are:",
        "",
        *head("change", "flagged", "classified correctly"),
    ]
    for change in CHANGES:
        both = ([of(records, shift_name(change, strength), accuracy=right) for strength in STRENGTHS]
                for right in (False, True))  # fmt: skip
        lines.append(row(change, *(" ".join(short(r) for r in found) for found in both)))
    return lines
