"""A results folder to one self-contained HTML page: no scripts, nothing loaded from elsewhere."""

import base64
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from twinlatent.evaluation.metrics import roc_curve
from twinlatent.evaluation.records import Record
from twinlatent.evaluation.run_folder import EvaluationRun, Examples, ModelCard, read_run
from twinlatent.files import write_text
from twinlatent.report import figures

PAGE = "report.html"
MAX_EXAMPLES = 24
ATTACK_NAMES = {"fgsm": "FGSM", "pgd": "PGD", "mim": "MIM", "cw": "CW-L2", "worst": "worst of all"}
METHOD_NAMES = {
    "twinlatent": "twinlatent", "plain": "no defence", "gong": "Gong et al. 2017", "rce": "Pang et al. 2018",
    "adversarial-training": "adversarial training", "gat": "GAT",
}  # fmt: skip
BENIGN_MEASURES = {
    "accuracy": "read correctly", "fpr": "flagged (false alarms)",
    "substitute_accuracy": "read correctly by the substitute", "benign_pass_c1c2": "meet C1 and C2",
}  # fmt: skip
NBSP = "\u00a0"


def write_page(folder: str | Path) -> Path:
    """Write `report.html` into the results folder `folder`, from the files there alone, and return its path.

    The same folder always gives the same bytes.

    Errors: `TwinlatentError` naming the file and the field or array that is missing or wrong.
    """
    path = Path(folder) / PAGE
    write_text(path, page(read_run(folder)))
    return path


def page(run: EvaluationRun) -> str:
    """Return the page that reports `run`. All text of the run is escaped."""
    sections = (_trained(run.model), _results(run), _separation(run), _pairs(run.examples), _training(run.log),
                _meaning(run), _provenance(run.records))  # fmt: skip
    return TEMPLATE.substitute(
        title=escape(run.model.title),
        data=escape(run.model.data),
        lead=_lead(run),
        tiles=_tiles(run),
        sections="\n".join(section for section in sections if section),
    )


# Header -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Headline:
    """The records the header speaks of: one detector's, under its own suspicion score."""

    accuracy: Record | None
    fpr: Record | None
    areas: tuple[Record, ...]
    caught: tuple[Record, ...]


def _headline(run: EvaluationRun) -> Headline:
    groups = _groups(run.records)
    ours = [group for group in groups if group[0].method == "twinlatent"] or groups
    main = next((group for group in ours if any(record.metric == "auc" for record in group)), ())
    rows = [r for r in main if r.score in (None, run.model.score)] or main
    accuracies = [r for group in (main, *ours) for r in group if r.metric == "accuracy"]
    return Headline(
        accuracy=next(iter(accuracies), None),
        fpr=next((r for r in rows if r.metric == "fpr"), None),
        areas=tuple(r for r in rows if r.metric == "auc"),
        caught=tuple(r for r in rows if r.metric == "tpr@5"),
    )


def _lead(run: EvaluationRun) -> str:
    head, said = _headline(run), []
    data = escape(run.model.data)
    if head.accuracy:
        said.append(
            f"On {head.accuracy.n:,} {data} test images the detector reads {_percent(head.accuracy)} correctly."
        )
    if head.areas:
        count = len({record.attack for record in head.areas})
        attacks = f"{count} attacks" if count > 1 else f"one attack ({_attack(head.areas[0].attack)})"
        said.append(f"It tells benign from attacked images with an AUC of {_span(head.areas)} over {attacks}")
        said[-1] += f", and flags {_percent(head.fpr)} of benign images." if head.fpr else "."
    return " ".join(said)


def _tiles(run: EvaluationRun) -> str:
    head = _headline(run)
    tiles = []
    if head.accuracy:
        tiles.append((_percent(head.accuracy), "of benign images read correctly"))
    if head.areas:
        tiles.append((_span(head.areas), "AUC, lowest to highest attack" if len(head.areas) > 1 else "AUC"))
    if head.caught:
        worst = min(head.caught, key=lambda record: record.value)
        note = f"of {_attack(worst.attack)} images flagged at 5{NBSP}% false alarms, the attack it sees worst"
        tiles.append((_percent(worst), note))
    if head.fpr:
        tiles.append((_percent(head.fpr), f"of benign images flagged; it was set to {_share(run.model.fpr)}"))
    return "".join(f"<li><b>{number}</b><span>{note}</span></li>" for number, note in tiles)


