"""The tables of README.md, docs/results.md and docs/ablations.md, from results/; scripts/pages.py puts them there."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from twinlatent.evaluation.black_box import SUBSTITUTES
from twinlatent.evaluation.results import MEAN, WORST, Record, false_alarms, read_json, read_records
from twinlatent.evaluation.results.benchmarks import Benchmark, ClassBenchmark
from twinlatent.report.paper import PAPER_SCORES, paper_value
from twinlatent.report.select import misclassified_only, overall

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"
TABLE_1, JUDGES, BENCHMARKS, BUDGETS = "table1", "judges", "encoder_step", "digits-budgets"
CLASSES = "classes"
"""The file of benchmarks/classes.py."""
ON_CALIBRATION = ("partway-", "surrogate-")
"""Begin the names of what was measured on calibration images, before there was a selection part."""
LADDER = "ladder-"
"""Begins those of scripts/ladder.py."""
PROVED = "proofs-"
"""Begins those of `certify --records`."""
BEYOND = "beyond-"
"""Begins those of `attack --records`, at radii that a detector's evaluation has not."""
THOUSAND = "thousand-"
"""Begins those of `attack --records` on 1,000 images, at the radius and rate of a row that rested on fewer."""
IN_L2 = "l2-"
"""Begins those of `attack --norm l2 --records` and `certify --norm l2 --records`."""
COMPARED = "floors-"
"""Begins those of scripts/compare.py."""
POINTS = "points-"
"""Begins those of scripts/points.py."""
COLOURED = "cifar10-", "gtsrb32"
"""Those of detectors of images in colour, which have a table of their own, by scripts/colour_tables.py."""
OTHER_BENCHMARKS = (
    "attacks",
    "export",
    "one-core",
    "command",
    "clock",
    "cluster",
    "precision",
    "thresholds",
    "serve",
    "workers",
    "gpu",
    "faults",
    "release",
    "fresh",
    "breaking",
)
"""Those of the other files of benchmarks/ and of checks in scripts/."""
NO_DETECTOR = (
    BUDGETS,
    TABLE_1,
    JUDGES,
    BENCHMARKS,
    CLASSES,
    *OTHER_BENCHMARKS,
    LADDER,
    COMPARED,
    PROVED,
    BEYOND,
    THOUSAND,
    IN_L2,
    POINTS,
    *ON_CALIBRATION,
    *COLOURED,
)
"""Begin the names of files in results/ that hold no evaluation of a detector."""
WITHOUT = "-without-"
"""In the names of results of our detector trained without a setting, whose name follows."""
LEFT = ", without "
"""So the tables say it."""
RENAMED = {"underway": "partway", "outsider": "surrogate"}
"""What settings were called when numbers were measured, and are called now."""
TITLES = {"digits": "digits 8×8", "mnist": "MNIST", "fashion-mnist5": "Fashion MNIST5",
          "cats-dogs": "cat & dog faces", "cifar10": "CIFAR-10", "gtsrb32": "traffic signs"}  # fmt: skip
OURS, UNDEFENDED, METHODS = "twinlatent", "plain", ("twinlatent", "plain", "gong", "rce", "adversarial-training", "gat")
FEW = 400
"""Up to so many images a number shows its interval."""
ATTACKS = ("fgsm", "pgd", "mim", "cw")
RADII, CONDITION_RADII = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3), (0.1, 0.2, 0.3, 0.4, 0.6, 0.8)
HEADLINE = {"mnist": 0.3, "fashion-mnist5": 0.3, "cats-dogs": 0.1}
"""Data sets of the first table, and the L∞ radius of each: the usual one, and a third of it for photographs."""

Records = Sequence[Record]
Detectors = Mapping[str, Records]
"""The records of each detector by what the tables call it: its data set, a bar, its method and training attack."""


@cache
def detectors() -> Detectors:
    """The records of each detector by what the tables call it, ordered by data set and method."""
    paths = (path for path in RESULTS.glob("*.json") if not path.stem.startswith(NO_DETECTOR))
    found = [(path.stem.partition(WITHOUT)[2], read_records(path)) for path in paths]
    if any(find(records, metric="accuracy") is None for _, records in found):
        raise SystemExit("results/ has a file without benign accuracy: it is not of a detector")
    data = list(TITLES)
    found.sort(key=lambda one: (data.index(one[1][0].data), METHODS.index(one[1][0].method),
                                one[1][0].trained_with != "mim", one[0]))  # fmt: skip
    return {f"{TITLES[rs[0].data]} | {named(rs)}{f'{LEFT}{left}' if left else ''}": rs for left, rs in found}


def whole() -> Detectors:
    """Those of results.md: all but ours without a setting."""
    return {title: records for title, records in detectors().items() if LEFT not in title}


def with_and_without() -> Detectors:
    """Those of ablations.md: ours, as shipped and without a setting."""
    left = {title.partition(LEFT)[0] for title in detectors() if LEFT in title}
    return {title: records for title, records in detectors().items() if title.partition(LEFT)[0] in left}


