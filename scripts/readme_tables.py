"""Write the results tables of README.md and docs/underway.md from results/*.json, or with --check only say whether they
are up to date."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from twinlatent.evaluation.blackbox import MEAN
from twinlatent.evaluation.records import Record, false_alarms, read_records
from twinlatent.evaluation.substitutes import SUBSTITUTES
from twinlatent.evaluation.whitebox import WORST
from twinlatent.files import write_text
from twinlatent.report.paper import PAPER_SCORES, paper_value
from twinlatent.report.select import misclassified_only, overall

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
MARKS = "<!-- {}:begin -->", "<!-- {}:end -->"
TABLE_1 = "table1"
JUDGES = "judges"
OTHER_RESULTS = {"digits-budgets", "encoder_step", "encoder_step-cats-dogs", TABLE_1, JUDGES}
ON_CALIBRATION = ("partway-", "surrogate-")
"""Begin the names of what scripts/on_calibration.py wrote."""
POINTS = "points-"
"""Begins those of scripts/points.py."""
"""Files in results/ that hold no evaluation of a detector."""
WITHOUT = "-without-"
"""In the names of results of our detector trained without a setting, whose name follows."""
TITLES = {"digits": "digits 8×8", "mnist": "MNIST", "fashion-mnist5": "Fashion MNIST5",
          "cats-dogs": "cat & dog faces"}  # fmt: skip
METHODS = ("twinlatent", "plain", "gong", "rce", "adversarial-training", "gat")
FEW = 400
"""Up to so many images a number shows its interval."""
ATTACKS, RADII = ("fgsm", "pgd", "mim", "cw"), (0.1, 0.2, 0.3)

Records = Sequence[Record]


def detectors() -> dict[str, Records]:
    """The records of each detector by what the tables call it, ordered by data set and method."""
    paths = (path for path in (ROOT / "results").glob("*.json")
             if path.stem not in OTHER_RESULTS and not path.stem.startswith((*ON_CALIBRATION, POINTS)))  # fmt: skip
    found = [(path.stem.partition(WITHOUT)[2], read_records(path)) for path in paths]
    if any(find(records, metric="accuracy") is None for _, records in found):
        raise SystemExit("results/ has a file without benign accuracy: it is not of a detector")
    data = list(TITLES)
    found.sort(key=lambda one: (data.index(one[1][0].data), METHODS.index(one[1][0].method),
                                one[1][0].trained_with != "mim", one[0]))  # fmt: skip
    return {f"{TITLES[rs[0].data]} | {named(rs)}{f', without {left}' if left else ''}": rs for left, rs in found}


def named(records: Records) -> str:
    """Method and training attack."""
    trained = records[0].trained_with
    return f"`{records[0].method}`" + (f", {trained}" if trained != "none" else "")


def find(records: Records, **fields: object) -> Record | None:
    """The record with these values, over all attacked images."""
    whole = (r for r in overall(records) if not misclassified_only(r))
    return next((r for r in whole if all(getattr(r, name) == value for name, value in fields.items())), None)


def short(record: Record | None) -> str:
    """The number, and the paper's in brackets."""
    if record is None:
        return ""
    text = f"{record.value:.3f}".removeprefix("0") if record.value <= 1 else f"{record.value:.1f}"
    published = paper_value(record)
    return text if published is None else f"{text} ({f'{published:g}'.removeprefix('0')})"


def between(record: Record | None) -> str:
    """The number, the paper's in brackets, and the 95 % interval."""
    if record is None:
        return ""
    low, high = (f"{value:.2f}".removeprefix("0") for value in (record.low, record.high))
    return f"{short(record)} [{low}, {high}]"


def few(record: Record | None) -> str:
    """The same, without the interval where it rests on many images."""
    return between(record) if record and record.n <= FEW else short(record)


def row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def head(*cells: str) -> list[str]:
    return [row(*cells), "|---" * len(cells) + "|"]


def outside(everything: Mapping[str, Records]) -> Iterator[str]:
    """Benign accuracy and the black box: under the score of each method's paper, then under our own default."""
    yield from head(
        "data", "detector", "accuracy", "flagged", "AUC score", *(name.upper() for name in ATTACKS), "images"
    )
    for title, records in everything.items():
        first, own = find(records, metric="accuracy"), false_alarms(records)
        scores = list(dict.fromkeys([PAPER_SCORES.get(records[0].method), own.score if own else None]))
        for number, score in enumerate(s for s in scores if s):
            areas = [find(records, metric="auc", attack=name, score=score) for name in ATTACKS]
            n = next((area.n for area in areas if area), "")
            begin = (title, few(first), few(own)) if not number else (" | ", "", "")
            yield row(*begin, f"`{score}`", *map(few, areas), n)


def inside(everything: Mapping[str, Records]) -> Iterator[str]:
    """SR@FPR by the worst attack, under each score that was attacked."""
    yield from head("data", "detector", "score", *(f"SR@5, ε {radius:g}" for radius in RADII),
                    "SR@1, ε .3", "SR@10, ε .3", "images: SR@5 at ε .3, all else")  # fmt: skip
    for title, records in everything.items():
        for score in dict.fromkeys(r.score for r in records if r.attack == WORST and r.metric == "sr@5"):
            at = {radius: find(records, metric="sr@5", attack=WORST, score=score, epsilon=radius) for radius in RADII}
            others = [
                find(records, metric=metric, attack=WORST, score=score, epsilon=0.3) for metric in ("sr@1", "sr@10")
            ]
            main = at[0.3]
            if main is None:
                continue
            counts = dict.fromkeys(str(r.n) for r in (main, at[0.1]) if r)
            yield row(title, f"`{score}`", *map(between, (*at.values(), *others)), ", ".join(counts))