def _span(areas: Sequence[Record]) -> str:
    low, high = (f"{pick(area.value for area in areas):.3f}" for pick in (min, max))
    return low if low == high else f"{low}–{high}"


# What was trained ---------------------------------------------------------------------------------------------------


def _trained(model: ModelCard) -> str:
    counts = f"{model.training_images:,} training, {model.calibration_images:,} calibration, {model.test_images:,} test"
    rows = [
        ("data", f"{escape(model.data)}, {len(model.class_names)} classes: {escape(', '.join(model.class_names))}"),
        ("images", counts),
        ("network, one a class" if model.decoder else "network", f"<code>{escape(model.network)}</code>"),
        *([("decoder, one a class", f"<code>{escape(model.decoder)}</code>")] if model.decoder else []),
        ("trained numbers", f"{model.parameters:,}"),
        ("suspicion score", escape(model.score)),
        ("label rule", escape(model.label_rule)),
        ("set to flag", f"{_share(model.fpr)} of benign images"),
        ("training time", _duration(model.seconds)),
    ]
    settings = [(escape(name), escape(value)) for name, value in _flat(model.settings)]
    every = f"<details><summary>All training settings</summary>{_facts(settings)}</details>" if settings else ""
    return _section("trained", "What was trained", _facts(rows) + every)


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


# Results ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """One column of a results table: its heading, the metric it shows, and how."""

    heading: str
    metric: str
    show: Callable[[Record], str]


def _percent(record: Record) -> str:
    return f"{100 * record.value:.1f}{NBSP}%"


def _area(record: Record) -> str:
    return f"{record.value:.3f} {_interval(record, '{:.3f}')}"


def _interval(record: Record, form: str, factor: float = 1) -> str:
    if record.low is None or record.high is None:
        return ""
    low, high = form.format(factor * record.low), form.format(factor * record.high)
    return f"<small>[{low}, {high}]</small>"


BLACK_BOX = (
    Column("fools the substitute", "attack_success", _percent),
    Column("AUC [95&nbsp;%]", "auc", _area),
    Column("flagged at 1&nbsp;%", "tpr@1", _percent),
    Column("flagged at 5&nbsp;%", "tpr@5", _percent),
    Column("flagged at 10&nbsp;%", "tpr@10", _percent),
)
WHITE_BOX = (
    Column("wins at 1&nbsp;%", "sr@1", _percent),
    Column("wins at 5&nbsp;%", "sr@5", _percent),
    Column("wins at 10&nbsp;%", "sr@10", _percent),
    Column("meets C1, C2", "sr_c1c2", _percent),
    Column("meets C1, C2, C3", "sr_c1c2c3", _percent),
    Column("size of change", "l2_rms255", lambda record: f"{record.value:.1f}"),
)
BLACK_BOX_NOTE = (
    "<b>Fools the substitute</b>: share of attacked images that the classifier they were made on misreads. "
    "<b>AUC</b>: chance that an attacked image looks more suspicious than a benign one; 0.5 is guessing, 1 is perfect; "
    "in brackets its 95&nbsp;% interval. <b>Flagged at k&nbsp;%</b>: share of attacked images caught by the threshold "
    "that was set to flag k&nbsp;% of held-out benign images."
)
WHITE_BOX_NOTE = (
    "These attacks were aimed at the detector itself. <b>Wins at k&nbsp;%</b>: share of test images for which the "
    "attack finds a change that is misread and passes the threshold set to flag k&nbsp;% of held-out benign images. "
    "<b>C1, C2, C3</b>: the criteria of the paper, taken at the benign mean. <b>Size of change</b>: root mean square "
    "change a pixel, of 255."
)


def _results(run: EvaluationRun) -> str:
    groups = _groups(run.records)
    body = "".join(_group(group, titled=len(groups) > 1) for group in groups)
    return _section("results", "Results", body) if body else ""