def named(records: Records) -> str:
    """Method and training attack."""
    trained = records[0].trained_with
    return f"`{records[0].method}`" + (f", {trained}" if trained != "none" else "")


def find(records: Records, **fields: object) -> Record | None:
    """The record with these values, over all attacked images."""
    whole = (r for r in overall(records) if not misclassified_only(r))
    return next((r for r in whole if all(getattr(r, name) == value for name, value in fields.items())), None)


def short(record: Record | None, *, paper: bool = True) -> str:
    """The number, and the paper's in brackets."""
    if record is None:
        return ""
    text = f"{record.value:.3f}".removeprefix("0") if record.value <= 1 else f"{record.value:.1f}"
    published = paper_value(record) if paper else None
    return text if published is None else f"{text} ({f'{published:g}'.removeprefix('0')})"


def between(record: Record | None, *, paper: bool = True, digits: int = 2) -> str:
    """The number, the paper's in brackets, and the 95 % interval."""
    if record is None:
        return ""
    low, high = (f"{value:.{digits}f}".removeprefix("0") for value in (record.low, record.high))
    return f"{short(record, paper=paper)} [{low}, {high}]"


def few(record: Record | None) -> str:
    """The same, without the interval where it rests on many images."""
    return between(record) if record and record.n <= FEW else short(record)


def row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def head(*cells: str) -> list[str]:
    return [row(*cells), "|---" * len(cells) + "|"]


def black_box(everything: Detectors) -> Iterator[str]:
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


def white_box(everything: Detectors) -> Iterator[str]:
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


def thousands() -> Iterator[str]:
    """Rows of `white_box` on 1,000 images, beside what they were on fewer, with the seconds of either."""
    yield from head("data", "detector", "ε", "SR@5", "images", "minutes", "before: SR@5", "images", "minutes")
    for path in sorted(RESULTS.glob(f"{THOUSAND}*.json")):
        fewer = read_records(RESULTS / f"{path.stem.removeprefix(THOUSAND)}.json")
        now = find(read_records(path), metric="sr@5", attack=WORST)
        assert now is not None, path
        then = find(fewer, metric="sr@5", attack=WORST, score=now.score, epsilon=now.epsilon)
        assert then is not None, path
        yield row(TITLES[now.data], named([now]), f"{now.epsilon:g}", between(now, digits=3), f"{now.n:,}",
                  f"{now.seconds / 60:.0f}", between(then), then.n, f"{then.seconds / 60:.0f}")  # fmt: skip


def ceiling_of(records: Records) -> Record | None:
    """The share of benign images that meet C3: the evaluation's own, else that of the same judges measured alone."""
    alone = read_records(RESULTS / f"{JUDGES}.json")
    return find(records, metric="benign_c3") or find(alone, metric="benign_c3", data=records[0].data)


def conditions(everything: Detectors) -> Iterator[str]:
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


def vulnerable() -> Iterator[str]:
    """Table 1: a classifier taught vulnerable features alone, and its controls."""
    metrics = ("test_xb_accuracy", "test_xv_accuracy", "control_relabelled_accuracy", "control_noise_accuracy",
               "control_unattacked_accuracy", "attack_success")  # fmt: skip
    records = read_records(RESULTS / f"{TABLE_1}.json")
    yield from head("data", "attack", "X_b", "X_v", "relabelled", "noise", "unattacked", "fooled", "attacked")
    for data, name in dict.fromkeys((r.data, r.attack) for r in records):
        own = [r for r in records if (r.data, r.attack) == (data, name)]
        cells = (short(find(own, metric=metric)) for metric in metrics)
        yield row(TITLES[data], name.upper(), *cells, own[0].budget.removeprefix("section3, "))


def measured(everything: Detectors) -> Iterator[str]:
    """Where the numbers come from."""
    for title, records in everything.items():
        for first in {r.command: r for r in reversed(records)}.values():
            yield (f"- {title.replace(' | ', ', ')}: `{first.command}`, commit {first.commit}, {first.date}, "
                   f"{first.machine}")  # fmt: skip


def flagged(everything: Detectors) -> Iterator[str]:
    """How many of the black box's images are flagged at 5 %."""
    yield from head("data", "detector", "score", *(name.upper() for name in ATTACKS))
    for title, records in everything.items():
        score = own_score(records)
        found = [find(records, metric="tpr@5", attack=name, score=score) for name in ATTACKS]
        if any(found):
            yield row(title, f"`{score}`", *map(few, found))


def condition_radii(everything: Detectors) -> Iterator[str]:
    """C1 and C2 over radii, by MIM_W as in the paper's figure 12, and by the worst attack."""
    yield from head("data", "detector", "attack", *(f"ε {radius:g}" for radius in CONDITION_RADII))
    for title, records in everything.items():
        for name, called in (("mim_w", "MIM_W"), (WORST, "worst")):
            found = [find(records, metric="sr_c1c2", attack=name, epsilon=e) for e in CONDITION_RADII]
            if any(found):
                yield row(title, called, *map(few, found))


