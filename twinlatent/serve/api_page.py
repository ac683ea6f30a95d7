"""`/docs`: what can be asked, as one page without scripts, made of the OpenAPI description."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI

ADDRESS = "/docs"


@dataclass(frozen=True)
class Example:
    """Something that can be sent or is answered: what it is called, and JSON."""

    name: str
    text: str


@dataclass(frozen=True)
class Operation:
    """What is said of one route and method."""

    method: str
    path: str
    about: dict[str, Any]
    bodies: list[str]
    examples: list[Example]
    answer: str


def operations_of(description: dict[str, Any]) -> list[Operation]:
    """The operations of an OpenAPI description, with examples of what is sent and answered."""
    found = []
    for path, methods in description["paths"].items():
        for method, about in methods.items():
            kinds = about.get("requestBody", {}).get("content", {})
            examples = [Example(name, _json(one["value"])) for kind in kinds.values()
                        for name, one in kind.get("examples", {}).items()]  # fmt: skip
            good = about["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema", {})
            answer = _example_of(good, description)
            text = "" if answer in (None, {}) else _json(answer)
            found.append(Operation(method.upper(), path, about, list(kinds), examples, text))
    return found


def _example_of(schema: dict[str, Any], description: dict[str, Any]) -> Any:
    """What a value of that schema may look like, by the examples of its fields."""
    if "$ref" in schema:
        schema = description["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if schema.get("examples"):
        return schema["examples"][0]
    if schema.get("type") == "array":
        return [_example_of(schema.get("items", {}), description)]
    if "properties" in schema:
        return {name: _example_of(part, description) for name, part in schema["properties"].items()}
    return "…" if schema.get("type") == "string" else {} if schema.get("type") == "object" else None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def add_api_page(app: "FastAPI") -> None:
    """Add the page; what can be asked is read when it is, so that it has the routes that are added later."""
    from fastapi.responses import HTMLResponse
    from jinja2 import Environment, PackageLoader, StrictUndefined

    page = Environment(loader=PackageLoader("twinlatent.serve"), autoescape=True, undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True).get_template("api.html.j2")  # fmt: skip

    @app.get(ADDRESS, include_in_schema=False)
    async def api() -> HTMLResponse:
        description = app.openapi()
        return HTMLResponse(page.render(info=description["info"], operations=operations_of(description)))
