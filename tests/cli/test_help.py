"""The help names and explains every command."""

import re
from collections.abc import Callable

import pytest


def test_help_names_every_command(ok: Callable) -> None:
    for words, commands in (
        (
            [],
            [
                "demo",
                "train",
                "detect",
                "evaluate",
                "report",
                "reproduce",
                "attack",
                "certify",
                "export",
                "motivation",
                "data",
                "zoo",
            ],
        ),
        (["data"], ["list", "fetch", "prepare", "show"]),
        (["zoo"], ["list", "show"]),
        (["results"], ["check", "convert"]),
        (["new"], ["detector"]),
    ):
        assert [name for name in commands if f" {name} " not in ok(*words, "--help").text] == []


@pytest.mark.parametrize(
    "command",
    [
        *("demo", "train", "calibrate", "detect", "evaluate", "report", "reproduce", "attack", "certify", "export"),
        *("data list", "data fetch", "data prepare", "data show", "zoo list", "zoo show", "results check"),
        *("motivation", "new detector"),
    ],
)
def test_every_command_explains_itself(command: str, ok: Callable) -> None:
    assert re.search(rf"Usage: .*twinlatent {command} ", ok(*command.split(), "--help").text)


def test_no_words_at_all_give_the_help(program: Callable) -> None:
    done = program()
    assert "Usage: " in done.out + done.err
    assert "Traceback" not in done.err
