"""`twinlatent monitor`."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from twinlatent.cli.options import say_aside
from twinlatent.errors import one_line
from twinlatent.terminal import show

ALARM = 3
"""Exit status when there is an alarm."""


def monitor(
    log: Annotated[Path, typer.Argument(help="What `twinlatent serve --log` wrote.")],
    threshold: Annotated[
        float,
        typer.Option(help="Alarm when the evidence of a change reaches this T; a false alarm in at most 1 log of T."),
    ] = 100.0,
    plot: Annotated[Path | None, typer.Option(help="Draw it: .svg, .pdf or .png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line and model.")] = False,
) -> None:
    """Say whether served images are still like the calibration images; exit status 3 where they are not."""
    from twinlatent import monitor as monitoring

    watched = monitoring.watch(monitoring.read_log(log, say_aside), threshold)
    if plot is not None:
        monitoring.plot(watched, plot)
    for one in watched.values():
        if one.unsaid:
            say_aside(f"{one_line(one.model)}: {one.unsaid:,} rows do not say how many calibration images have the "
                      "same score; what is promised holds for these only if none has")  # fmt: skip
    if as_json:
        for one in watched.values():
            print(json.dumps(one.row))
    else:
        table = Table("model", "images", "flagged", "highest capital", "verdict")
        for one in watched.values():
            said = Text("like the calibration images")
            if one.drifted:
                alarm, since = (f"image {moment.image} ({one_line(moment.time)})" for moment in (one.alarm, one.since))
                said = Text(f"drifted: alarm at {alarm}, since about {since}", "bold")
            table.add_row(
                one_line(one.model), f"{one.images:,}", f"{one.flagged / one.images:.1%}", f"{one.highest:.3g}", said
            )
        show(table)
    if any(one.drifted for one in watched.values()):
        raise typer.Exit(ALARM)
