"""The tables of detectors that were trained against a bound, of ladders and of detectors side by side, from results/;
scripts/pages.py puts them into README.md and docs/."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from tables import (
    BEYOND,
    COMPARED,
    IN_L2,
    LADDER,
    PROVED,
    RESULTS,
    ROOT,
    TITLES,
    Records,
    between,
    find,
    head,
    own_score,
    row,
    short,
)

from twinlatent.evaluation.results import ANY, CERTIFIED, WORST, Record, false_alarms, read_records

ENCODERS = "-encoders"
"""Ends the names of files of a detector's encoders alone, before it got a binary detector."""
L2_RADIUS = "L2 radius "
"""In the budget of a record, before the radius."""
SUITES = "quick", "standard", "thorough"
"""The weakest first."""
ROBUST = {"mnist-robust": (0.3, 0.4), "fashion-mnist5-robust": (0.1,), "cats-dogs-robust": (0.02,)}
"""Shipped detectors that were trained against a bound, and the radii of each that README.md shows."""
SMALL = "mnist-certified-small"
"""A recipe of minutes, whose detector does not ship."""


def which() -> Iterator[str]:
    """Detectors that were trained against a bound, where attackers know them: what attacks found, what is proved."""
    return _held({name: radii for name, radii in ROBUST.items() if known(name)}, ("sr@5",))


def held() -> Iterator[str]:
    """The same at every radius that was attacked or certified, and at both rates."""
    first, *others = ROBUST
    found = {name: known(name) for name in (first, SMALL, *others)}
    radii = {name: sorted({r.epsilon for r in rs if r.metric in ("sr@5", CERTIFIED) and r.epsilon})
             for name, rs in found.items() if rs}  # fmt: skip
    return _held(radii, ("sr@5", "sr@1"))


@cache
def known(name: str) -> Records:
    """All records of a detector of `ROBUST`: its evaluation, and what was attacked and proved beside it."""
    paths = [path for begin in ("", f"{BEYOND}", f"{PROVED}") for path in sorted(RESULTS.glob(f"{begin}{name}*.json"))]
    paths.sort(key=lambda path: path.stem.endswith(ENCODERS))  # what the shipped file was asked for itself comes first
    return [record for path in paths for record in read_records(path)]


def most(records: Records) -> Record | None:
    """That of the most images."""
    return max(records, key=lambda r: r.n, default=None)


def floor_of(records: Records, epsilon: float, metric: str) -> Record | None:
    """What attacks found at a radius: those of the strongest suite, on the most images that it attacked there."""
    there = [r for r in records if (r.epsilon, r.metric, r.attack) == (epsilon, metric, WORST)]
    return max(there, key=lambda r: (_strength(r), r.n), default=None)


def _strength(record: Record) -> int:
    """Place of the record's suite among suites, the weakest first."""
    return SUITES.index(record.budget.partition(",")[0])


def ceiling_of(records: Records, epsilon: float, metric: str) -> Record | None:
    """What is proved there, likewise."""
    asked = int(metric.rpartition("@")[2]) / 100
    return most([r for r in records if (r.epsilon, r.metric, r.asked) == (epsilon, CERTIFIED, asked)])


def in_l2(name: str) -> Iterator[str]:
    """The same in balls of L2."""
    records = [record for path in sorted(RESULTS.glob(f"{IN_L2}{name}*.json")) for record in read_records(path)]
    radii = sorted({float(r.budget.partition(L2_RADIUS)[2]) for r in records if L2_RADIUS in r.budget})
    kinds = "found by attacks", "proved to be at most"
    yield from head("detector", "L2 radius", *(f"SR@5, {kind}" for kind in kinds), "images")
    for number, radius in enumerate(radii):
        there = [r for r in records if r.budget.endswith(f"{L2_RADIUS}{radius:g}")]
        sides = (("sr@5", WORST, None), (CERTIFIED, ANY, 0.05))
        found = [most([r for r in there if (r.metric, r.attack, r.asked) == side]) for side in sides]
        yield row("" if number else f"`{name}`", f"{radius:g}", *(between(r, paper=False, digits=3) for r in found),
                  ", ".join(f"{r.n:,}" if r else "–" for r in found))  # fmt: skip


