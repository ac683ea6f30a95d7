"""Numbers in the docs that were measured can be traced: beside them stands a file of results/, or a page made of these.

What is looked at are paragraphs, list items and rows of tables. Code, equations and what scripts/pages.py writes are
left out. `NOT_MEASURED` has what only looks measured, with what it is.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
GENERATED = {"results.md", "ablations.md"}
PAGES = {path.name: path.read_text(encoding="utf-8")
         for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
         if path.name not in GENERATED}  # fmt: skip

WORDS = "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|half an|a quarter of an|and a"
COUNT = rf"(?:\d[\d,.]*|{WORDS})"
MEASURED = re.compile(
    r"(?<![\w.,/−-])[01]?\.\d{2,}(?!\d|\.\d)"  # a rate, an AUC
    r"|\bAUC (?:of |is )?\.?\d[\d.]*"
    rf"|\b{COUNT}[ -](?:core-)?(?:ms|s|seconds?|minutes?|hours?|half|[kMG]i?B)\b"
    r"|\d+\.\d+ ?(?:×|times\b)|× ?\d+\.\d+"
    r"|(?<![\d.])(?!(?:1|5|10) ?%)\d[\d.]* ?%"  # but for the rates that a user asks for
    r"|10⁻[⁰¹²³⁴⁵⁶⁷⁸⁹]+"
)
FILE = re.compile(r"results/[\w.-]+(?:/[\w.-]+)*\.json")
TRACED = re.compile(
    r"results/[\w.-]+(?:/[\w.-]+)*\.json|\]\((?:docs/)?(?:results|ablations)\.md[#)]|\]\(\.\./results/\w+\)"
)

NOT_MEASURED = {
    "cats_dogs.md": {
        "`partway` .25": "a setting",
        "by up to .08": "a setting",
    },
    "CONTRIBUTING.md": {"evaluation to 98 %": "a limit"},
    "detect.md": {"0.05 if you do not say it": "a default"},
    "export.md": {"since 1.14": "a version"},
    "look.md": {"every two seconds": "a setting", "at most 30 seconds": "a limit"},
    "method.md": {"such as .05": "an example of a rate"},
    "own_data.md": {"170 MB": "the size of a file of others"},
    "scale.md": {
        "(0.8 + 20.4/2) = 550 s": "arithmetic on the table above it, which names the file",
        "21,300 core-seconds": "the same",
        "1,420 core-hours": "the same",
        "109 s on the mean": "the same",
        "are 220 MB": "70,000 · 784 · 4 bytes",
        "of 3.1 kB": "784 · 4 bytes",
        "are 2.1 GB": "1,000 · 673 · 3.1 kB",
        "in 510 s 4 MB": "2.1 GB by 510 s",
        "= 510 s": "the same",
        "unit, 550 s": "the same",
        "two hours": "the longest of those that experiments/ names",
    },
    "serve.md": {
        "within 3 ms": "a setting",
        "0.05, not 0.05000000074505806": "how a number is written",
        "16 MiB": "a limit",
        "within 30 seconds": "a limit",
        "after 10 seconds": "a limit",
        "PNG (1 MiB": "a limit",
        "at most 30 seconds": "a limit",
        "load for 30 seconds": "a setting",
    },
    "symbols.md": {"0.25 in the recipe": "a setting", "so 0.05 inside": "arithmetic"},
    "trusting_a_result.md": {
        "its 95 % Wilson interval": "of which kind",
        "does not reach 100 %": "a limit",
        "within 0.01 to 100": "a limit",
        "a relative 0.0001; from 0.01 on": "limits",
        "one and a half times": "a limit",
    },
}
"""By page, words in which a number only looks measured, and what it is. Radii behind an ε, settings too, need none."""


RECKONED = {
    "export.md": {"less than 10⁻⁴": "what the file has is smaller"},
    "robust.md": {
        "between .029": ".734 of 79 by 2,000",
        "between about .090": ".7875 of .1145",
    },
    "scale.md": {
        "0.09 ms": "seconds by forward passes and images",
        "1.71 times": "835 by 490",
        "0.80 core-seconds an image: 51.4 s": "the sum of the suite's seconds, by images",
        "0.12 core-seconds an image: 2.49 s": "the sum of the black box's, three times, by images",
        "20.4 core-seconds": "a difference by images",
        "803 s and 117 s": "1,000 times the rows above",
    },
    "serve.md": {"1.5 GiB": "by twinlatent.serve.limits", "0.7 GiB": "the same"},
    "CONTRIBUTING.md": {"at most 25 MB": "a limit"},
}
"""Numbers beside a file of results/ that are not in it as they stand, and where they come from."""


def without_code(text: str) -> str:
    """The prose of a page: no blocks of code, no equations, nothing that scripts/pages.py has written."""
    text = re.sub(r"^( *)(```+).*?^\1\2[^\n]*$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!-- (\w+):begin -->.*?<!-- \1:end -->", "", text, flags=re.DOTALL)
    text = re.sub(r"\$\$.*?\$\$|\$[^$\n]+\$", "", text, flags=re.DOTALL)
    return re.sub(r"(?:^|(?<=\n\n))(?: {4}.*\n)+", "", text)


def pieces(text: str) -> Iterator[str]:
    """Its paragraphs, list items and rows of tables, each on one line."""
    for block in re.split(r"\n\s*\n", text):
        for piece in re.split(r"\n(?=\s*(?:[-*]|\d+\.) |\||#)|(?<=\|)\n", block):
            yield " ".join(piece.split())


def untraced(name: str, text: str) -> list[str]:
    """Numbers that look measured, with no file beside them, each with what stands around it."""
    found = []
    for piece in pieces(without_code(text)):
        if TRACED.search(piece):
            continue
        for words in NOT_MEASURED.get(name, {}):
            piece = piece.replace(words, "")
        prose = re.sub(r"ε (?:of )?[01]?\.\d+|`[^`]*`", "", piece)
        found += [f"{name}: {number[0]} in {prose[max(0, number.start() - 60) : number.end() + 40]!r}"
                  for number in MEASURED.finditer(prose)]  # fmt: skip
    return found


def numbers_of(value: Any) -> Iterator[float]:
    """All numbers in a JSON value."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from numbers_of(one)
    elif isinstance(value, int | float):
        yield float(value)


