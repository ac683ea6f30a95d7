"""Write the results table of README.md from results/*.json, or with --check only say whether it is up to date."""

import sys
from pathlib import Path

from twinlatent.evaluation.records import Record, read_records
from twinlatent.files import write_text

ROOT = Path(__file__).resolve().parent.parent
README, BEGIN, END = ROOT / "README.md", "<!-- results:begin -->", "<!-- results:end -->"
SCORES = ("ratio", "joint", "vulnerable")
TITLES = {"digits": "digits 8×8", "mnist": "MNIST", "fashion-mnist5": "Fashion MNIST5"}
PAPER = {  # table 2 (accuracy) and table 3 (AUC), trained with MIM_W
    ("mnist", "accuracy"): ".97", ("mnist", "fgsm"): ".99", ("mnist", "pgd"): ".99", ("mnist", "mim"): ".99",
    ("fashion-mnist5", "accuracy"): ".98", ("fashion-mnist5", "fgsm"): ".98", ("fashion-mnist5", "pgd"): ".97",
    ("fashion-mnist5", "mim"): ".98",
}  # fmt: skip


def short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def find(records: list[Record], metric: str, attack: str = "none", score: str | None = None) -> Record:
    return next(r for r in records if (r.metric, r.attack) == (metric, attack) and score in (None, r.score))


def row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def block(data: str, records: list[Record]) -> list[str]:
    """The rows of one data set."""
    accuracy, fpr = find(records, "accuracy"), find(records, "fpr")
    rows = [
        row(
            TITLES[data], "accuracy, benign images", short(accuracy.value), "", "", paper(data, "accuracy"), accuracy.n
        ),
        row("", "benign images flagged at 5 %", short(fpr.value), "", "", "", fpr.n),
    ]
    for attack in dict.fromkeys(r.attack for r in records if r.metric == "auc"):
        areas = [find(records, "auc", attack, score) for score in SCORES]
        what = f"AUC, {attack.upper()} ε {areas[0].epsilon:g}"
        rows.append(row("", what, *(short(area.value) for area in areas), paper(data, attack), areas[0].n))
    return rows


def paper(data: str, what: str) -> str:
    return PAPER.get((data, what), "")


def table() -> str:
    lines = [row("data", "what", *(f"`{score}`" for score in SCORES), "paper", "images"), "|---" * 7 + "|"]
    measured = set()
    for data in TITLES:
        path = ROOT / "results" / f"{data}-blackbox.json"
        if path.exists():
            records = list(read_records(path))
            lines += block(data, records)
            measured |= {f"{record.date} ({record.machine})" for record in records}
    return "\n".join([*lines, "", *(f"Measured {when}." for when in sorted(measured))])


def main() -> int:
    """Write or check."""
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    wanted = f"{before}{BEGIN}\n{table()}\n{END}{after}"
    if "--check" in sys.argv[1:]:
        if wanted != text:
            print("README.md does not show the numbers of results/: run scripts/readme_tables.py", file=sys.stderr)
        return int(wanted != text)
    write_text(README, wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
