"""The report of an evaluation: everything its page is made from, in memory and in a folder, no pickles.

`results.json` holds the records, `model.json` what was trained and how, `evaluation.npz` scores and example images.
Where there are any, `checks.json` holds the checks, `judges.json` what judges say, `pictures.npz` the data of further
pictures, and `training-log.jsonl` the training log, one JSON object a round.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.metrics import Rate
from twinlatent.evaluation.results.folder import (
    ARRAYS,
    CHECKS,
    JUDGES,
    LOG,
    MODEL,
    PICTURES,
    RECORDS,
    UNFINISHED,
    read_log,
)
from twinlatent.evaluation.results.parts import Check, Examples, JudgeReport, ModelCard, read_checks
from twinlatent.evaluation.results.pictures import (
    Floats,
    LatentPoints,
    PairGrid,
    check_array,
    member,
    read_arrays,
    read_pictures,
    to_arrays,
    write_arrays,
)
from twinlatent.evaluation.results.records import (
    CERTIFIED,
    FLAGGED_SHIFT,
    MEAN,
    MILD,
    MISCLASSIFIED_ONLY,
    UNCHANGED,
    WORST,
    Record,
    false_alarms,
    read_first_run,
    read_json,
    read_records,
    validated,
    write_records,
)
from twinlatent.files import write_json, write_text
from twinlatent.showing import html_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Report:
    """Everything a report is made from.

    Attributes:
        records: the measured numbers.
        model: what was trained.
        benign_suspicion: (n,) suspicion of benign test images, higher is more suspicious.
        suspicion: attack name -> (n,) suspicion of attacked test images; at least one attack.
        examples: pairs of images to show; may be empty (k = 0).
        threshold: the suspicion above which an image is flagged, where there is one for all classes.
        log: the training log, one mapping a round; empty if it was not kept.
        checks: of the evaluation by itself; empty if none were made.
        judges: what judges that never saw the detector say of attacked images; None if none were asked.
        grid: images attacked in several ways; None if none were kept.
        latents: of one class; None if none were kept.
        shifted: an image mildly changed in several ways, a row a strength; None if none was kept.
        detector: hex digest of what was judged; None where it was not kept.
        settings: of the whole evaluation, as JSON; None where they were not kept.

    Errors: `TwinlatentError` on an empty, NaN or wrongly shaped array.
    """

    records: tuple[Record, ...]
    model: ModelCard
    benign_suspicion: Floats
    suspicion: Mapping[str, Floats]
    examples: Examples
    threshold: float | None = None
    log: tuple[Mapping[str, Any], ...] = ()
    checks: tuple[Check, ...] = ()
    judges: JudgeReport | None = None
    grid: PairGrid | None = None
    latents: LatentPoints | None = None
    shifted: PairGrid | None = None
    detector: str | None = None
    settings: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if not self.suspicion:
            raise TwinlatentError("attacks is empty: give the scores of at least one attack")
        _check_scores("benign_suspicion", self.benign_suspicion)
        for attack, scores in self.suspicion.items():
            _check_scores(f"suspicion_{attack}", scores)

    @property
    def accuracy(self) -> Rate:
        """Share of benign test images that are classified correctly."""
        return self._rate(self._records("accuracy"), "accuracy")

    def fpr(self, asked: float = 0.05) -> Rate:
        """Share of benign test images that are flagged where `asked` was asked for, or the finest rate above it."""
        found = false_alarms(self.records, asked)
        return self._rate([] if found is None else [found], f"fpr at {asked:g}")

    def auc(self, attack: str, substitute: str = MEAN) -> Rate:
        """AUC of an attack that does not know the detector, over one substitute, or the mean over all of them."""
        found = [r for r in self._records("auc") if r.substitute == substitute and r.score == self.model.score]
        there = [r for r in found if not r.budget.endswith(MISCLASSIFIED_ONLY)]
        return self._rate([r for r in there if r.attack == attack], f"AUC of {attack} on {substitute}", there, "attack")

    def sr(self, fpr: float = 0.05, epsilon: float | None = None, attack: str = WORST) -> Rate:
        """Success rate of an attack that knows the detector: misclassified, and not flagged at a false-positive rate.

        Args:
            fpr: one of `RATES`.
            epsilon: L∞ radius; None: that of the main point.
            attack: `worst` of all, or, at the main point, one of the suite.
        """
        if not any(record.metric.startswith("sr@") for record in self.records):
            raise TwinlatentError(f"SR@{100 * fpr:g} % was not measured, since no white box was run; evaluate with "
                                  "suite quick, standard, thorough or paper")  # fmt: skip
        found = [r for r in self._records(f"sr@{round(100 * fpr)}") if r.score == self.model.score]
        wanted = self._main_radius if epsilon is None else epsilon
        there = [r for r in found if r.epsilon is not None and math.isclose(r.epsilon, wanted, abs_tol=1e-6)]
        named = [r for r in there if r.attack == attack]
        line = f"SR@{100 * fpr:g} % of {attack} at ε {wanted:g}"
        return self._rate(named, line, there or found, "attack" if there else "epsilon")

    def certified(self, fpr: float = 0.05, epsilon: float | None = None) -> Rate:
        """Certified SR@FPR: what no attack within an L∞ radius can exceed, of the most images.

        Args:
            fpr: one of `RATES`.
            epsilon: L∞ radius; None: that of the main point.
        """
        wanted = self._main_radius if epsilon is None else epsilon
        found = [r for r in self._records(CERTIFIED) if r.score == self.model.score and r.asked == fpr]
        there = [r for r in found if r.epsilon is not None and math.isclose(r.epsilon, wanted, abs_tol=1e-6)]
        most = sorted(there, key=lambda r: -r.n)
        return self._rate(most, f"certified SR@{100 * fpr:g} % at ε {wanted:g}", found, "epsilon")

    @property
    def _main_radius(self) -> float:
        return next((r.epsilon or 0.0 for r in self.records if r.metric.startswith("sr@") and r.attack == UNCHANGED), 0)

    def save(self, folder: str | Path) -> None:
        """Write everything into a folder, see `write_run`; `twinlatent report FOLDER` makes its page."""
        write_run(folder, self)

    def plot(self) -> "Figure":
        """Draw the success of attacks over L∞ radii, where a white box was run, and the suspicion scores.

        The marked lines are what attacks found, a floor of what is possible; thin dashed ones, where something is
        proved, what no attack can exceed. Below, a histogram an attack that does not know the detector. The figure is a
        matplotlib one and needs no display: a notebook shows it, `figure.savefig("report.png")` writes it.
        """
        from twinlatent.drawing.labels import attack_names
        from twinlatent.drawing.overview import overview
        from twinlatent.evaluation.results.white_boxes import main_white_box, of_model

        box = main_white_box(of_model(self.records, self.model), self.model.score)
        curves, proved = ({}, {}) if box is None else (box.curves, box.proved_curves)
        names = attack_names(self.suspicion)
        scores = {names[attack]: values for attack, values in self.suspicion.items()}
        return overview(curves, proved, self.benign_suspicion, scores, self.threshold)

    def _repr_html_(self) -> str:
        rows = [[name, *(f"{x:.3f}" for x in (found.value, found.low, found.high)), f"{found.n:,}"]
                for name, found in self._numbers()]  # fmt: skip
        return html_table(self._title, ["", "value", "95 % from", "to", "images"], rows, self._checked)

    def __str__(self) -> str:
        """A few lines with the numbers to quote."""
        accuracy, fpr, *others = (f"{name} {_said(found)}" for name, found in self._numbers())
        lines = [f"{accuracy}, {fpr}", *others, *([self._checked] if self.checks else [])]
        return "\n".join([self._title, *(f"  {line}" for line in lines)])

    @property
    def _title(self) -> str:
        return f"{self.model.method} on {self.model.test_data}, {self.model.test_images} test images"

    @property
    def _checked(self) -> str:
        """How many checks passed, and which did not; empty where none were made."""
        warned = [f"{check.name}: {check.status}" for check in self.checks if check.status in ("warn", "fail")]
        passed = [f"{sum(check.status == 'pass' for check in self.checks)} pass"] if self.checks else []
        return f"checks: {', '.join([*passed, *warned])}" if self.checks else ""

    def _numbers(self) -> list[tuple[str, Rate]]:
        """Those to quote, by what they are."""
        card = self.model
        areas: dict[str, Record] = {}
        for r in self._records("auc"):
            if r.score == card.score and r.substitute in (None, MEAN) and not r.budget.endswith(MISCLASSIFIED_ONLY):
                areas.setdefault(r.attack, r)
        worst = [r for r in self._records("sr@5") if r.attack == WORST and r.score == card.score]
        proved = [r for r in self._records(CERTIFIED) if r.asked == 0.05 and r.score == card.score and r.value < 1]
        mild = [
            r
            for r in self._records(FLAGGED_SHIFT)
            if r.budget == MILD and r.asked == card.fpr and r.attack[-2:] == " 1"
        ]
        most = sorted(mild, key=lambda r: -r.value)[:1]
        return [
            ("accuracy", self.accuracy),
            ("false positives", self.fpr(card.fpr)),
            *((f"black box, {attack}: AUC", _rate_of(r)) for attack, r in areas.items()),
            *((f"white box, worst at ε {r.epsilon:g}: SR@5 %", _rate_of(r)) for r in worst),
            *((f"proved, any attack at ε {r.epsilon:g}: SR@5 % at most", _rate_of(r)) for r in proved),
            *((f"mild changes, most after {r.attack}: flagged", _rate_of(r)) for r in most),
        ]

    def _records(self, metric: str) -> list[Record]:
        return [record for record in self.records if record.metric == metric]

    def _rate(self, found: Sequence[Record], what: str, others: Sequence[Record] = (), by: str = "") -> Rate:
        """Of the first record found.

        Raises:
            TwinlatentError: there is none; it names what there is instead.
        """
        if found:
            return _rate_of(found[0])
        there = ", ".join(dict.fromkeys(str(getattr(record, by)) for record in others))
        raise TwinlatentError(f"{what} was not measured{f'; there is {by} {there}' if there else ''}")


def write_run(folder: str | Path, run: Report) -> None:
    """Write `run` into `folder`, each file whole or not at all. What the run lacks leaves no file behind.

    The same run always gives the same bytes.
    """
    folder = Path(folder)
    write_records(folder / RECORDS, run.records, detector=run.detector, settings=run.settings)
    write_json(folder / MODEL, run.model.model_dump(mode="json"))
    write_arrays(folder / ARRAYS, _arrays(run))
    log = "".join(json.dumps(dict(line), allow_nan=False) + "\n" for line in run.log)
    _write_or_remove(folder / LOG, log, write_text)
    _write_or_remove(folder / CHECKS, [check.model_dump() for check in run.checks], write_json)
    _write_or_remove(folder / JUDGES, run.judges and run.judges.model_dump(), write_json)
    _write_or_remove(folder / PICTURES, to_arrays(run.grid, run.latents, run.shifted), write_arrays)


def read_run(folder: str | Path) -> Report:
    """Read what `write_run` wrote.

    Errors: `TwinlatentError` naming the file, and the array or field, when one is missing or wrong.
    """
    folder = Path(folder)
    if (folder / UNFINISHED).is_dir() and not (folder / RECORDS).exists():
        raise TwinlatentError(f"{folder} holds an unfinished evaluation; the same `evaluate` command resumes it")
    if not (folder / RECORDS).exists():
        raise TwinlatentError(f"{folder / RECORDS}: no such file; give the folder of an evaluation, its --out")
    records, first = read_records(folder / RECORDS), read_first_run(folder / RECORDS)
    model = validated(folder / MODEL, ModelCard, read_json(folder / MODEL))
    log, checks = read_log(folder / LOG), read_checks(folder / CHECKS)
    judges = folder / JUDGES
    judged = validated(judges, JudgeReport, read_json(judges)) if judges.exists() else None
    grid, latents, shifted = read_pictures(folder / PICTURES)
    path = folder / ARRAYS
    arrays = read_arrays(path)
    try:
        attacks = [str(name) for name in member(arrays, "attacks")]
        examples = {field.name: member(arrays, f"example_{field.name}") for field in fields(Examples)}
        return Report(
            records=records,
            model=model,
            benign_suspicion=member(arrays, "benign_suspicion"),
            suspicion={name: member(arrays, f"suspicion_{name}") for name in attacks},
            examples=Examples(**examples),
            threshold=float(arrays["threshold"]) if "threshold" in arrays else None,
            log=log,
            checks=checks,
            judges=judged,
            grid=grid,
            latents=latents,
            shifted=shifted,
            detector=None if first is None else first.detector,
            settings=None if first is None else first.settings,
        )
    except TwinlatentError as error:
        raise TwinlatentError(f"{path}: {error}") from error


def _arrays(run: Report) -> dict[str, Any]:
    named: dict[str, Any] = {"attacks": np.array(list(run.suspicion)), "benign_suspicion": run.benign_suspicion}
    named |= {f"suspicion_{attack}": scores for attack, scores in run.suspicion.items()}
    named |= {f"example_{field.name}": getattr(run.examples, field.name) for field in fields(Examples)}
    return named if run.threshold is None else named | {"threshold": np.array(run.threshold)}


def _write_or_remove(path: Path, content: Any, write: Callable[[Path, Any], None]) -> None:
    """No content leaves no file, not an earlier one either."""
    if content:
        write(path, content)
    else:
        path.unlink(missing_ok=True)


def _check_scores(name: str, values: NDArray[Any]) -> None:
    check_array(name, values, "f", 1)
    if not len(values) or np.isnan(values).any():
        raise TwinlatentError(f"{name} is empty or holds NaN")


def _rate_of(record: Record) -> Rate:
    value = record.value
    return Rate(value, record.n, value if record.low is None else record.low,
                value if record.high is None else record.high)  # fmt: skip


def _said(found: Rate) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
