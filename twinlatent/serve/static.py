"""The pages of the server, read into memory when it starts: an address is looked up among them, never on disk."""

import mimetypes
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

PAGES = Path(__file__).parent / "pages"
INDEX = "index.html"


@dataclass(frozen=True)
class Page:
    """A file that is served.

    Attributes:
        body: its bytes.
        kind: its type, for the header.
        tag: changes with its bytes.
    """

    body: bytes
    kind: str
    tag: str


def pages_of(folder: Path = PAGES) -> dict[str, Page]:
    """The files below a folder by address: `/` is its `index.html`, `/a/b.js` is `a/b.js`; hidden ones are left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in inside.parts) and path.suffix != ".py":
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            kind += "; charset=utf-8" if kind.startswith("text/") else ""
            body = path.read_bytes()
            address = f"/{inside.as_posix()}"
            page = Page(body, kind, f'"{sha256(body).hexdigest()[:32]}"')
            found[address.removesuffix(INDEX) if inside.name == INDEX else address] = page
    return found


def add_pages(app: "FastAPI", pages: dict[str, Page]) -> None:
    """Add a route for each; add all other routes before."""
    from fastapi import Request
    from fastapi.responses import Response

    async def page(request: Request) -> Response:
        found = pages[request.url.path]
        headers = {"ETag": found.tag, "Cache-Control": "no-cache", "Content-Type": found.kind}
        if request.headers.get("if-none-match") == found.tag:
            return Response(status_code=304, headers=headers)
        return Response(found.body, headers=headers)

    for address in pages:
        app.add_api_route(address, page, methods=["GET", "HEAD"], include_in_schema=False)
