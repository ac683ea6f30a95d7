"""Measure detectors on selection images, to choose a setting without looking at a test image.

python scripts/on_selection.py mnist results/partway-mnist.json runs/A runs/B [--images 300] [--white-box 60]

Black box: the paper's attacks on each substitute, AUC under every score. White box: SR@5 % of the suite `standard`, the
score `ratio` at ε .3 and `vulnerable` at ε .1. Thresholds come from the calibration images. A detector that was trained
before there was a selection part has learnt these images, and is refused.
"""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

import twinlatent as tl
from twinlatent.data import LabelledImages, Split
from twinlatent.evaluation.black_box import BLACK_BOX, SUBSTITUTES, area, attack_substitute, train_substitute
from twinlatent.evaluation.protocol import WhiteBoxSettings, draw
from twinlatent.evaluation.results import (
    WORST,
    Record,
    Row,
    Rows,
    mean_over_substitutes,
    read_records,
    records_of,
    write_records,
)
from twinlatent.evaluation.white_box import attack_detector
from twinlatent.provenance import provenance

POINTS = (("ratio", 0.3), ("vulnerable", 0.1))


def called(detector: tl.Detector) -> str:
    """What tells the detector from the others: the settings in question and its seed."""
    training = detector.card["training"]
    negatives = training.get("negatives") or {}
    partway, surrogate = ((negatives.get(name) or training.get(old) or 0.0)
                          for name, old in (("partway", "underway"), ("surrogate", "outsider")))  # fmt: skip
    return f"partway {share(partway):g}, surrogate {share(surrogate):g}, training seed {detector.card['seed']}"


def share(setting: Any) -> float:
    """Of a setting that is a share, or has one."""
    return float(setting["share"] if isinstance(setting, dict) else setting)


def black_box(
    detectors: list[tl.Detector], split: Split, drawn: LabelledImages, folder: Path, names: list[str]
) -> list[Record]:
    """AUC of each attack on each substitute under every score, and the mean over substitutes."""
    origin, began = provenance(), time.monotonic()
    found: list[list[Rows]] = [[] for _ in detectors]
    for name in names:
        substitute = train_substitute(split, name, folder=folder)
        result = attack_substitute(substitute.network, drawn, BLACK_BOX, folder=folder / name)
        for detector, parts in zip(detectors, found, strict=True):
            benign, rows = detector.scored(drawn.images), []
            for budget in BLACK_BOX:
                attacked = detector.scored(result.by_attack[budget.attack].result.images)
                rows += [Row("auc", budget.attack, budget.epsilon, score, area(benign[score], attacked[score]))
                         for score in attacked]  # fmt: skip
            called_ = f"blackbox on selection images, {called(detector)}"
            parts.append(Rows(tuple(rows), called_, name, (substitute.origin, *result.origins)))
    seconds = (time.monotonic() - began) / len(detectors)
    records: list[Record] = []
    for detector, parts in zip(detectors, found, strict=True):
        records += records_of([*parts, *mean_over_substitutes(parts)], detector, split, 0, seconds, origin)
    return records


def white_box(detector: tl.Detector, split: Split, images: int, folder: Path) -> list[Record]:
    """SR@5 of the worst attack at each of `POINTS`."""
    records, drawn = [], draw(split.selection, images, 0)
    substitute = train_substitute(split, folder=folder).network
    for score, epsilon in POINTS:
        asked = WhiteBoxSettings(epsilon=epsilon, images=images, remaining_only=True)
        run = attack_detector(detector.with_score(score), split, asked, drawn=drawn, substitute=substitute)
        budget = f"standard on selection images, {called(detector)}"
        records += [r.model_copy(update={"budget": budget}) for r in run.records if r.attack == WORST]
    return records


def main(
    data: str,
    path: Path,
    models: list[str],
    images: Annotated[int, typer.Option(min=2)] = 300,
    white_box_images: Annotated[int, typer.Option("--white-box", min=0)] = 60,
    folder: Path = Path("runs/on-selection"),
    substitute: Annotated[list[str] | None, typer.Option(help="Default: all three.")] = None,
) -> None:
    """Write the records after each step, those of other detectors and data in the file staying."""
    split = tl.data.load(data)
    detectors = [tl.load(model) for model in models]
    for model, detector in zip(models, detectors, strict=True):
        if not isinstance(detector, tl.Detector):
            raise tl.TwinlatentError(f"{model} is a baseline; the settings in question are those of our game")
        if detector.seen is None or any(part.any() for part in detector.seen.among(split.selection.images)):
            reason = f"was trained on selection images of {data}, or before there were any; train it again"
            raise tl.TwinlatentError(f"{model} {reason}")
    made = black_box(detectors, split, draw(split.selection, images, 0), folder / data, substitute or list(SUBSTITUTES))
    write_records(path, _joined(path, made))
    for detector in detectors if white_box_images else []:
        made += white_box(detector, split, white_box_images, folder / data)
        write_records(path, _joined(path, made))


def _joined(path: Path, made: list[Record]) -> list[Record]:
    def key(record: Record) -> tuple[object, ...]:
        return (record.data, record.trained_with, record.attack, record.epsilon, record.score, record.metric,
                record.budget, record.substitute)  # fmt: skip

    before = read_records(path) if path.exists() else ()
    return list({key(record): record for record in (*before, *made)}.values())


if __name__ == "__main__":
    typer.run(main)
