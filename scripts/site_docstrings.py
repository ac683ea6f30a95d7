"""What mkdocstrings is told of the package: examples as it expects them, and what a class shows of its own."""

import re
import textwrap
from typing import Any

from griffe import Attribute, Class, Extension, Object

ON_ITS_OWN = re.compile(r"(?:\A|(?<=\n\n))>>> .*?(?=\n\n(?!>>>)|\Z)", re.DOTALL)


class Readable(Extension):
    """Make sections of all examples, and leave out attributes that only repeat what the class says of them."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Change the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = with_sections(obj.docstring.value)
        if isinstance(obj, Class):
            for name, member in tuple(obj.members.items()):
                if isinstance(member, Attribute) and repeats(obj, member):
                    del obj.members[name]

    def on_package(self, *, pkg: Object, **_: Any) -> None:
        """The same of the package itself."""
        self.on_object(obj=pkg)


def with_sections(docstring: str) -> str:
    """The docstring with its examples, written under `Example:` or alone, in sections of the name that is expected."""
    named = re.sub(r"^Example:$", "Examples:", docstring, flags=re.MULTILINE)
    return ON_ITS_OWN.sub(lambda found: "Examples:\n" + textwrap.indent(found[0], "    "), named)


def repeats(owner: Class, attribute: Attribute) -> bool:
    """Whether an attribute has neither words nor a type of its own, or the class's list of attributes has the words."""
    if attribute.docstring:
        return False
    listed = owner.docstring.value.partition("Attributes:\n")[2] if owner.docstring else ""
    return attribute.annotation is None or f"    {attribute.name}: " in listed
