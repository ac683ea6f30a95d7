"""Write the pages that show results/: docs/results.md, docs/ablations.md and the tables of README.md.

python scripts/pages.py [--check]

Prose is in scripts/templates/, numbers come from results/ by the files of tables, such as scripts/tables.py.
With --check nothing is written: it says which page does not show what results/ holds.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import colour_tables
import robust_tables
import shift_tables
import survival_tables
import tables
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from twinlatent.files import write_text

TEMPLATES = tables.ROOT / "scripts" / "templates"
GENERATED = "results.md", "ablations.md"
README = tables.ROOT / "README.md"


def rendered(name: str) -> str:
    """The page whose template has this name; what a template names and all files of tables lack is an error."""
    loader = FileSystemLoader(TEMPLATES)
    environment = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True)  # of Markdown
    environment.filters["lines"] = "\n".join
    files = (tables, colour_tables, robust_tables, shift_tables, survival_tables)
    return environment.get_template(f"{name}.j2").render({k: v for file in files for k, v in vars(file).items()})


def with_table(text: str, name: str, rows: Iterator[str]) -> str:
    """The text of README.md with a table between its marks."""
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
    before, rest = text.split(begin)
    return f"{before}{begin}{chr(10).join(rows)}\n{end}{rest.split(end)[1]}"


def pages() -> dict[Path, str]:
    """Every page as it should be."""
    readme = with_table(README.read_text(encoding="utf-8"), "headline", tables.headline())
    readme = with_table(readme, "which", robust_tables.which())
    return {README: readme} | {tables.ROOT / "docs" / name: rendered(name) for name in GENERATED}


def main() -> int:
    """Write or check."""
    status = 0
    for path, wanted in pages().items():
        if "--check" not in sys.argv[1:]:
            write_text(path, wanted)
        elif not path.exists() or path.read_text(encoding="utf-8") != wanted:
            print(f"{path.name} does not show the numbers of results/: run scripts/pages.py", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
