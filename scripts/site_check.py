"""Read a built site: it must load nothing from another host, and every link within it must lead somewhere.

python scripts/site_check.py site
"""

import re
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {"src", "srcset", "data", "poster"}
"""Attributes that a browser loads from, whatever the element; `href` it only follows, but for `link`."""
IN_STYLES = re.compile(r"(?:url\(\s*|@import\s+)[\"']?([^\"')\s;]+)")


@dataclass
class Page(HTMLParser):
    """What a page loads, where it links, and the anchors that it has."""

    loads: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the element asks for."""
        for name, given in attrs:
            value = given or ""
            if name in LOADS or (tag == "link" and name == "href"):
                self.loads.append(value)
            elif name == "href":
                self.links.append(value)
            elif name == "style":
                self.loads += IN_STYLES.findall(value)
            elif name in ("id", "name"):
                self.anchors.add(value)


def read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def pages_of(site: Path) -> dict[Path, Page]:
    """All pages of a site, in its folder."""
    return {path.resolve(): read(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}


def within(page: Page) -> list[str]:
    """What a page loads and links that is no other host's."""
    return [address for address in (*page.loads, *page.links) if not any(urlsplit(address)[:2])]


def faults(site: Path) -> list[str]:
    """What is wrong with a site, a line each.

    Args:
        site: its folder.
    """
    pages = pages_of(site)
    if not pages:
        return [f"{site}: no page"]
    found = []
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        found += [f"{name} loads {address}" for address in page.loads if is_elsewhere(address)]
        found += [f"{name} links {address}, which is not there" for address in within(page)
                  if not leads(address, path, pages)]  # fmt: skip
    for path in sorted(site.rglob("*.css")):
        text = path.read_text(encoding="utf-8")
        found += [f"{path.relative_to(site)} loads {address}" for address in IN_STYLES.findall(text)
                  if is_elsewhere(address)]  # fmt: skip
    return found


def is_elsewhere(address: str) -> bool:
    """Whether an address is on another host; `data:` is none."""
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def leads(address: str, page: Path, pages: dict[Path, Page]) -> bool:
    """Whether an address within the site has its file, and its anchor."""
    parts = urlsplit(address)
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    target = target / "index.html" if target.is_dir() else target
    if parts.fragment and target in pages:
        return unquote(parts.fragment) in pages[target].anchors
    return target.is_file()


def main() -> int:
    site = Path(sys.argv[1])
    found, pages = faults(site), pages_of(site)
    for line in found:
        print(f"site: {line}", file=sys.stderr)
    if not found:
        print(
            f"site: {len(pages)} pages, {sum(len(within(page)) for page in pages.values())} links, each leads somewhere"
        )
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
