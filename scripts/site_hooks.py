"""What MkDocs asks while it makes the site: pages that are not in docs/, and Markdown as GitHub understands it.

Pages that are made here: the changelog, from CHANGELOG.md; the commands; a page of reference a module, of its public
names, which are read from the source; a list of each of the FOLDERS that pages point into, whose files go along.
"""

import ast
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

from math_core import LatexError, LatexToMathML
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from site_commands import page as commands

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"results": (".json",), "examples": (".py", ".ipynb"), "experiments": (".toml",)}
"""Beside docs/: what pages point into, and the endings of the files of it that go along."""
MODULES = tuple(
    f"twinlatent{name}" for name in ("", ".attacks", ".criteria", ".data", ".bridges", ".monitor", ".testing")
)
"""Each has a page of reference."""
MATH = LatexToMathML()
FENCE = re.compile(r"^( *)(```+|~~~+).*?^\1\2[^\n]*$", re.MULTILINE | re.DOTALL)
ITEM = r" *(?:[-*]|\d+\.) "


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here, and the files that pages point at."""
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "site.css", abs_src_path=str(ROOT / "scripts" / "site.css")))
    made = {"changelog.md": re.sub(r"\]\(docs/", "](", changes)}
    made["reference/commands.md"] = commands()
    made |= {f"reference/{module}.md": reference(module) for module in MODULES}
    for folder, endings in FOLDERS.items():
        paths = sorted(path for path in (ROOT / folder).rglob("*") if path.suffix in endings)
        names = [path.relative_to(ROOT).as_posix() for path in paths]
        made[f"files/{folder}.md"] = listing(folder, names)
        for path, name in zip(paths, names, strict=True):
            files.append(File.generated(config, f"files/{name}", abs_src_path=str(path)))
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Mend what GitHub reads otherwise, outside of code: where lists begin, what is in details, links out of docs/."""
    return "".join(f"{part}\n" if is_code else as_here(part) for part, is_code in parts(markdown))


def on_page_content(html: str, **_: Any) -> str:
    """Equations as MathML, which browsers show without a script."""
    return re.sub(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', mathml, html, flags=re.DOTALL)


def parts(markdown: str) -> Iterator[tuple[str, bool]]:
    """The text in pieces, and whether each is a fenced block."""
    end = 0
    for block in FENCE.finditer(markdown):
        yield markdown[end : block.start()], False
        yield block[0], True
        end = block.end()
    yield markdown[end:], False


def as_here(markdown: str) -> str:
    """Prose for Python-Markdown: an empty line before a list; links beside docs/ go to where the site has the file."""
    lines: list[str] = []
    for line in markdown.split("\n"):
        before = lines[-1] if lines else ""
        if re.match(ITEM, line) and before.strip() and not re.match(rf"{ITEM}|  ", before):
            lines.append("")
        lines.append(line)
    text = re.sub(r"\]\(\.\./([^)]+)\)", lambda link: f"]({place(link[1])})", "\n".join(lines))
    text = text.replace("<details>", '<details markdown="1">')
    return re.sub(r"\[(\w+\.md)\](?=\(\1[#)])", lambda link: f"[{title(ROOT / 'docs' / link[1])}]", text)


def title(page: Path) -> str:
    """What a page is called: links that show the name of its file show this."""
    return page.read_text(encoding="utf-8").partition("# ")[2].partition("\n")[0]


def place(name: str) -> str:
    """Where the site has a file or folder beside docs/.

    Raises:
        PluginError: a file that does not go along.

    Example:
        >>> place("results/serve.json"), place("results"), place("CHANGELOG.md")
        ('files/results/serve.json', 'files/results.md', 'changelog.md')
    """
    folder = name.partition("/")[0]
    if folder in FOLDERS:
        if Path(name).suffix in FOLDERS[folder]:
            return f"files/{name}"
        if not (ROOT / name).is_dir():
            raise PluginError(f"a page links ../{name}; of {folder}/ the site has {', '.join(FOLDERS[folder])}")
        return f"files/{folder}.md"
    return name.lower()


def mathml(found: re.Match[str]) -> str:
    """An equation that arithmatex has found; what is no LaTeX ends the build."""
    try:
        return MATH.convert_with_local_state(unescape(found[2]).strip(), displaystyle=found[1] == "div")
    except LatexError as error:
        raise PluginError(f"equation {found[2].strip()!r}: {error}") from error


def reference(module: str) -> str:
    """A page of the public names of a module, each with its docstring.

    Args:
        module: its name; one with `__all__`, or all of whose names without an underscore are public.
    """
    tree = ast.parse(source_of(module).read_text(encoding="utf-8"))
    names = [name for name in public_names(tree) if f"{module}.{name}" not in MODULES and name != "__version__"]
    about = f"::: {module}\n    options: {{members: false, heading_level: 1}}\n"
    return "\n".join([about, *(f"::: {module}.{name}\n" for name in names)])


def source_of(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def public_names(tree: ast.Module) -> list[str]:
    """What `__all__` says, or without it all functions and classes that do not begin with an underscore."""
    defined = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            defined.append(node.name)
    return defined


def listing(folder: str, names: list[str]) -> str:
    """A page that links each file."""
    links = [f"- [{name.partition('/')[2]}]({name})" for name in names]
    return "\n".join([f"# {folder}/", "", f"Files of `{folder}/`, as they are.", "", *links, ""])