def _held(radii: Mapping[str, Sequence[float]], metrics: Sequence[str]) -> Iterator[str]:
    shown = [f"SR@{metric.rpartition('@')[2]}" for metric in metrics]
    kinds = "found by attacks", "proved to be at most"
    yield from head("images", "detector", "accuracy", "flagged", "ε",
                    *(f"{rate}, {kind}" for rate in shown for kind in kinds), "images")  # fmt: skip
    for name, of_detector in radii.items():
        records = [r for r in known(name) if r.score in (None, own_score(known(name)))]
        benign = [between(r, paper=False, digits=3) for r in (find(records, metric="accuracy"), false_alarms(records))]
        for number, epsilon in enumerate(of_detector):
            found = [side(records, epsilon, metric) for metric in metrics for side in (floor_of, ceiling_of)]
            begin = ("", "", "", "") if number else (TITLES[records[0].data], f"`{name}`", *benign)
            yield row(*begin, f"{epsilon:g}", *(between(r, paper=False, digits=3) for r in found),
                      ", ".join(f"{r.n:,}" if r else "–" for r in found))  # fmt: skip


def rungs(name: str) -> Iterator[str]:
    """A ladder, as its file has it, with what was measured on selection images, of the rungs that were run."""
    plan = tomllib.loads((ROOT / "experiments" / "ladders" / f"{name}.toml").read_text(encoding="utf-8"))
    path, radii = RESULTS / f"{LADDER}{name}.json", plan["epsilons"]
    records = read_records(path) if path.exists() else ()
    yield from head("rung", "changes", "accuracy", "flagged", *(f"attacked, ε {e:g}" for e in radii),
                    *(f"proved, ε {e:g}" for e in radii), "expected", "found")  # fmt: skip
    for rung in plan["rung"]:
        seed = rung.get("seed", plan["seed"])
        budget, norm = f"ladder: {rung['name']}, training seed {seed}", plan.get("norm", "linf")
        own = [r for r in records if r.budget == budget]
        at = {epsilon: [r for r in records if _there(r, budget, epsilon, norm)] for epsilon in radii}
        if not own:
            continue
        numbers = [find(own, metric="accuracy"), find(own, metric="fpr")]
        for metric in ("sr@5", CERTIFIED):
            numbers += [find(at[epsilon], metric=metric) for epsilon in radii]
        change = ", ".join(f"`{line}`" for line in rung["change"]).replace("|", "\\|") or "none"
        after = f"{rung['after']}: " if "after" in rung else ""
        after += f"from the weights of `{rung['start']}`, " if "start" in rung else ""
        called = rung["name"] if seed == plan["seed"] else f"{rung['name']}, seed {seed}"
        yield row(called, after + change, *map(short, numbers), rung["expected"], rung.get("found", ""))


def _there(record: Record, budget: str, epsilon: float, norm: str) -> bool:
    """Whether a record of a budget is of that radius; in L2 the budget tells it."""
    if norm == "l2":
        return record.budget == f"{budget}, {L2_RADIUS}{epsilon:g}"
    return (record.budget, record.epsilon) == (budget, epsilon)


def compared(data: str) -> Iterator[str]:
    """Detectors side by side: the worst attack, and the proof, at each radius, as scripts/compare.py measured them."""
    records = read_records(RESULTS / f"{COMPARED}{data}.json")
    radii = sorted({r.epsilon for r in records if r.epsilon is not None})
    yield from head("detector", "accuracy", "flagged", *(f"attacked, ε {e:g}" for e in radii),
                    *(f"proved, ε {e:g}" for e in radii), "images")  # fmt: skip
    for budget in dict.fromkeys(r.budget for r in records):
        own = [r for r in records if r.budget == budget]
        wins = [find(own, metric="sr@5", attack=WORST, epsilon=e) for e in radii]
        proofs = [find(own, metric=CERTIFIED, epsilon=e) for e in radii]
        name = budget.removeprefix("compared: ").partition(" by: ")[0]
        benign = (short(find(own, metric=metric)) for metric in ("accuracy", "fpr"))
        yield row(name, *benign, *map(between, wins), *map(short, proofs), next((r.n for r in wins if r), ""))
