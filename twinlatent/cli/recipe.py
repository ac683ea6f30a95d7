"""`twinlatent recipe`: list, show."""

from typing import Annotated

import typer
from rich.table import Table

from twinlatent.terminal import show as show_table


def recipe_list() -> None:
    """Name the recipes that ship, with what they are for."""
    from twinlatent.recipes.files import about, names

    table = Table("name", "data", "purpose", "what")
    for name in names():
        found = about(name)
        table.add_row(name, found["data"], found["purpose"], found["about"])
    show_table(table)


def show(
    name: Annotated[str, typer.Argument(help="Name, see `recipe list`.")],
    attack: Annotated[str, typer.Option(help="Training attack that the game is against: mim, cw or pgd.")] = "mim",
) -> None:
    """Print all settings of a recipe, the defaults too, as a TOML file has them."""
    from twinlatent.recipes import shipped
    from twinlatent.settings import as_toml

    print(as_toml(shipped(name).resolved(attack)), end="")