def _groups(records: Iterable[Record]) -> list[tuple[Record, ...]]:
    """Records of one detector under one attack suite and seed belong together."""
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for r in records:
        groups.setdefault((r.data, r.method, r.trained_with, r.budget, r.seed), []).append(r)
    return [tuple(group) for group in groups.values()]


def _group(group: Sequence[Record], *, titled: bool) -> str:
    first = group[0]
    training = "" if first.trained_with == "none" else f", trained with {_attack(first.trained_with)}"
    budget = escape(first.budget)
    title = f"{METHOD_NAMES[first.method]}{training}, {escape(first.data)}, {budget} attacks, seed {first.seed}"
    return (
        (f"<h3>{title}</h3>" if titled else "")
        + _benign_table([record for record in group if record.attack == "none"])
        + _attack_table(group, BLACK_BOX, "Attacked images", BLACK_BOX_NOTE)
        + _attack_table(group, WHITE_BOX, "Attacks on the detector itself", WHITE_BOX_NOTE)
    )


def _benign_table(records: Sequence[Record]) -> str:
    scores = len({record.score for record in records if record.score})
    rows = []
    for record in records:
        measure = BENIGN_MEASURES.get(record.metric, record.metric)
        measure += f" ({record.score} score)" if record.score and scores > 1 else ""
        interval = _interval(record, "{:.1f}", 100)
        rows.append((measure, f"{_percent(record)} {interval}", f"{record.n:,}"))
    return _table("Benign images", ("", "share [95&nbsp;%]", "images"), rows) if rows else ""


def _attack_table(group: Sequence[Record], columns: Sequence[Column], caption: str, note: str) -> str:
    wanted = {column.metric for column in columns}
    records = [record for record in group if record.attack != "none" and record.metric in wanted]
    shown = [column for column in columns if any(record.metric == column.metric for record in records)]
    keys = _attack_keys(records)
    scored = len({score for _, _, score in keys}) > 1
    rows = []
    for attack, epsilon, score in keys:
        mine = {r.metric: r for r in records if (r.attack, r.epsilon) == (attack, epsilon) and r.score in (None, score)}
        name = _attack(attack) + (f" <small>{score}</small>" if scored else "")
        count = "–".join(f"{n:,}" for n in sorted({min(r.n for r in mine.values()), max(r.n for r in mine.values())}))
        cells = (column.show(mine[column.metric]) if column.metric in mine else "–" for column in shown)
        rows.append((name, "–" if epsilon is None else f"{epsilon:g}", *cells, count))
    headings = ("attack", "ε", *(column.heading for column in shown), "images")
    return _table(caption, headings, rows, kind="attacks") + f"<p class=note>{note}</p>" if rows else ""


def _attack_keys(records: Sequence[Record]) -> list[tuple[str, float | None, str | None]]:
    """One row an attack, budget and score; records without a score join the rows that have one."""
    keys = dict.fromkeys((record.attack, record.epsilon, record.score) for record in records)
    scored = {key[:2] for key in keys if key[2]}
    return [key for key in keys if key[2] or key[:2] not in scored]


# Figures ------------------------------------------------------------------------------------------------------------


def _separation(run: EvaluationRun) -> str:
    scores = {_attack_name(attack): values for attack, values in run.suspicion.items()}
    curves = {name: roc_curve(run.benign_suspicion, values) for name, values in scores.items()}
    line = "The dashed line is the threshold." if run.threshold is not None else "Each class has its own threshold."
    return _section(
        "separation",
        "How far apart the scores lie",
        "<div class=pair>"
        + _plot(
            figures.svg(figures.roc(curves)),
            f"ROC curves of {', '.join(scores)}",
            "Share of attacked images flagged against share of benign images flagged, for every threshold. "
            "The nearer to the upper left corner, the better.",
        )
        + _plot(
            figures.svg(figures.score_histograms(run.benign_suspicion, scores, run.threshold)),
            f"Histograms of the suspicion scores of benign images and of {', '.join(scores)}",
            f"Suspicion scores of benign and attacked test images. {line} The outermost bars hold all scores beyond.",
        )
        + "</div>",
    )


