"""Tables on standard output."""

import sys

from rich.console import Console
from rich.table import Table

WIDEST = 100_000
"""Letters of a line that goes to a file or another program: no table is that wide."""


def show(table: Table) -> None:
    """Print a table: as wide as a terminal is, and anywhere else as wide as it needs to be."""
    console = Console(markup=False, emoji=False)  # names in brackets are names
    if not sys.stdout.isatty():
        console.width = WIDEST
    console.print(table)
