"""Write the card of a shipped detector from the detector file itself and the records in results/.

python scripts/zoo_card.py mnist-mim
"""

import sys
from pathlib import Path

from readme_tables import ROOT, SCORES, TITLES, find, row

import twinlatent as tl
from twinlatent.evaluation.records import Record, read_records
from twinlatent.files import write_text


def share(record: Record) -> str:
    return f"{record.value:.4f} [{record.low:.4f}, {record.high:.4f}]"


def training(card: dict) -> list[str]:  # type: ignore[type-arg]
    """Where the detector comes from."""
    origin, counts = card["provenance"], card["data"]["images"]
    return [
        f"- command: `{origin['command']}`, seed {card['seed']}, commit {origin['commit']}, {origin['date']}",
        f"- data: {card['data']['name']}, {counts['train']} training and {counts['calibration']} calibration images, "
        f"SHA-256 of the whole split {card['data']['fingerprint']}",
        f"- {card['rounds']} rounds in {card['seconds'] / 60:.1f} minutes on {origin['machine']}, {origin['device']}",
        f"- versions: {', '.join(f'{name} {version}' for name, version in origin['versions'].items())}",
        f"- networks, one a class: encoder `{card['training']['encoder']}`, decoder `{card['training']['decoder']}` "
        "(the decoder is not in the file)",
    ]


def black_box(records: list[Record]) -> list[str]:
    """Numbers on benign images and against attacks on a substitute."""
    accuracy, fpr = find(records, "accuracy"), find(records, "fpr")
    own = fpr.score
    lines = [
        f"- accuracy on {accuracy.n} benign test images: {share(accuracy)}",
        f"- flagged of them where 5 % was asked for: {share(fpr)}",
        "",
        row("attack", "ε", "fools the substitute", *(f"AUC `{score}`" for score in SCORES), "flagged at 1, 5, 10 %"),
        "|---" * 7 + "|",
    ]
    for attack in dict.fromkeys(r.attack for r in records if r.metric == "auc"):
        success = find(records, "attack_success", attack)
        areas = (f"{find(records, 'auc', attack, score).value:.4f}" for score in SCORES)
        found = [r for r in records if r.metric.startswith("tpr@") and (r.attack, r.score) == (attack, own)]
        caught = ", ".join(f"{record.value:.3f}" for record in found)
        lines.append(row(attack, success.epsilon, f"{success.value:.3f}", *areas, caught))
    return lines


def adaptive(records: list[Record]) -> list[str]:
    """What attackers who know the detector reach, each image being given the worst of the standard suite."""
    known = [r for r in records if (r.metric, r.budget) == ("sr@5", "standard")]
    before = find(known, "sr@5", "none")
    lines = [f"- no attack: {share(before)} of {before.n} images"]
    return lines + [f"- ε {r.epsilon:g}: {share(r)} of {r.n} images" for r in known if r.attack == "worst"]


def main() -> None:
    """Write twinlatent/zoo/NAME.md."""
    name = sys.argv[1]
    detector = tl.load(name)
    seen, known = (list(read_records(ROOT / "results" / f"{file}.json")) for file in (name, f"{name}-adaptive"))
    lines = [
        f"# {name}",
        "",
        f"Detector for {TITLES[name]} ({', '.join(detector.class_names)}), images {detector.image_shape} in [0, 1]. "
        f"Label rule `{detector.settings.label_rule}`, score `{detector.settings.score}`.",
        *("", "## Training", "", *training(detector.card)),
        *("", "## Measured, black box", "", f"`{seen[0].command}`, {seen[0].date}, 95 % intervals in brackets.", ""),
        *black_box(seen),
        *("", "## Known weaknesses", ""),
        "Attackers who know the detector get past it: share of test images for which any attack of the suite",
        "`standard` finds one that is misread *and* passes the 5 % threshold (SR@5 %, worst of the suite; L∞;",
        f"`{known[0].command}`, {known[0].date}; a stronger suite would find more):",
        *("", *adaptive(known), ""),
        "Images of another kind than the training data (noise, other symbols, photographs) get a label and a p-value",
        "too; the p-value is calibrated only for images like the calibration images. Grey images of this size only.",
        "",
    ]
    write_text(Path(ROOT, "twinlatent", "zoo", f"{name}.md"), "\n".join(lines))


if __name__ == "__main__":
    main()
