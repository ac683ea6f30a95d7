"""`twinlatent recipe`: list, show."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from twinlatent.cli.options import Background, Channels, Progress, Size
from twinlatent.errors import TwinlatentError
from twinlatent.terminal import show as show_table


def recipe_list() -> None:
    """List the recipes that ship, and what they are for."""
    from twinlatent.recipes.files import about, names

    table = Table("name", "data", "purpose", "what")
    for name in names():
        found = about(name)
        table.add_row(name, found.get("data", ""), found["purpose"], found["about"])
    show_table(table)


def show(
    name: Annotated[str | None, typer.Argument(help="Name, see `recipe list`, or TOML file.")] = None,
    data: Annotated[str | None, typer.Option(help="Data set, or folder:PATH, whose images it is for.")] = None,
    attack: Annotated[
        str | None, typer.Option(help="Training attack: mim, cw or pgd; default: the recipe's, else mim.")
    ] = None,
    size: Size = None,
    channels: Channels = None,
    background: Background = "white",
    progress: Progress = True,
) -> None:
    """Print all settings of a recipe as TOML, defaults included; of the recipe that --data gets if none is named."""
    import twinlatent as tl
    from twinlatent.recipes import names, recipe_of, shipped
    from twinlatent.settings import as_toml

    if data is not None:
        found = recipe_of(
            tl.data.load(data, size=size, channels=channels, background=background, progress=progress), asked=name
        )
    elif name is None or (name not in names() and Path(name).is_file()):
        raise TwinlatentError("say whose images the recipe is for: --data NAME, or --data folder:PATH")
    else:
        found = shipped(name)
    print(f"# recipe {found.name}, {found.purpose}")
    print(as_toml(found.resolved(attack)), end="")