def ceiling_of(records: Records) -> Record | None:
    """The share of benign images that meet C3: the evaluation's own, else that of the same judges measured alone."""
    alone = read_records(ROOT / "results" / f"{JUDGES}.json")
    return find(records, metric="benign_c3") or find(alone, metric="benign_c3", data=records[0].data)


def conditions(everything: Mapping[str, Records]) -> Iterator[str]:
    """C1 and C2, as the paper has them, with the judges' C3, and the shares of benign images that pass."""
    yield from head("data", "detector", "CW-L2_W, C1 ∧ C2", "and C3", "size", "MIM_W, ε .4", "worst, ε .4", "and C3",
                    "benign images that pass", "benign images, C3 alone", "images")  # fmt: skip
    for title, records in everything.items():
        cw, cw3 = (find(records, metric=metric, attack="cw_w") for metric in ("sr_c1c2", "sr_c1c2c3"))
        if cw is None:
            continue
        mim, worst = (find(records, metric="sr_c1c2", attack=name, epsilon=0.4) for name in ("mim_w", WORST))
        worst3 = find(records, metric="sr_c1c2c3", attack=WORST, epsilon=0.4)
        size, passed = (find(records, metric=metric) for metric in ("l2_rms255", "benign_pass_c1c2"))
        rates = [few(record) for record in (cw, cw3, mim, worst, worst3, passed)]
        ceiling = few(ceiling_of(records)) or "not measured"
        yield row(title, *rates[:2], short(size), *rates[2:], ceiling, cw.n)


def vulnerable(_: Mapping[str, Records]) -> Iterator[str]:
    """Table 1: a classifier taught vulnerable features alone, and its controls."""
    metrics = ("test_xb_accuracy", "test_xv_accuracy", "control_relabelled_accuracy", "control_noise_accuracy",
               "control_unattacked_accuracy", "attack_success")  # fmt: skip
    records = read_records(ROOT / "results" / f"{TABLE_1}.json")
    yield from head("data", "attack", "X_b", "X_v", "relabelled", "noise", "unattacked", "fooled", "attacked")
    for data, name in dict.fromkeys((r.data, r.attack) for r in records):
        own = [r for r in records if (r.data, r.attack) == (data, name)]
        cells = (short(find(own, metric=metric)) for metric in metrics)
        yield row(TITLES[data], name.upper(), *cells, own[0].budget.removeprefix("section3, "))


def measured(everything: Mapping[str, Records]) -> Iterator[str]:
    """Where the numbers come from."""
    yield "<details><summary>Measured by these commands</summary>\n"
    for title, records in everything.items():
        for first in {r.command: r for r in reversed(records)}.values():
            yield (f"- {title.replace(' | ', ', ')}: `{first.command}`, commit {first.commit}, {first.date}, "
                   f"{first.machine}")  # fmt: skip
    yield "\n</details>"


def filled(text: str, name: str, lines: Iterator[str]) -> str:
    """The text with what stands between the marks of that name replaced."""
    begin, end = (mark.format(name) for mark in MARKS)
    before, rest = text.split(begin)
    return f"{before}{begin}\n{chr(10).join(lines)}\n{end}{rest.split(end)[1]}"


def calibration(_: Mapping[str, Records]) -> Iterator[str]:
    """What was measured on calibration images to choose `underway` and the outsider."""
    yield from head("data", "trained with", "setting", "score", *(f"CW-L2, {name}" for name in SUBSTITUTES),
                    "mean of CW-L2", "of FGSM, PGD, MIM", "SR@5, ε .3", "SR@5, ε .1", "images")  # fmt: skip
    for path in sorted(path for prefix in ON_CALIBRATION for path in (ROOT / "results").glob(f"{prefix}*.json")):
        records = read_records(path)
        keys = dict.fromkeys((r.trained_with, r.budget.partition("images, ")[2], r.score) for r in records)
        for trained_with, made, score in sorted(keys, key=str):
            own = [r for r in records if (r.trained_with, r.score) == (trained_with, score) and r.budget.endswith(made)]
            areas = [next((r for r in own if (r.metric, r.attack, r.substitute) == ("auc", "cw", name)), None)
                     for name in (*SUBSTITUTES, MEAN)]  # fmt: skip
            if areas[-1] is None or score == "joint":
                continue
            rest = [r.value for r in own if (r.metric, r.substitute) == ("auc", MEAN) and r.attack != "cw"]
            wins = [find(own, metric="sr@5", epsilon=epsilon) for epsilon in (0.3, 0.1)]
            n = ", ".join(str(r.n) for r in (areas[-1], *[w for w in wins if w][:1]))
            yield row(TITLES[own[0].data], trained_with, made, f"`{score}`", *map(short_area, areas),
                      f"{min(rest):.3f} to {max(rest):.3f}", *map(between, wins), n)  # fmt: skip


def short_area(record: Record | None) -> str:
    """The number alone."""
    return f"{record.value:.3f}" if record else ""


PAGES: Mapping[Path, Sequence[Callable[[Mapping[str, Records]], Iterator[str]]]] = {
    README: (outside, inside, conditions, vulnerable, measured),
    ROOT / "docs" / "underway.md": (calibration,),
}


def main() -> int:
    """Write or check."""
    everything, status = detectors(), 0
    for path, parts in PAGES.items():
        text = wanted = path.read_text(encoding="utf-8")
        for part in parts:
            wanted = filled(wanted, part.__name__, part(everything))
        if "--check" not in sys.argv[1:]:
            write_text(path, wanted)
        elif wanted != text:
            print(f"{path.name} does not show the numbers of results/: run scripts/readme_tables.py", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
