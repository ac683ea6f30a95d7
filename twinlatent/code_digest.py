"""A digest of the package's code, so that kept work is resumed only by the code that began it."""

import ast
import hashlib
from functools import cache
from pathlib import Path

from twinlatent.provenance import version_of

PACKAGE = Path(__file__).parent
LEARNING = ("arguments", "attacks", "baselines", "criteria", "data", "method", "motivation", "outputs", "torch_state")
"""What decides the numbers of a training or an attack."""
MEASURING = (*LEARNING, "evaluation")
"""What decides those of an evaluation."""
LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn")


def code_identity(parts: tuple[str, ...] = MEASURING) -> dict[str, str]:
    """The code that runs: `code`, see `code_digest`, and the version of each library that computes."""
    return {"code": code_digest(parts), **{name: version_of(name) for name in LIBRARIES}}


@cache
def code_digest(parts: tuple[str, ...] = MEASURING, package: Path = PACKAGE) -> str:
    """SHA-256, in hex, of the statements of the modules and subpackages `parts`.

    Comments, docstrings and layout do not count: they change no number. Where the sources are no plain files, only the
    version tells.
    """
    content = hashlib.sha256(version_of("twinlatent").encode())
    for part in sorted(parts):
        for path in sorted([package / f"{part}.py", *(package / part).rglob("*.py")]):
            if path.exists():
                content.update(path.relative_to(package).as_posix().encode() + b"\0")
                content.update(_statements(path.read_text(encoding="utf-8")).encode() + b"\0")
    return content.hexdigest()


@cache
def _statements(source: str) -> str:
    """The source without comments, docstrings (texts that stand alone) and layout.

    Found once: the parts of a training are among those of its evaluation.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [line for line in node.body if not _is_text(line)] or [ast.Pass()]
    return ast.unparse(tree)


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)
