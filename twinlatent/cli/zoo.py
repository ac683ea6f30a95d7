"""`twinlatent zoo`: list, show."""

from typing import Annotated

import typer
from rich.table import Table

from twinlatent import zoo
from twinlatent.terminal import show as show_table


def zoo_list() -> None:
    """List the shipped detectors and what they were trained on."""
    table = Table("name", "data", "classes", "trained with")
    for shipped in zoo.listing():
        table.add_row(shipped.name, shipped.data, str(shipped.classes), shipped.trained_with)
    show_table(table)


def show(name: Annotated[str, typer.Argument(help="Name, see `zoo list`.")]) -> None:
    """Print the card of a shipped detector."""
    print(zoo.card(name))
