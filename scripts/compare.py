"""Measure detectors side by side: what attacks found, and what is proved that none can exceed.

python scripts/compare.py mnist results/floors-mnist.json ours=runs/mnist-robust gat=runs/mnist-gat [--images 200]

DETECTOR is a name in the zoo, a file or a folder, or rejecting:FILE.py:NAME, a classifier with log-odds rejection
(rejecting:examples/classifiers/strangers.py:trades). Each detector is attacked on the same test images with the suite
`standard`, at each radius, with the threshold from its own calibration images. A detector of ours is certified on the
same images too, and those of which it is proved that none can win are left out of the attacks. The file is written
after each detector and radius. What is there already is left alone, if it is of the same detector file, images and
steps; other numbers of that name are measured anew.
"""

import time
from pathlib import Path
from typing import Annotated

import typer

import twinlatent as tl
from twinlatent.data import LabelledImages, Split
from twinlatent.evaluation.black_box import train_substitute
from twinlatent.evaluation.metrics import rate
from twinlatent.evaluation.protocol import Point, WhiteBoxSettings, draw, fitted
from twinlatent.evaluation.results import UNCHANGED, WORST, Record, Row, Rows, read_records, records_of, write_records
from twinlatent.evaluation.white_box import attack_detector
from twinlatent.evaluation.white_box.kept_proofs import KeptProofs
from twinlatent.evaluation.white_box.proofs import certified_rows, holds_at
from twinlatent.loading import built, load_object
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.provenance import provenance

FPR = 0.05
COMPARED = "compared: "
"""Begins the budget of a record, which has the detector's name after it."""
REJECTING = "rejecting"
"""Begins what names a classifier that is to reject."""
MADE = " by: "
"""Parts that name from what the numbers rest on: the detector's file, the images and the steps."""


def benign(detector: CalibratedDetector, split: Split, budget: str) -> list[Record]:
    """Accuracy, and how many are flagged, of all test images."""
    origin, began, test = provenance(), time.monotonic(), fitted(detector, split).test
    said, n = detector.detect(test.images, FPR), len(test)
    rows = (Row("accuracy", UNCHANGED, None, None, rate(int((said.label == test.labels).sum()), n)),)
    share = Row("fpr", UNCHANGED, None, detector.score, rate(int(said.adversarial.sum()), n))
    parts = [Rows(rows, budget), Rows((share,), budget, asked=FPR)]
    return records_of(parts, detector, split, 0, time.monotonic() - began, origin)


def attacked(
    detector: CalibratedDetector,
    split: Split,
    drawn: LabelledImages,
    settings: WhiteBoxSettings,
    budget: str,
    folder: Path,
) -> list[Record]:
    """SR@5 of the worst attack at a radius, and the certified one of a detector of ours."""
    substitute = train_substitute(split, folder=folder).network
    kept = folder / f"{detector.fingerprint[:12]}-{settings.epsilon:g}-{settings.images}-{settings.steps}"
    run = attack_detector(detector, split, settings, drawn=drawn, substitute=substitute, folder=kept)
    found = [record.model_copy(update={"budget": budget}) for record in run.records if record.attack == WORST]
    if isinstance(detector, tl.Detector):
        origin, began = provenance(), time.monotonic()
        held = holds_at(detector, drawn, [Point(settings.epsilon, FPR)], kept=KeptProofs(kept))
        proved = certified_rows(held, detector.score, budget)
        found += records_of(proved, detector, split, 0, time.monotonic() - began, origin)
    return found


def named(place: str, split: Split) -> CalibratedDetector:
    """The detector that is meant."""
    kind, _, text = place.partition(":")
    if kind != REJECTING:
        return tl.load(place)
    return tl.rejecting(built(load_object(text), text), split, name=text.rpartition(":")[2])


def main(
    data: str,
    out: Path,
    models: Annotated[list[str], typer.Argument(help="NAME=DETECTOR each: what it is called, and where it is.")],
    epsilon: Annotated[list[float], typer.Option(help="L∞ radius; may be repeated.")] = [0.1, 0.2, 0.3, 0.4],  # noqa: B006
    images: Annotated[int, typer.Option(min=1, help="Test images that are attacked.")] = 200,
    steps: Annotated[int | None, typer.Option(min=1, help="Of each gradient attack; default: the suite's.")] = None,
    folder: Annotated[Path, typer.Option(help="Keeps what is unfinished.")] = Path("runs/compare"),
) -> None:
    """Write the records."""
    split = tl.data.load(data)
    drawn = draw(split.test, images, 0)
    for said in models:
        name, _, place = said.partition("=")
        detector = named(place, split)
        called = f"{COMPARED}{name}{MADE}"
        budget = f"{called}{detector.fingerprint[:12]}, {images} images, {steps or 'usual'} steps"
        before = list(read_records(out)) if out.exists() else []
        before = [r for r in before if r.budget == budget or not r.budget.startswith(called)]
        if not any(r.budget == budget for r in before):
            write_records(out, before := before + benign(detector, split, budget))
        for radius in epsilon:
            if not any((r.budget, r.epsilon) == (budget, radius) for r in before):
                print(f"# {name}, ε {radius:g}", flush=True)
                asked = WhiteBoxSettings(epsilon=radius, fpr=FPR, images=images, steps=steps, remaining_only=True,
                                         unproved_only=isinstance(detector, tl.Detector))  # fmt: skip
                before += attacked(detector, split, drawn, asked, budget, folder)
                write_records(out, before)


if __name__ == "__main__":
    typer.run(main)
