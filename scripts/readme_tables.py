"""Write the results table of README.md from results/*.json, or with --check only say whether it is up to date."""

import sys
from pathlib import Path

from twinlatent.evaluation.records import Record, read_records
from twinlatent.files import write_text

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
MARKS = "<!-- {}:begin -->", "<!-- {}:end -->"
WHITE_BOX = "mnist-mim-adaptive"
SHOWN = ("none", "noise", "square", "pgd", "mim_w", "selective", "bypass-targets", "worst")
SCORES = ("ratio", "joint", "vulnerable")
TITLES = {"digits-demo": "digits 8×8", "mnist-mim": "MNIST", "fashion-mnist5-mim": "Fashion MNIST5"}  # a recipe each
PAPER = {  # table 2 (accuracy) and table 3 (AUC), trained with MIM_W
    "mnist-mim": {"accuracy": ".97", "fgsm": ".99", "pgd": ".99", "mim": ".99"},
    "fashion-mnist5-mim": {"accuracy": ".98", "fgsm": ".98", "pgd": ".97", "mim": ".98"},
}


def short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def find(records: list[Record], metric: str, attack: str = "none", score: str | None = None) -> Record:
    return next(r for r in records if (r.metric, r.attack) == (metric, attack) and score in (None, r.score))


def row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def block(recipe: str, records: list[Record]) -> list[str]:
    """The rows of one recipe's results."""
    accuracy, fpr = find(records, "accuracy"), find(records, "fpr")
    said = paper(recipe, "accuracy")
    rows = [
        row(TITLES[recipe], "accuracy, benign images", short(accuracy.value), "", "", said, accuracy.n),
        row("", "benign images flagged, 5 % asked for", short(fpr.value), "", "", "", fpr.n),
    ]
    for attack in dict.fromkeys(r.attack for r in records if r.metric == "auc"):
        areas = [find(records, "auc", attack, score) for score in SCORES]
        what = f"AUC, {attack.upper()} ε {areas[0].epsilon:g}"
        rows.append(row("", what, *(short(area.value) for area in areas), paper(recipe, attack), areas[0].n))
    return rows


def paper(recipe: str, what: str) -> str:
    return PAPER.get(recipe, {}).get(what, "")


def table() -> str:
    lines = [row("data", "what", *(f"`{score}`" for score in SCORES), "paper", "images"), "|---" * 7 + "|"]
    measured = []
    for recipe in TITLES:
        records = list(read_records(ROOT / "results" / f"{recipe}.json"))
        lines += block(recipe, records)
        first = records[0]
        measured.append(f"- {TITLES[recipe]}: `{first.command}`, commit {first.commit}, {first.date}, {first.machine}")
    return "\n".join([*lines, "", "Measured by:", "", *measured])


def white_box() -> str:
    """What the standard suite reaches against a detector: an attack a column, a radius a row."""
    records = [r for r in read_records(ROOT / "results" / f"{WHITE_BOX}.json") if r.budget == "standard"]
    lines = [row("ε", *(f"`{name}`" for name in SHOWN), "95 % of worst", "images"), "|---" * (len(SHOWN) + 3) + "|"]
    for epsilon in dict.fromkeys(r.epsilon for r in records):
        by = {r.attack: r for r in records if r.epsilon == epsilon and r.metric == "sr@5"}
        worst = by["worst"]
        lines.append(row(f"{epsilon:g}", *(short(by[name].value) for name in SHOWN),
                         f"{short(worst.low)}–{short(worst.high)}", worst.n))  # fmt: skip
    first = records[0]
    measured = f"Measured by `{first.command}`, commit {first.commit}, {first.date}, {first.machine}."
    return "\n".join([*lines, "", measured])


def filled(text: str, name: str, content: str) -> str:
    """The text with what stands between the marks of that name replaced."""
    begin, end = (mark.format(name) for mark in MARKS)
    before, rest = text.split(begin)
    return f"{before}{begin}\n{content}\n{end}{rest.split(end)[1]}"


def main() -> int:
    """Write or check."""
    text = README.read_text(encoding="utf-8")
    wanted = filled(filled(text, "results", table()), "white-box", white_box())
    if "--check" in sys.argv[1:]:
        if wanted != text:
            print("README.md does not show the numbers of results/: run scripts/readme_tables.py", file=sys.stderr)
        return int(wanted != text)
    write_text(README, wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
