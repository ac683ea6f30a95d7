"""All commands in one program, in the order in which the help shows them.

A new command is a function in a file of this package, and its place here.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from twinlatent.cli.attack import attack
from twinlatent.cli.calibrate import calibrate
from twinlatent.cli.certify import certify
from twinlatent.cli.data import data_list, fetch, prepare
from twinlatent.cli.data import show as data_show
from twinlatent.cli.demo import demo
from twinlatent.cli.detect import detect
from twinlatent.cli.evaluate import evaluate, report
from twinlatent.cli.export import export
from twinlatent.cli.merge import merge
from twinlatent.cli.monitor import monitor
from twinlatent.cli.new import new_detector
from twinlatent.cli.recipe import recipe_list
from twinlatent.cli.recipe import show as recipe_show
from twinlatent.cli.reproduce import motivation, reproduce
from twinlatent.cli.results import check, convert
from twinlatent.cli.serve import serve
from twinlatent.cli.train import train
from twinlatent.cli.zoo import show as zoo_show
from twinlatent.cli.zoo import zoo_list
from twinlatent.failures import DEBUG, INTERRUPTED, WRONG_USAGE, fail

USAGE: Any = typer.BadParameter.__mro__[1]
"""What typer raises where words make no sense: click's class, or typer's copy of it, which has no public name."""


class _Commands(TyperGroup):
    """All of them; Ctrl-C, or words that make no sense, end in a line, where typer says nothing or draws a box."""

    def make_context(self, *given: Any, **options: Any) -> Any:
        """Read the words."""
        with _in_one_line():
            return super().make_context(*given, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the words name."""
        with _in_one_line():
            return super().invoke(ctx)


@contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as stopped:
        fail(str(stopped) or "stopped", INTERRUPTED)
    except USAGE as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            raise
        more = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        fail(" ".join(error.format_message().split()).removesuffix(".") + more, WRONG_USAGE)


app = typer.Typer(cls=_Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="Train, judge and use adversarial-example detectors.")  # fmt: skip


@app.callback()
def everywhere(
    debug: Annotated[bool, typer.Option(DEBUG, help="Show the traceback of what goes wrong.")] = False,
) -> None:
    """Train, judge and use adversarial-example detectors."""


COMMANDS: tuple[Callable[..., None], ...] = (
    demo, train, calibrate, detect, export, serve, monitor, evaluate, attack, merge, certify, report, reproduce,
    motivation,
)  # fmt: skip
GROUPS: dict[str, tuple[str, dict[str, Callable[..., None]]]] = {
    "data": ("Data sets: list, fetch, prepare, show.",
             {"list": data_list, "fetch": fetch, "prepare": prepare, "show": data_show}),
    "new": ("Files to start from: detector.", {"detector": new_detector}),
    "recipe": ("Settings that ship for known data sets: list, show.", {"list": recipe_list, "show": recipe_show}),
    "results": ("Result files: check, convert.", {"check": check, "convert": convert}),
    "zoo": ("Detectors that ship with the package.", {"list": zoo_list, "show": zoo_show}),
}  # fmt: skip
"""Name of a group → what its help says, and its commands by name."""

for command in COMMANDS:
    app.command()(command)
for group, (explanation, commands) in GROUPS.items():
    inner = typer.Typer(no_args_is_help=True, help=explanation)
    for name, function in commands.items():
        inner.command(name)(function)
    app.add_typer(inner, name=group)
