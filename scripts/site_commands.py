"""A page of all commands with their arguments and options, from the program itself."""

from collections.abc import Iterator
from typing import Any

import typer

from twinlatent.cli.program import app

INTRODUCTION = """# Commands

What `twinlatent COMMAND --help` says, on one page. Every command takes `--help`; `--debug` before or behind its name
shows the traceback of what goes wrong.
"""


def page() -> str:
    """The page, in Markdown."""
    return "\n".join(
        [INTRODUCTION, *(section(name, command) for name, command in commands(typer.main.get_command(app)))]
    )


def commands(group: Any, before: str = "twinlatent") -> Iterator[tuple[str, Any]]:
    """Each command with its whole name, those of groups too."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{before} {name}")
        else:
            yield f"{before} {name}", command


def section(name: str, command: Any) -> str:
    """What a command does, and a table of what it takes."""
    shown = [one for one in command.params if one.name != "help" and not getattr(one, "hidden", False)]
    rows = [f"| {called(one)} | {default(one)} | {cell(one.help or '')} |" for one in shown]
    table = ["", "| takes | default | meaning |", "|---|---|---|", *rows] if rows else []
    return "\n".join([f"## {name}", "", command.help.strip(), *table, ""])


def called(parameter: Any) -> str:
    """Its name, as it is written: an argument in capitals, an option with its dashes and those of its contrary."""
    if parameter.param_type_name == "argument":
        many = " ..." if parameter.nargs == -1 else ""
        name = f"{parameter.name.upper()}{many}"
        return f"`{name}`" if parameter.required else f"`[{name}]`"
    return ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])


def default(parameter: Any) -> str:
    """What it is if nothing is said; empty where that is nothing."""
    if parameter.required:
        return "must be given"
    value = parameter.default
    if isinstance(value, bool) and parameter.secondary_opts:
        return f"`{(parameter.opts if value else parameter.secondary_opts)[0]}`"
    if value is None or value is False or callable(value) or value in ((), [], ""):
        return ""
    return f"`{value}`"


def cell(text: str) -> str:
    """Of a table."""
    return " ".join(text.split()).replace("|", "\\|")
