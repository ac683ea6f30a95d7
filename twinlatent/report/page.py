"""A results folder to one self-contained HTML page: no scripts, nothing loaded from elsewhere."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from twinlatent.evaluation.results import CERTIFIED, PAGE, ModelCard, Record, Report, read_run
from twinlatent.files import write_text
from twinlatent.progress import duration
from twinlatent.report import plots, select, shift, summary, tables
from twinlatent.report.cells import share
from twinlatent.report.rendering import Cell, Fact, render


def write_page(folder: str | Path) -> Path:
    """Write `report.html` into the results folder `folder`, from the files there alone, and return its path.

    The same folder always gives the same bytes.

    Errors: `TwinlatentError` naming the file and the field or array that is missing or wrong.
    """
    path = Path(folder) / PAGE
    write_text(path, page(read_run(folder)))
    return path


def page(run: Report) -> str:
    """Return the page that reports `run`. All text of the run is escaped.

    A summary first, then tables beside the paper's numbers, figures, and where all this comes from.
    """
    head = summary.headline(run)
    return render(
        "report.html.j2",
        title=run.model.title,
        eyebrow=f"Adversarial-example detector on {run.model.test_data}",
        lead=summary.lead(run, head),
        tiles=summary.tiles(run, head),
        check_counts=summary.check_counts(run.checks),
        not_passed=[check for check in tables.in_order(run.checks) if check.status in ("fail", "warn")],
        benign=tables.benign(run.records),
        black_box=tables.black_box(run.records),
        white_box=tables.white_box(run.records),
        unproved=unproved(run),
        conditions=tables.conditions(run.records),
        shifted=shift.tables(run),
        under_changes=shift.pictures(run),
        judges=tables.judges(run.judges),
        checks=tables.checks(run.checks),
        separation=plots.separation(run),
        strength=plots.strength(run),
        pictures=plots.pictures(run),
        pairs=plots.examples(run.examples),
        training=plots.training(run.log),
        has_white_box=any(record.metric.startswith("sr") for record in run.records),
        card=_card(run.model),
        settings=list(_flat(run.model.settings)),
        provenance=provenance(run.records),
    )


def unproved(run: Report) -> str:
    """Why no certificate stands beside the attacks; empty where one does, or where it was not asked for."""
    found = next((check for check in run.checks if (check.name, check.status) == ("certificate", "skip")), None)
    there = any(record.metric == CERTIFIED for record in run.records)
    return "" if found is None or there else found.finding


def provenance(records: Iterable[Record]) -> list[Fact]:
    """Where the numbers come from."""
    records, other = tuple(records), (CERTIFIED, *shift.OF_SHIFT)

    def is_attack(record: Record) -> bool:
        return not select.misclassified_only(record) and record.metric not in other

    versions = dict.fromkeys(f"{name} {version}" for r in records for name, version in r.versions.items())
    rows: list[Fact] = [
        ("command", _distinct(Cell(r.command, kind="code") for r in records)),
        ("commit", _distinct(Cell(r.commit, kind="code") for r in records)),
        ("date", _distinct(r.date for r in records)),
        ("machine", _distinct(r.machine for r in records)),
        ("versions", ", ".join(versions)),
        ("seed", _distinct(str(r.seed) for r in records)),
        ("attacks", _distinct(r.budget for r in records if is_attack(r))),
    ]
    return [row for row in rows if row[1]]


def _card(model: ModelCard) -> list[Fact]:
    """What a detector is made of."""
    counts = f"{model.training_images:,} training, {model.calibration_images:,} calibration, {model.test_images:,} test"
    return [
        ("data", f"{model.data}, {len(model.class_names)} classes: {', '.join(model.class_names)}"),
        *([("judged on", model.judged_on)] if model.test_data != model.data else []),
        ("images", counts),
        ("network, one per class" if model.decoder else "network", Cell(model.network, kind="code")),
        *([("decoder, one per class", Cell(model.decoder, kind="code"))] if model.decoder else []),
        ("parameters", f"{model.parameters:,}"),
        ("suspicion score", model.score),
        ("label rule", model.label_rule),
        ("false-positive rate asked for", share(model.fpr)),
        ("training time", duration(model.seconds)),
    ]


def _flat(settings: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[Fact]:
    for key, value in settings.items():
        path = (*above, key.replace("_", " "))
        if isinstance(value, Mapping):
            yield from _flat(value, path)
        else:
            yield " · ".join(path), _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


def _distinct(values: Iterable[str | Cell]) -> tuple[str | Cell, ...]:
    return tuple(dict.fromkeys(values))
