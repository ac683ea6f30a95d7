"""A results folder to one self-contained HTML page: no scripts, nothing loaded from elsewhere."""

import re
from collections.abc import Iterable
from html import escape
from pathlib import Path

from twinlatent.evaluation.run_folder import PAGE, EvaluationRun, read_run
from twinlatent.files import write_text
from twinlatent.report import page_figures, page_summary, page_tables, page_white_box
from twinlatent.report.page_about import meaning, provenance, trained
from twinlatent.report.page_examples import example_cards
from twinlatent.report.page_style import TEMPLATE

HEADING = re.compile(r"<h2 id=(\w+)>(.*?)</h2>")


def write_page(folder: str | Path) -> Path:
    """Write `report.html` into the results folder `folder`, from the files there alone, and return its path.

    The same folder always gives the same bytes.

    Errors: `TwinlatentError` naming the file and the field or array that is missing or wrong.
    """
    path = Path(folder) / PAGE
    write_text(path, page(read_run(folder)))
    return path


def page(run: EvaluationRun) -> str:
    """Return the page that reports `run`. All text of the run is escaped.

    A summary first, then tables beside the paper's numbers, figures, and where all this comes from.
    """
    tables = (
        page_tables.benign(run.records),
        page_tables.black_box(run.records),
        page_white_box.white_box(run.records),
        page_white_box.conditions(run.records),
        page_white_box.judges(run.judges),
        page_white_box.checks(run.checks),
    )
    drawn = (
        page_figures.separation(run),
        page_figures.attacked(run),
        page_figures.pictures(run),
        example_cards(run.examples),
        page_figures.training(run.log),
    )
    return framed(
        run.model.title,
        eyebrow=f"Adversarial-example detector on {run.model.test_data}",
        lead=page_summary.lead(run),
        summary=page_summary.tiles(run) + page_summary.findings(run.checks),
        sections=(*tables, *drawn, meaning(run), trained(run.model), provenance(run.records)),
        source="the files beside this page",
    )


def framed(title: str, *, eyebrow: str, lead: str, summary: str, sections: Iterable[str], source: str) -> str:
    """A whole page.

    Args:
        title: heading, as eyebrow and source plain text.
        eyebrow: a line above the heading.
        lead: HTML of the first paragraph.
        summary: HTML below it.
        sections: HTML; empty ones are left out, and the others are listed at the top.
        source: what the page was made from.
    """
    body = "\n".join(section for section in sections if section)
    contents = " ".join(f'<a href="#{name}">{text}</a>' for name, text in HEADING.findall(body))
    return TEMPLATE.substitute(title=escape(title), eyebrow=escape(eyebrow), lead=lead, summary=summary,
                               contents=contents, sections=body, source=escape(source))  # fmt: skip
