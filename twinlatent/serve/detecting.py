"""`/v1/models`: which detectors there are, and what they say of images."""

from typing import TYPE_CHECKING, Annotated, Any

from twinlatent.serve.answers import Detected, ModelInfo, Models, Refused
from twinlatent.serve.service import Service

if TYPE_CHECKING:
    from fastapi import FastAPI

BINARY = {"schema": {"type": "string", "format": "binary"}}
NUMBERS = {"schema": {"type": "object", "properties": {"images": {"type": "array", "items": {}}}},
           "examples": {"one image of 2 by 2 pixels": {"value": {"images": [[0.0, 0.25], [0.5, 1.0]]}},
                        "two of them": {"value": {"images": [[[0.0, 0.25], [0.5, 1.0]],
                                                             [[1.0, 0.5], [0.0, 0.0]]]}}}}  # fmt: skip
FORM = {"schema": {"type": "object", "properties": {"image": {"type": "array", "items": BINARY["schema"]}}}}
BODY: dict[str, Any] = {"requestBody": {"required": True, "content": {
    "image/png": BINARY, "image/jpeg": BINARY, "application/x-npy": BINARY, "multipart/form-data": FORM,
    "application/json": NUMBERS}}}  # fmt: skip
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refused, "description": why}
    for status, why in {
        400: "The body is empty, or no JSON or multipart.",
        401: "The token is missing, or another.",
        404: "There is no such model.",
        408: "The body did not arrive in time.",
        413: "Too many bytes, pixels or images.",
        415: "The body is no picture or array that is read.",
        422: "Images of another shape or range, a damaged file, or a rate that cannot be told.",
        503: "Too many requests are under way; `Retry-After` says when to ask again.",
    }.items()
}


def add_detecting(app: "FastAPI", service: Service) -> None:
    """Add its routes."""
    from fastapi import Path, Query, Request
    from fastapi.responses import JSONResponse

    name_of = Path(description="Name of a detector, as `/v1/models` lists them.", examples=list(service.models))
    rate_of = Query(description="Share of benign images that may be flagged; default: the server's.", gt=0, lt=1)

    @app.get("/v1/models", tags=["detect"], summary="Which detectors there are", response_model=Models)
    async def models() -> Models:
        return Models(models=service.infos)

    @app.get("/v1/models/{name}", tags=["detect"], summary="One of them", response_model=ModelInfo,
             responses={404: REFUSALS[404]})  # fmt: skip
    async def model(name: Annotated[str, name_of]) -> ModelInfo:
        return service.info(name)

    @app.post("/v1/models/{name}/detect", tags=["detect"], summary="Classify images and say which are adversarial",
              response_model=Detected, responses=REFUSALS, openapi_extra=BODY)  # fmt: skip
    async def detect(
        request: Request,
        name: Annotated[str, name_of],
        fpr: Annotated[float | None, rate_of] = None,
        invert: Annotated[bool, Query(description="Invert the images first: MNIST is white on black.")] = False,
    ) -> JSONResponse:
        """Send one PNG, JPEG or .npy file as the body, several as `multipart/form-data`, or JSON.

        Pictures are greyed or not as the detector asks, and resized. Arrays and lists must have its shape, (H, W),
        (n, H, W), (channels, H, W) or (n, channels, H, W), with values from 0 to 1; in .npy also bytes from 0 to 255.
        """
        rate = service.rate(name, fpr)
        async with service.body(request) as body:
            images = await service.images(name, body, request.headers.get("content-type", ""))
            results = await service.verdicts(name, 1 - images if invert else images, rate)
        return JSONResponse({"model": name, "fpr": rate, "results": [one.model_dump() for one in results]})