def _training(log: Sequence[Mapping[str, Any]]) -> str:
    if not log:
        return ""
    caption = (
        "Above, the loss and its terms. Below, of the images attacked in training: the share that met C1 and C2 at the "
        "running benign levels, and the share that passed as the class they were attacked towards at a threshold for "
        "5&nbsp;% false alarms; the accuracy on 500 training images; and the size ε of the attack. The training attack "
        "is weak: what it does not find may still be there."
    )
    plot = _plot(figures.svg(figures.training_curves(log)), "Loss, success and accuracy over training", caption, "side")
    return _section("training", "How training went", plot)


def _plot(drawing: str, description: str, caption: str, kind: str = "below") -> str:
    picture = f'<div class=plot role=img aria-label="{escape(description)}">{drawing}</div>'
    return f"<figure class={kind}>{picture}<figcaption>{caption}</figcaption></figure>"


# Example images -----------------------------------------------------------------------------------------------------


def _pairs(examples: Examples) -> str:
    shown = min(len(examples), MAX_EXAMPLES)
    if not shown:
        return ""
    reach = figures.difference_reach(list(zip(examples.benign[:shown], examples.adversarial[:shown], strict=True)))
    more = f" The first {shown} of {len(examples)} are shown." if shown < len(examples) else ""
    note = (
        "Below each image stands what the detector made of it: the class it reads, whether it flags the image, and p, "
        "which is small when few benign images look as suspicious. An attacked image is caught when it is flagged, "
        "missed when it passes and is misread, harmless when it passes and is read correctly. In the difference, grey "
        "is no change, dark blue is darker and light is brighter, on one scale for all "
        f"(±{reach:.2f}).{more}"
    )
    cards = "".join(_pair(examples, number, reach) for number in range(shown))
    return _section("examples", "Examples", f"<p class=note>{note}</p><ul class=cards>{cards}</ul>")


def _pair(examples: Examples, i: int, reach: float) -> str:
    true, attack = escape(str(examples.true[i])), _attack(str(examples.attack[i]))
    change = examples.adversarial[i] - examples.benign[i]
    outcome = _outcome(examples, i)
    pictures = (
        _picture(_grey(examples.benign[i]), f"benign image of {true}", "benign")
        + _verdict(examples.benign_label[i], examples.benign_flagged[i], examples.benign_p[i]),
        _picture(_grey(examples.adversarial[i]), f"the same image after {attack}", "attacked")
        + _verdict(examples.adversarial_label[i], examples.adversarial_flagged[i], examples.adversarial_p[i]),
        _picture(_coloured(change, reach), "difference of the two", "difference")
        + f"<p>at most<br>{np.abs(change).max():.2f}</p>",
    )
    trio = "".join(f"<div>{picture}</div>" for picture in pictures)
    heading = f"<h3>{attack} on {true}<span class={outcome.split()[0]}>{outcome}</span></h3>"
    return f"<li>{heading}<div class=trio>{trio}</div></li>"


def _outcome(examples: Examples, i: int) -> str:
    if examples.adversarial_flagged[i]:
        return "caught"
    return "harmless" if examples.adversarial_label[i] == examples.true[i] else "missed"


def _verdict(label: Any, flagged: Any, p: Any) -> str:
    return f"<p><b>{escape(str(label))}</b><br>{'flagged' if flagged else 'passes'}<br>p{NBSP}{_p_value(p)}</p>"


def _p_value(p: float) -> str:
    return "&lt;&nbsp;0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _grey(image: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(255 * image), dtype=np.uint8)


def _coloured(change: NDArray[Any], reach: float) -> NDArray[np.uint8]:
    colours = np.asarray(figures.DIFFERENCE_MAP((change / reach + 1) / 2, bytes=True), dtype=np.uint8)
    return np.delete(colours, 3, axis=2)  # without the opacity


def _picture(pixels: NDArray[np.uint8], description: str, title: str) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="png", optimize=True)
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    height, width = pixels.shape[:2]
    return f'<span>{title}</span><img src="{source}" width={width} height={height} alt="{description}">'


