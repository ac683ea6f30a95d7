"""Docstrings as mkdocstrings expects them: examples, which the package writes under `Example:` or on their own."""

import re
import textwrap
from typing import Any

from griffe import Extension, Object

ON_ITS_OWN = re.compile(r"(?:\A|(?<=\n\n))>>> .*?(?=\n\n(?!>>>)|\Z)", re.DOTALL)


class Examples(Extension):
    """Make sections of all examples."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Change the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = with_sections(obj.docstring.value)

    def on_package(self, *, pkg: Object, **_: Any) -> None:
        """The same of the package itself."""
        self.on_object(obj=pkg)


def with_sections(docstring: str) -> str:
    """The docstring with its examples in sections of the name that is expected."""
    named = re.sub(r"^Example:$", "Examples:", docstring, flags=re.MULTILINE)
    return ON_ITS_OWN.sub(lambda found: "Examples:\n" + textwrap.indent(found[0], "    "), named)