def points() -> Iterator[str]:
    """What attacks beside the main point found in version 0.1.0, and find now."""
    old, new = (read_records(RESULTS / f"{POINTS}mnist-mim-{name}.json") for name in ("0.1.0", "now"))
    yield from head("ε", "rate", "version 0.1.0", "every attack at every point", "images")
    for then in old:
        now = find(new, metric=then.metric, attack=then.attack, epsilon=then.epsilon)
        yield row(f"{then.epsilon:g}", then.metric.upper(), between(then), between(now), then.n)


def budgets() -> Iterator[str]:
    """The worst attack of the suite `standard` and of the paper's at its own budget, on a detector of the digits."""
    records = read_records(RESULTS / f"{BUDGETS}.json")
    radii = sorted({r.epsilon for r in records if r.epsilon is not None})
    yield from head("suite", *(f"SR@5, ε {radius:g}" for radius in radii), "images")
    for suite in dict.fromkeys(r.budget for r in records):
        found = [find(records, metric="sr@5", attack=WORST, budget=suite, epsilon=radius) for radius in radii]
        yield row(f"`{suite}`", *map(between, found), next(r.n for r in found if r))


def speed() -> Iterator[str]:
    """An image gradient through all encoders, in milliseconds."""
    found = [Benchmark.model_validate(read_json(path)) for path in sorted(RESULTS.glob(f"{BENCHMARKS}*.json"))]
    names = ("ours", "loop", "loop, channels last", "vmap")
    yield from head("networks of", *names, "threads", "command", "commit", "date")
    for one in sorted(found, key=lambda one: list(TITLES).index(one.data)):
        times = (f"{one.milliseconds[name]:.1f}" if name in one.milliseconds else "" for name in names)
        origin = one.provenance
        yield row(TITLES[one.data], *times, one.threads, f"`{origin.command}`", origin.commit, origin.date)


def classes() -> Iterator[str]:
    """What a class costs, with a shared trunk and without."""
    found = ClassBenchmark.model_validate(read_json(RESULTS / f"{CLASSES}.json"))
    yield from head("classes", "step, shared [ms]", "separate", "ratio", "file, shared [MB]", "separate", "ratio")
    for one in found.by_classes:
        step, size = one.step_milliseconds, one.file_megabytes
        yield row(one.classes, f"{step['shared']:.0f}", f"{step['separate']:.0f}", f"{one.step_ratio:.1f}",
                  f"{size['shared']:.1f}", f"{size['separate']:.1f}", f"{one.file_ratio:.1f}")  # fmt: skip


def calibration() -> Iterator[str]:
    """What was measured on calibration images to choose `partway` and the surrogate."""
    yield from head("data", "trained with", "setting", "score", *(f"CW-L2, {name}" for name in SUBSTITUTES),
                    "mean of CW-L2", "of FGSM, PGD, MIM", "SR@5, ε .3", "SR@5, ε .1", "images")  # fmt: skip
    for path in sorted(path for prefix in ON_CALIBRATION for path in (RESULTS).glob(f"{prefix}*.json")):
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
            yield row(TITLES[own[0].data], trained_with, today(made), f"`{score}`", *map(short_area, areas),
                      f"{min(rest):.3f} to {max(rest):.3f}", *map(between, wins), n)  # fmt: skip


def short_area(record: Record | None) -> str:
    """The number alone."""
    return f"{record.value:.3f}" if record else ""


def today(text: str) -> str:
    """The text with settings called as they are now."""
    for before, now in RENAMED.items():
        text = text.replace(before, now)
    return text


def headline() -> Iterator[str]:
    """The paper's detector, and the baseline that withstands most, for each data set."""
    yield from head("images", "detector", "accuracy", "black box: lowest AUC", "white box: SR@5", "at ε")
    for data, epsilon in HEADLINE.items():
        found = [records for records in whole().values() if records[0].data == data]
        ours = next(records for records in found if records[0].method == OURS)
        others = [records for records in found if records[0].method not in (OURS, UNDEFENDED)]
        best = min(others, key=lambda records: won(records, epsilon).value)
        called = (f"the paper's, `{data}-{ours[0].trained_with}`", f"best baseline, `{best[0].method}`")
        for name, records in zip(called, (ours, best), strict=True):
            numbers = find(records, metric="accuracy"), lowest(records), won(records, epsilon)
            cells = (between(record, paper=False, digits=3) for record in numbers)
            yield row(TITLES[data], name, *cells, f"{epsilon:g}")


def own_score(records: Records) -> str | None:
    """The score that the detector's thresholds are set on."""
    own = false_alarms(records)
    return own.score if own else None


def lowest(records: Records) -> Record:
    """The AUC of the attack of the black box that is seen worst, under the detector's own score."""
    areas = (find(records, metric="auc", attack=name, score=own_score(records)) for name in ATTACKS)
    return min((area for area in areas if area), key=lambda area: area.value)


def won(records: Records, epsilon: float) -> Record:
    """Success of the worst attack, under the detector's own score."""
    found = find(records, metric="sr@5", attack=WORST, score=own_score(records), epsilon=epsilon)
    assert found is not None, f"{named(records)} was not attacked at {epsilon}"
    return found