# Words --------------------------------------------------------------------------------------------------------------


def _meaning(run: EvaluationRun) -> str:
    white_box = any(record.metric.startswith("sr") for record in run.records)
    aimed = (
        "The attacks aimed at the detector itself are those listed above and no stronger ones: what they did not find "
        "may still be there."
        if white_box
        else "An attacker who knows the detector can search for images that are misread <em>and</em> pass. That is "
        "another matter: it needs attacks aimed at this detector, and the numbers are usually lower."
    )
    return _section(
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


def _provenance(records: Sequence[Record]) -> str:
    versions = dict.fromkeys(f"{name} {version}" for r in records for name, version in r.versions.items())
    rows = [
        ("command", _distinct(f"<code>{escape(r.command)}</code>" for r in records)),
        ("commit", _distinct(f"<code>{escape(r.commit)}</code>" for r in records)),
        ("date", _distinct(escape(r.date) for r in records)),
        ("machine", _distinct(escape(r.machine) for r in records)),
        ("versions", escape(", ".join(versions))),
        ("seed", _distinct(str(r.seed) for r in records)),
    ]
    return _section("provenance", "Where the numbers come from", _facts([row for row in rows if row[1]]))


def _distinct(texts: Iterable[str]) -> str:
    return "<br>".join(dict.fromkeys(texts))


# Pieces -------------------------------------------------------------------------------------------------------------


def _section(name: str, title: str, body: str) -> str:
    return f"<section aria-labelledby={name}>\n<h2 id={name}>{title}</h2>\n{body}\n</section>"


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows) + "</dl>"


def _table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "plain") -> str:
    head = "".join(f"<th scope=col>{heading}</th>" if heading else "<td></td>" for heading in headings)
    body = "".join(
        f"<tr><th scope=row>{first}</th>{''.join(f'<td>{cell}</td>' for cell in rest)}</tr>" for first, *rest in rows
    )
    table = (
        f"<table class={kind}><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )
    return f'<div class=scroll role=region tabindex=0 aria-label="{caption}">{table}</div>'


def _attack_name(attack: str) -> str:
    return ATTACK_NAMES.get(attack, attack)


def _attack(attack: str) -> str:
    return escape(_attack_name(attack))


def _share(value: float) -> str:
    return f"{100 * value:g}{NBSP}%"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


TEMPLATE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>
:root { color-scheme: light dark; --ink: #1d2529; --soft: #5c686e; --line: #dde3e5; --page: #f6f8f8; --card: #fff;
  --accent: #0b6474; --good: #14693a; --bad: #a3271b; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3e8ea; --soft: #9fabb0; --line: #333d42; --page: #14191c; --card: #1c2327; --accent: #6cc3d2;
    --good: #7ccf9b; --bad: #f2958a; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 2.5rem 1.1rem 4rem; }
h1 { font-size: clamp(1.6rem, 5vw, 2.4rem); line-height: 1.15; letter-spacing: -.015em; margin: .2rem 0 .8rem;
  text-wrap: balance; }
h2 { font-size: 1.3rem; letter-spacing: -.01em; margin: 3rem 0 .9rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .6rem; }
p { max-width: 46rem; margin: 0 0 .9rem; }
code { font: .88em/1.5 ui-monospace, "Cascadia Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
small, .note, figcaption, caption, dt { color: var(--soft); }
.note, figcaption { font-size: .88rem; line-height: 1.5; }
.eyebrow { color: var(--accent); font-weight: 600; font-size: .85rem; margin: 0; }
.lead { font-size: 1.12rem; }
.tiles { list-style: none; display: grid; gap: .8rem; padding: 0; margin: 1.6rem 0 0;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 13rem), 1fr)); }
.tiles li, .cards li, dl, .scroll, details { background: var(--card); border: 1px solid var(--line);
  border-radius: .7rem; }
