"""How many mildly changed benign images a detector flags, and how many of them it classifies correctly."""

import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from twinlatent.data import LabelledImages, Split
from twinlatent.evaluation.checks import check_mild_changes
from twinlatent.evaluation.metrics import Rate, rate
from twinlatent.evaluation.protocol import RATES, draw
from twinlatent.evaluation.results import (
    ACCURACY_SHIFT,
    FLAGGED_SHIFT,
    MILD,
    OF_CLASS,
    UNCHANGED,
    Check,
    PairGrid,
    Record,
    Report,
    Row,
    Rows,
    records_of,
)
from twinlatent.evaluation.shift.changes import CHANGES, STRENGTHS, changed
from twinlatent.evaluation.white_box.pictures import pair_grid
from twinlatent.method.calibrated import CalibratedDetector, Scored
from twinlatent.progress import bar
from twinlatent.provenance import provenance
from twinlatent.torch_state import fresh_torch


@dataclass(frozen=True)
class Shifted:
    """What a detector says of mildly changed images.

    Attributes:
        records: share flagged and accuracy, by change, strength and rate; at strength 1 and the main rate also by
            class.
        check: whether mild changes are flagged far more often than was asked.
        grid: an image under every change, a row a strength.
    """

    records: tuple[Record, ...]
    check: Check
    grid: PairGrid

    def added_to(self, report: Report) -> Report:
        """The report with all of that."""
        return replace(
            report,
            records=(*report.records, *self.records),
            checks=(*report.checks, self.check),
            shifted=self.grid,
        )


@fresh_torch()
def measure_shift(
    detector: CalibratedDetector,
    split: Split,
    *,
    images: int,
    fpr: float = 0.05,
    seed: int = 0,
    progress: bool = True,
) -> Shifted:
    """Change test images mildly, in every way and at every strength, and ask the detector about them.

    Args:
        detector: calibrated.
        split: its data set, fitted to it.
        images: so many test images, drawn by `seed`; all if there are fewer.
        fpr: the main rate; where the calibration images cannot tell it, the finest one that they can.
        seed: of the draw, and with each image's bytes of its changes.
        progress: whether to show a bar.
    """
    origin, began = provenance(), time.monotonic()
    drawn = draw(split.test, min(images, len(split.test)), seed)
    finest = detector.calibration.finest_fpr
    main = max(fpr, finest)
    asked = _Asked(detector, drawn.labels, main, tuple(sorted({*(r for r in RATES if r >= finest), main})))
    parts, mild = asked.rows(UNCHANGED, detector.scored(drawn.images)[detector.score], by_class=True), dict[str, Rate]()
    with bar("mild changes", len(CHANGES) * len(STRENGTHS), show=progress) as shown:
        for change in CHANGES:
            for strength in STRENGTHS:
                scored = detector.scored(changed(drawn.images, change, strength, seed=seed))[detector.score]
                parts += asked.rows(shift_name(change, strength), scored, by_class=strength == STRENGTHS[0])
                if strength == STRENGTHS[0]:
                    mild[change] = asked.flagged(scored, main, slice(None))
                shown.advance()
    records = records_of(parts, detector, split, seed, time.monotonic() - began, origin)
    return Shifted(tuple(records), check_mild_changes(mild, main), _pictures(detector, drawn, main, seed))


def shift_name(change: str, strength: int) -> str:
    """What records call a change of a strength."""
    return f"{change} {strength}"


@dataclass(frozen=True)
class _Asked:
    """Who is asked about which images.

    Attributes:
        detector: asked.
        labels: int64 (n,), true.
        main: the rate of what is said by class.
        rates: all of them.
    """

    detector: CalibratedDetector
    labels: Tensor
    main: float
    rates: tuple[float, ...]

    def rows(self, name: str, scored: Scored, *, by_class: bool) -> list[Rows]:
        """Of the images after the change of that name; by true class, too."""
        parts = [self._accuracy(name, scored, slice(None), MILD)]
        parts += [self._flagged(name, scored, fpr, slice(None), MILD) for fpr in self.rates]
        for label in self.labels.unique().tolist() if by_class else ():
            mine, budget = self.labels == label, f"{MILD}{OF_CLASS}{self.detector.class_names[label]}"
            parts += [self._accuracy(name, scored, mine, budget), self._flagged(name, scored, self.main, mine, budget)]
        return parts

    def flagged(self, scored: Scored, fpr: float, among: Tensor | slice) -> Rate:
        """Share of some of the images that is flagged at a rate."""
        hits = self.detector.verdict(scored[among], fpr).adversarial
        return rate(int(hits.sum()), len(hits))

    def _flagged(self, name: str, scored: Scored, fpr: float, among: Tensor | slice, budget: str) -> Rows:
        share = self.flagged(scored, fpr, among)
        return Rows((Row(FLAGGED_SHIFT, name, None, self.detector.score, share),), budget, asked=fpr)

    def _accuracy(self, name: str, scored: Scored, among: Tensor | slice, budget: str) -> Rows:
        right = scored[among].label == self.labels[among]
        return Rows((Row(ACCURACY_SHIFT, name, None, None, rate(int(right.sum()), len(right))),), budget)


def _pictures(detector: CalibratedDetector, drawn: LabelledImages, fpr: float, seed: int) -> PairGrid:
    """The first image under every change, a row a strength."""
    first = drawn.subset(torch.zeros(len(STRENGTHS), dtype=torch.int64))
    columns = {
        change: torch.cat([changed(drawn.images[:1], change, strength, seed=seed) for strength in STRENGTHS])
        for change in CHANGES
    }
    return pair_grid(detector, first, columns, fpr)
