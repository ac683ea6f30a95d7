"""`twinlatent recipe`: list, show."""

from typing import Annotated

import typer
from rich.table import Table

from twinlatent.terminal import show as show_table


def recipe_list() -> None:
    """List the recipes that ship, and what they are for."""
    from twinlatent.recipes.files import about, names

    table = Table("name", "data", "purpose", "what")
    for name in names():
        found = about(name)
        table.add_row(name, found["data"], found["purpose"], found["about"])
    show_table(table)


def show(
    name: Annotated[str, typer.Argument(help="Name, see `recipe list`.")],
    attack: Annotated[str, typer.Option(help="Training attack: mim, cw or pgd.")] = "mim",
) -> None:
    """Print all settings of a recipe as TOML, defaults included."""
    from twinlatent.recipes import shipped
    from twinlatent.settings import as_toml

    print(as_toml(shipped(name).resolved(attack)), end="")