.tiles li { padding: .9rem 1.1rem; }
.tiles b { display: block; font-size: 1.55rem; line-height: 1.3; font-weight: 650; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums; color: var(--accent); white-space: nowrap; }
.tiles span { color: var(--soft); font-size: .88rem; line-height: 1.4; display: block; }
dl { margin: 0; padding: .35rem 1.1rem; }
dl div { display: grid; grid-template-columns: minmax(8rem, 13rem) 1fr; gap: .2rem 1.2rem; padding: .5rem 0; }
dl div + div { border-top: 1px solid var(--line); }
dd { margin: 0; overflow-wrap: anywhere; }
details { margin-top: .8rem; }
details dl { border: 0; border-top: 1px solid var(--line); border-radius: 0; background: none; font-size: .92rem; }
summary { cursor: pointer; padding: .75rem 1.1rem; font-weight: 600; }
.scroll { overflow-x: auto; margin: 0 0 .9rem; background:
  linear-gradient(90deg, var(--card) 40%, transparent) left / 2.5rem 100% no-repeat local,
  linear-gradient(270deg, var(--card) 40%, transparent) right / 2.5rem 100% no-repeat local,
  linear-gradient(90deg, var(--line), transparent) left / .8rem 100% no-repeat scroll,
  linear-gradient(270deg, var(--line), transparent) right / .8rem 100% no-repeat scroll, var(--card); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .75rem 1.1rem .1rem; font-size: .88rem; font-weight: 600; }
th, td { padding: .55rem .7rem; text-align: right; white-space: nowrap; }
thead th { font-size: .82rem; line-height: 1.3; font-weight: 600; color: var(--soft); white-space: normal;
  min-width: 4.6rem; vertical-align: bottom; }
tbody tr { border-top: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; padding-left: 1.1rem; }
tbody th { font-weight: 600; white-space: normal; min-width: 7rem; line-height: 1.35; }
.attacks tbody th { white-space: nowrap; min-width: 0; }
th:last-child, td:last-child { padding-right: 1.1rem; }
.pair { display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
figure { margin: 0; max-width: 34rem; }
.plot { background: #fff; border: 1px solid var(--line); border-radius: .7rem; padding: .8rem; }
.plot svg { display: block; width: 100%; height: auto; }
figcaption { margin-top: .6rem; }
@media (min-width: 56rem) {
  figure.side { max-width: none; display: grid; grid-template-columns: 32rem 1fr; gap: 1.6rem; align-items: start; }
}
.cards { list-style: none; padding: 0; margin: 0; display: grid; gap: .9rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); }
.cards li { padding: .8rem 1rem; }
.cards h3 { margin: 0 0 .6rem; display: flex; justify-content: space-between; gap: .6rem; }
.cards h3 span { font-size: .85rem; color: var(--soft); }
.cards h3 .caught { color: var(--good); }
.cards h3 .missed { color: var(--bad); }
.trio { display: grid; grid-template-columns: repeat(3, 1fr); gap: .6rem; }
.trio div { min-width: 0; }
.trio span { color: var(--soft); font-size: .8rem; }
.trio p { font-size: .82rem; line-height: 1.4; margin: .35rem 0 0; overflow-wrap: anywhere; }
.trio img { display: block; width: 100%; height: auto; image-rendering: pixelated; border-radius: .25rem;
  border: 1px solid var(--line); }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1rem; }
a:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
@media (max-width: 34rem) {
  dl div { grid-template-columns: 1fr; gap: 0; }
  dt { font-size: .85rem; }
  .plot { padding: .4rem; }
  .tiles { grid-template-columns: 1fr 1fr; }
  .tiles li { padding: .8rem .9rem; }
  .tiles b { font-size: 1.2rem; }
  .plain td small { display: block; }
}
@media print { body { background: none; } figure, .cards li, .scroll { break-inside: avoid; } }
</style>
</head>
<body>
<main>
<header>
<p class=eyebrow>Adversarial-example detector on $data</p>
<h1>$title</h1>
<p class=lead>$lead</p>
<ul class=tiles>$tiles</ul>
</header>
$sections
<footer><p class=note>Made by twinlatent from the files beside this page. Method: B. Joe, S. J. Hwang, I. Shin,
<cite>Learning to Disentangle Robust and Vulnerable Features for Adversarial Detection</cite>, arXiv 1909.04311.</p>
</footer>
</main>
</body>
</html>
""")
