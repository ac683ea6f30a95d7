"""All that the server's pages ask for, beside `detect`: what it offers, attacks, benign images, an evaluation."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from twinlatent.serve.looking.attacking import add_attacking
from twinlatent.serve.looking.benign import Examples, add_benign
from twinlatent.serve.looking.watching import REPORT, add_watching
from twinlatent.serve.service import Service
from twinlatent.serve.static import Page

if TYPE_CHECKING:
    from fastapi import FastAPI

EVALUATION = "/evaluation"
OWN_KEY = (REPORT,)
"""What asks for a key of its own instead of a token."""


class Offered(BaseModel):
    """What the pages can ask this server for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fpr: float = Field(description="Share of benign images that may be flagged, where a request names none.")
    attacks: bool = Field(description="Whether it attacks.")
    most_steps: int = Field(description="Of an attack.")
    examples: list[str] = Field(description="Models that it has benign images of.")
    evaluation: bool = Field(description="Whether it watches an evaluation.")


def with_evaluation(pages: Mapping[str, Page]) -> dict[str, Page]:
    """The pages, that of the evaluation under its short address too."""
    page = pages.get(f"{EVALUATION}.html")
    return dict(pages) if page is None else {**pages, EVALUATION: page}


def add_looking(app: "FastAPI", service: Service, examples: Mapping[str, Examples]) -> None:
    """Add all routes; `examples` are benign images of some models."""
    settings, known = service.settings, dict(examples)

    @app.get("/v1/page", tags=["look"], summary="What this server offers", response_model=Offered)
    async def page() -> Offered:
        return Offered(fpr=settings.fpr, attacks=settings.attacks, most_steps=settings.most_steps,
                       examples=list(known), evaluation=settings.watch is not None)  # fmt: skip

    if settings.attacks:
        add_attacking(app, service)
    add_benign(app, service, known)
    add_watching(app, settings.watch)
