"""Table 1 and Figure 2 of the paper: what a classifier learns from vulnerable features alone, on one page."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from twinlatent.drawing.canvas import RULE, need, save, style
from twinlatent.drawing.labels import attack_name, shortened
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.results import Metric, Record
from twinlatent.files import write_text
from twinlatent.motivation.experiment import Vulnerability
from twinlatent.report.cells import paper_cell, share_cell
from twinlatent.report.page import provenance
from twinlatent.report.rendering import Plot, Table, plot, render, table
from twinlatent.report.select import find

FIGURE = "figure2.svg"
SIDE, NAME_ROOM, HEAD_ROOM = 0.62, 1.0, 0.45  # inches of an image with its caption, of a row's name, of the title
MEASURED: dict[Metric, str] = {"test_xb_accuracy": "benign test images", "test_xv_accuracy": "X_v of test images"}
CONTROLS: dict[Metric, str] = {
    "control_relabelled_accuracy": "benign images, random labels",
    "control_noise_accuracy": "with random noise, random labels",
    "control_unattacked_accuracy": "benign images, labels of X_v",
}
FOOLED: dict[Metric, str] = {
    "substitute_accuracy": "F_p on benign test images",
    "attack_success": "attacks that fooled F_p: added to X_v",
    "test_attack_success": "the same of test images",
}


@style()
def vulnerable_grid(found: Vulnerability) -> Figure:
    """Draw a row a label of Y_v with the images of X_v that have it, under each the class it was made from (figure 2).

    Errors: `TwinlatentError` if there is no image.
    """
    need(found.labels.tolist(), "images of X_v")
    names = list(dict.fromkeys(found.labels.tolist()))
    rows = [np.flatnonzero(found.labels == name) for name in names]
    across = max(map(len, rows))
    size = (NAME_ROOM + SIDE * across, HEAD_ROOM + SIDE * 1.25 * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle("At the left the label Y_v, below each image the class it was made from", fontsize=8)
    for panels, name, own in zip(figure.subplots(len(rows), across, squeeze=False), names, rows, strict=True):
        panels[0].set_ylabel(shortened(name), rotation=0, ha="right", va="center", weight="bold")
        for axes in panels[len(own) :]:
            axes.set_axis_off()
        for axes, row in zip(panels, own, strict=False):
            axes.imshow(found.images[row], cmap="gray", vmin=0, vmax=255, interpolation="none")
            axes.set(xticks=[], yticks=[])
            axes.set_xlabel(shortened(str(found.true[row])), fontsize=6.5, labelpad=2)
            axes.grid(visible=False)
            for spine in axes.spines.values():
                spine.set(visible=True, color=RULE)
    return figure


def write_vulnerability(cells: Sequence[Vulnerability], path: str | Path) -> Path:
    """Write a page on cells of Table 1 to `path`, and return it; the same cells always give the same bytes.

    Errors: `TwinlatentError` if there is no cell.
    """
    path = Path(path)
    write_text(path, vulnerability(cells))
    return path


def write_figure(found: Vulnerability, folder: str | Path) -> Path:
    """Write Figure 2 of one cell into `folder`, and return the path."""
    path = Path(folder) / FIGURE
    save(vulnerable_grid(found), path)
    return path


def vulnerability(cells: Sequence[Vulnerability]) -> str:
    """Return the page on cells of Table 1. All text of theirs is escaped."""
    if not cells:
        raise TwinlatentError("there is no cell of Table 1 to show: give at least one")
    records = [cell.records for cell in cells]
    data = ", ".join(dict.fromkeys(own[0].data for own in records))
    return render(
        "vulnerable.html.j2",
        title="Vulnerable features alone",
        eyebrow=f"Section 3 of the paper on {data}",
        lead="A classifier trained only on attacked images with the labels they were mistaken for, tested on benign "
        "ones.",
        accuracies=_table(records, MEASURED),
        controls=_table(records, CONTROLS),
        attacks=_table(records, FOOLED),
        pictures=[_picture(cell) for cell in cells],
        provenance=provenance(record for own in records for record in own),
    )


def _table(records: Sequence[Sequence[Record]], metrics: dict[Metric, str]) -> Table:
    """A row a cell, a column a metric, beside it the paper's number where it has one."""
    headings = [text for title in metrics.values() for text in (title, "paper")]
    rows = []
    for own in records:
        found = [find(own, metric=metric) for metric in metrics]
        cells = [text for r in found for text in (share_cell(r, n=True), paper_cell(r))]
        rows.append([_called(own), *cells, own[0].budget.removeprefix("section3, ")])
    return table("Accuracy", ["", *headings, "attacked"], rows)


def _called(records: Sequence[Record]) -> str:
    return f"{records[0].data}, {attack_name(records[0].attack)}"


def _picture(cell: Vulnerability) -> Plot:
    title = _called(cell.records)
    return plot(vulnerable_grid(cell), f"Images of X_v by label: {title}", title)
