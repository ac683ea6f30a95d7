"""No special case for a data set's name or an image's size outside recipes/ and data/; no long file, no long function.

The rules are functions of a source, so that the last tests can show that each is able to fail.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from twinlatent.data.sources import SOURCES

ROOT = Path(__file__).resolve().parent.parent
PATHS = sorted((ROOT / "twinlatent").rglob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 350, 70
SIZES = {"image_shape", "side", "height", "width", "pixels"}
"""Names of what an image's size is called."""
ORDER = ast.Lt | ast.LtE | ast.Gt | ast.GtE | ast.Eq | ast.NotEq
KNOWN_HERE = ("recipes", "data")


def special_cases(source: str) -> list[str]:
    """Comparisons with a data set's name, or of an image's size with a constant."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            sized = any(mentions_size(part) for part in sides) and any(is_constant(part) for part in sides)
            named = any(is_name(text) for part in sides for text in texts(part))
            if named or (sized and any(isinstance(operator, ORDER) for operator in node.ops)):
                found.append(f"line {node.lineno}: {ast.unparse(node)}")
        elif isinstance(node, ast.MatchValue) and any(is_name(text) for text in texts(node.value)):
            found.append(f"line {node.lineno}: case {ast.unparse(node)}")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            likeness = node.func.attr in ("startswith", "endswith", "removeprefix", "partition")
            if likeness and any(begins_like_a_name(text) for part in node.args for text in texts(part)):
                found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


def mentions_size(node: ast.expr) -> bool:
    """Whether the size itself is compared: a name of it, or an element or the shorter one of it."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in SIZES
        case ast.Subscript(value=value):
            return mentions_size(value) or (isinstance(value, ast.Attribute) and value.attr == "shape"
                                            and "image" in ast.unparse(value))  # fmt: skip
        case ast.Call(func=ast.Name(id="min" | "max" | "prod"), args=arguments):
            return any(mentions_size(part) for part in arguments)
    return False


def is_constant(node: ast.expr) -> bool:
    """A number larger than the channels of an image, or a name in capitals."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float) and node.value > 4
    return isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node).rpartition(".")[2].isupper()


def texts(node: ast.expr) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def is_name(text: str) -> bool:
    return text in SOURCES


def begins_like_a_name(text: str) -> bool:
    return len(text) > 3 and any(name.startswith(text) or text.startswith(name) for name in SOURCES)


def too_long(source: str) -> list[str]:
    """Files and functions that are longer than the house allows."""
    lines = len(source.splitlines())
    found = [f"{lines} lines, {LONGEST_FILE} are allowed"] if lines > LONGEST_FILE else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                found.append(f"{node.name} has {length} lines, {LONGEST_FUNCTION} are allowed")
    return found


def offences(rule, without: tuple[str, ...] = ()) -> list[str]:
    inside = [path for path in PATHS if path.relative_to(ROOT / "twinlatent").parts[0] not in without]
    assert len(inside) > 100, "the sources were not found"
    return [f"{path.relative_to(ROOT)}: {line}" for path in inside for line in rule(path.read_text(encoding="utf-8"))]


def test_nothing_but_recipes_and_data_knows_a_data_set_or_a_size() -> None:
    assert offences(special_cases, KNOWN_HERE) == []


def test_no_file_and_no_function_is_long() -> None:
    assert offences(too_long) == []


@pytest.mark.parametrize(
    "source",
    [
        "if split.name == 'digits': pass",
        "if data in ('mnist', 'other'): pass",
        "x = {} if name != 'cats-dogs' else {}",
        "if name.startswith('fashion'): pass",
        "match name:\n    case 'mnist':\n        pass",
        "if image_shape[-1] <= 12: pass",
        "if split.image_shape[-1] >= LARGE_SIDE: pass",
        "if side > 27: pass",
        "if min(height, width) < presets.SMALL: pass",
        "if images.shape[-1] == 64: pass",
    ],
)
def test_a_special_case_is_found(source: str) -> None:
    assert len(special_cases(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "TABLE = {'mnist': 3}",
        "if detector.image_shape != split.image_shape: pass",
        "split = load('digits')",
        "if weight.shape[-1] >= WIDE_KERNEL: pass",
        "if name == 'gong': pass",
        "if side is None: pass",
    ],
)
def test_what_is_none_is_left_alone(source: str) -> None:
    assert special_cases(source) == []


def test_length_is_counted() -> None:
    body = "\n".join("    pass" for _ in range(LONGEST_FUNCTION))
    assert too_long(f"def f():\n{body}") == ["f has 71 lines, 70 are allowed"]
    assert too_long("pass\n" * 351) == ["351 lines, 350 are allowed"]
