"""What a detector is made of, what its numbers mean, and where they come from."""

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

from twinlatent.evaluation.records import Record
from twinlatent.evaluation.run_folder import EvaluationRun, ModelCard
from twinlatent.report.page_parts import facts, section, share
from twinlatent.report.select import misclassified_only


def trained(model: ModelCard) -> str:
    """The section of the detector."""
    counts = f"{model.training_images:,} training, {model.calibration_images:,} calibration, {model.test_images:,} test"
    rows = [
        ("data", f"{escape(model.data)}, {len(model.class_names)} classes: {escape(', '.join(model.class_names))}"),
        *([("judged on", escape(model.judged_on))] if model.test_data != model.data else []),
        ("images", counts),
        ("network, one a class" if model.decoder else "network", f"<code>{escape(model.network)}</code>"),
        *([("decoder, one a class", f"<code>{escape(model.decoder)}</code>")] if model.decoder else []),
        ("trained numbers", f"{model.parameters:,}"),
        ("suspicion score", escape(model.score)),
        ("label rule", escape(model.label_rule)),
        ("set to flag", f"{share(model.fpr)} of benign images"),
        ("training time", duration(model.seconds)),
    ]
    settings = [(escape(name), escape(value)) for name, value in _flat(model.settings)]
    every = f"<details><summary>All training settings</summary>{facts(settings)}</details>" if settings else ""
    return section("trained", "What was trained", facts(rows) + every)


def _flat(settings: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
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


def meaning(run: EvaluationRun) -> str:
    """The section of what the numbers do not show."""
    white_box = any(record.metric.startswith("sr") for record in run.records)
    aimed = (
        "The attacks aimed at the detector itself are those listed above and no stronger ones: what they did not find "
        "may still be there."
        if white_box
        else "An attacker who knows the detector can search for images that are misclassified <em>and</em> pass. "
        "That is another matter: it needs attacks aimed at this detector, and the numbers are usually lower."
    )
    return section(
        "meaning",
        "What this shows and what it does not",
        "<p><b>It shows</b> how well the detector notices attacks made on another classifier, the substitute, by "
        "someone who cannot see the detector (black-box transfer attacks), at thresholds fixed beforehand on benign "
        "images that the training did not see.</p>"
        f"<p><b>It does not show</b> that the detector is safe. {aimed} A high AUC does not mean few misses: where "
        "false alarms must be rare, the column for 1&nbsp;% is the one to read. Images from another source than the "
        "training images may be flagged more often. The intervals say how much the numbers would move with other test "
        "images, not with another training run.</p>",
    )


def provenance(records: Iterable[Record]) -> str:
    """The section of where the numbers come from."""
    records = tuple(records)
    versions = dict.fromkeys(f"{name} {version}" for r in records for name, version in r.versions.items())
    rows = [
        ("command", _distinct(f"<code>{escape(r.command)}</code>" for r in records)),
        ("commit", _distinct(f"<code>{escape(r.commit)}</code>" for r in records)),
        ("date", _distinct(escape(r.date) for r in records)),
        ("machine", _distinct(escape(r.machine) for r in records)),
        ("versions", escape(", ".join(versions))),
        ("seed", _distinct(str(r.seed) for r in records)),
        ("attacks", _distinct(escape(r.budget) for r in records if not misclassified_only(r))),
    ]
    return section("provenance", "Where the numbers come from", facts([row for row in rows if row[1]]))


def _distinct(texts: Iterable[str]) -> str:
    return "<br>".join(dict.fromkeys(texts))


def duration(seconds: float) -> str:
    """A time a reader can grasp."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