def not_in_their_files(name: str, text: str) -> list[str]:
    """Numbers that look measured and stand beside files of results/, but in none of these, rounded as they are here."""
    found = []
    for piece in pieces(without_code(text)):
        files = [path for file in FILE.findall(piece) if (path := ROOT / file).is_file()]
        held = [number for path in files for number in numbers_of(json.loads(path.read_text(encoding="utf-8")))]
        for words in RECKONED.get(name, {}):
            piece = piece.replace(words, "")
        for number in MEASURED.finditer(re.sub(r"ε (?:of )?[01]?\.\d+|`[^`]*`", "", piece)) if files else ():
            digits = re.search(r"\d*\.?\d[\d,]*(?:\.\d+)?", number[0])
            said = digits[0].replace(",", "") if digits else "nan"
            half = 0.5 * 10.0 ** -len(said.partition(".")[2]) + 1e-9
            if not any(abs(one - float(said)) <= half for one in held):
                found.append(f"{name}: {number[0]} is not in {', '.join(path.name for path in files)}")
    return found


@pytest.mark.parametrize("name", PAGES)
def test_what_stands_beside_a_file_is_in_it(name: str) -> None:
    assert not_in_their_files(name, PAGES[name]) == []


def test_a_number_that_its_file_does_not_have_is_found() -> None:
    said = "{} of faces ([file](../results/cats-dogs-mim.json))"
    assert not_in_their_files("x.md", said.format(".979")) == []
    assert not_in_their_files("x.md", said.format(".9777")) == ["x.md: .9777 is not in cats-dogs-mim.json"]


@pytest.mark.parametrize("name", PAGES)
def test_what_was_measured_can_be_traced(name: str) -> None:
    assert untraced(name, PAGES[name]) == []


def test_files_of_results_that_are_named_are_there() -> None:
    named = {file for text in PAGES.values() for file in FILE.findall(text)}
    made = {"results/gpu.json"}  # by scripts/gpu_check, on a machine that has a GPU
    assert len(named) > 8
    assert {file for file in named if not (ROOT / file).is_file()} <= made


def test_every_exception_is_needed() -> None:
    said = {name: " ".join(pieces(without_code(text))) for name, text in PAGES.items()}
    known = [(name, words) for table in (NOT_MEASURED, RECKONED) for name, one in table.items() for words in one]
    assert [(name, words) for name, words in known if words not in said[name]] == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Attacks pass on .95 of the images.", ".95"),
        ("It reaches\n0.987 at once.", "0.987"),
        ("AUC .9 of 200 images", "AUC .9"),
        ("| a | .45 |", ".45"),
        ("Text with [x](../results/serve.json).\n\n- It takes 12 s.", "12 s"),
        ("| a | 3.5 MB |\n| b | [x](../results/serve.json) |", "3.5 MB"),
        ("An evaluation takes an hour and a half.", "and a half"),
        ("In six minutes it is done.", "six minutes"),
        ("1.7 times as fast", "1.7 times"),
        ("Where 5 % is asked for, 12 % pass.", "12 %"),
        ("differs by 3·10⁻⁸", "10⁻⁸"),
        ("`detect` flags .86 of them at ε .05.", ".86"),
    ],
)
def test_a_number_without_a_file_is_found(text: str, number: str) -> None:
    assert [line.partition(" in ")[0] for line in untraced("x.md", text)] == [f"x.md: {number}"]


@pytest.mark.parametrize(
    "text",
    [
        ".95 of the images ([file](../results/mnist-mim.json))",
        "- .95 of the images, which\n  `results/mnist-mim.json` has",
        "In [results.md](results.md#black-box) it is .95.",
        "Text.\n\n    0.183019\n\n```json\n0.183019\n```\nAt ε .45, with `--fpr .01`, since Python 3.11, in $0.05$.",
        "<!-- a:begin -->\n| .95 |\n<!-- a:end -->",
        "A minute or two; version 0.1.0.",
    ],
)
def test_what_can_be_traced_or_is_not_measured_passes(text: str) -> None:
    assert untraced("x.md", text) == []
