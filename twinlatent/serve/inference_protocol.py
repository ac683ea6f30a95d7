"""`/v2`: the Open Inference Protocol (KServe's version 2), for clients that speak it already."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twinlatent.serve.answers import ImageVerdict, version
from twinlatent.serve.detecting import REFUSALS
from twinlatent.serve.health import unready
from twinlatent.serve.reading import check_json, checked_count
from twinlatent.serve.refusals import Refusal
from twinlatent.serve.service import Service
from twinlatent.serve.settings import ServeSettings

if TYPE_CHECKING:
    from fastapi import FastAPI
    from torch import Tensor

TAGS: list[Any] = ["Open Inference Protocol"]
INPUT = "images"
OUTPUTS = {"label": "INT64", "class_name": "BYTES", "p_value": "FP32", "adversarial": "BOOL", "suspicion": "FP32"}
"""Name → type of each output, one value an image."""
WHITE = 255
"""In UINT8."""
VERSION = "1"
"""Of each model: a detector that changes gets another fingerprint, not another version."""
HEADER_LENGTH = "inference-header-content-length"
"""With it a request of the binary extension says where its JSON ends."""
BINARY = "the binary tensor extension is not spoken here; send data as JSON (binary_data=False in Triton's client)"


class InputTensor(BaseModel):
    """Images as the protocol gives tensors."""

    model_config = ConfigDict(frozen=True)

    name: Literal["images"]
    shape: list[Annotated[int, Field(ge=1)]] = Field(min_length=2, max_length=4, examples=[[1, 1, 28, 28]])
    datatype: Literal["FP16", "FP32", "FP64", "UINT8"]
    data: list[Any] = Field(description="Flat or nested, row by row; floats from 0 to 1, UINT8 from 0 to 255.")


class OutputWanted(BaseModel):
    """An output that is asked for."""

    model_config = ConfigDict(frozen=True)

    name: Literal["label", "class_name", "p_value", "adversarial", "suspicion"]


class Parameters(BaseModel):
    """Of a request; those of others are left alone."""

    model_config = ConfigDict(frozen=True)

    fpr: float | None = Field(None, gt=0, lt=1, description="Share of benign images that may be flagged.")


class InferRequest(BaseModel):
    """What is asked."""

    model_config = ConfigDict(frozen=True)

    id: str | None = None
    parameters: Parameters = Parameters()
    inputs: list[InputTensor] = Field(min_length=1, max_length=1)
    outputs: list[OutputWanted] | None = None


class OutputTensor(BaseModel):
    """One output of all images."""

    model_config = ConfigDict(frozen=True)

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


class InferAnswer(BaseModel):
    """What is answered."""

    model_config = ConfigDict(frozen=True)

    model_name: str
    model_version: str = Field(VERSION, examples=[VERSION])
    id: str | None = None
    parameters: dict[str, float] = Field(examples=[{"fpr": 0.05}])
    outputs: list[OutputTensor]


def whole_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Its JSON schema with all parts in their place, as it can stand in a description of others."""
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})

    def put(value: Any) -> Any:
        if isinstance(value, list):
            return [put(one) for one in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            return put(parts[value["$ref"].rpartition("/")[2]])
        return {name: put(one) for name, one in value.items()}

    found: dict[str, Any] = put(schema)
    return found


EXAMPLE = {"inputs": [{"name": INPUT, "shape": [1, 2, 2], "datatype": "FP32", "data": [0.0, 0.25, 0.5, 1.0]}],
           "parameters": {"fpr": 0.05}}  # fmt: skip
JSON_BODY = {"schema": whole_schema(InferRequest), "examples": {"one image of 2 by 2 pixels": {"value": EXAMPLE}}}
BODY = {"requestBody": {"required": True, "content": {"application/json": JSON_BODY}}}


def read_request(body: bytes, image_shape: tuple[int, ...], settings: ServeSettings) -> "tuple[InferRequest, Tensor]":
    """What a body asks, and its images (n, channels, H, W) in [0, 1].

    Raises:
        TwinlatentError: it is no request of the protocol, or holds others or too many images.
    """
    from twinlatent.data.files import images_of_array

    check_json(body, image_shape, settings)
    try:
        asked = InferRequest.model_validate_json(body)
    except ValidationError as error:
        if b'"binary_data_size"' in body:
            raise Refusal(400, BINARY) from None
        first = error.errors(include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise Refusal(400, f"the body is no inference request: {f'{place}: ' if place else ''}{first['msg']}") from None
    (given,) = asked.inputs
    wrong = Refusal(422, f"images: the data do not fill the shape {given.shape} with numbers; mend one of them")
    try:
        values = np.asarray(given.data)
        values = values.reshape(given.shape)
    except (ValueError, OverflowError):
        raise wrong from None
    if values.dtype.kind not in "iuf":
        raise wrong
    if given.datatype == "UINT8":
        if values.dtype.kind == "f" or values.min() < 0 or values.max() > WHITE:
            raise Refusal(422, f"images: UINT8 holds whole numbers from 0 to {WHITE}; send others as FP32, from 0 to 1")
        values = values.astype(np.uint8)
    else:
        values = values.astype(np.float64)
    return asked, checked_count(images_of_array(INPUT, values, image_shape), settings)


def outputs_of(results: list[ImageVerdict], wanted: list[OutputWanted] | None) -> list[OutputTensor]:
    """The outputs that are wanted, in that order; all where none is named."""
    columns: dict[str, list[Any]] = {
        "label": [one.class_index for one in results],
        "class_name": [one.label for one in results],
        "p_value": [one.p_value for one in results],
        "adversarial": [one.adversarial for one in results],
        "suspicion": [one.suspicion for one in results],
    }
    names = [one.name for one in wanted] if wanted else list(OUTPUTS)
    return [OutputTensor(name=name, datatype=OUTPUTS[name], shape=[len(results)], data=columns[name]) for name in names]


def add_inference_protocol(app: "FastAPI", service: Service) -> None:
    """Add its routes."""
    from fastapi.responses import JSONResponse

    @app.get("/v2/", include_in_schema=False)
    @app.get("/v2", tags=TAGS, summary="About the server")
    async def about() -> dict[str, Any]:
        return {"name": "twinlatent", "version": version(), "extensions": []}

    @app.get("/v2/health/live", tags=TAGS, summary="Whether the process lives")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready", tags=TAGS, summary="Whether it can answer", responses={503: {"description": "No."}})
    async def ready() -> JSONResponse:
        failed = unready(service)
        return JSONResponse({"ready": not failed}, 503 if failed else 200)

    def known(name: str, version: str) -> None:
        service.model(name)
        if version != VERSION:
            raise Refusal(404, f"{name} has no version {version[:64]!r}; there is {VERSION}")

    _add_of_models(app, service, "/v2/models/{name}", None)
    _add_of_models(app, service, "/v2/models/{name}/versions/{version}", known)


def _add_of_models(app: "FastAPI", service: Service, at: str, known: Callable[[str, str], None] | None) -> None:
    """Those below the address of a model, or of a version of it, which is asked of `known` first."""
    from fastapi import Depends, Request
    from fastapi.responses import JSONResponse

    first = [] if known is None else [Depends(known)]

    @app.get(at, tags=TAGS, summary="Inputs and outputs of a detector", responses={404: REFUSALS[404]},
             dependencies=first)  # fmt: skip
    async def metadata(name: str) -> dict[str, Any]:
        shape = service.model(name).image_shape
        return {"name": name, "versions": [VERSION], "platform": "twinlatent_pytorch",
                "inputs": [{"name": INPUT, "datatype": "FP32", "shape": [-1, *shape]}],
                "outputs": [{"name": own, "datatype": kind, "shape": [-1]} for own, kind in OUTPUTS.items()],
                }  # fmt: skip

    @app.get(f"{at}/ready", tags=TAGS, summary="Whether a detector can be asked", responses={404: REFUSALS[404]},
             dependencies=first)  # fmt: skip
    async def model_ready(name: str) -> JSONResponse:
        service.model(name)
        failed = unready(service)
        return JSONResponse({"name": name, "ready": not failed}, 503 if failed else 200)

    @app.post(f"{at}/infer", tags=TAGS, summary="Classify images and say which are adversarial",
              response_model=InferAnswer, responses=REFUSALS, openapi_extra=BODY, dependencies=first)  # fmt: skip
    async def infer(request: Request, name: str) -> JSONResponse:
        """The input is `images`; of each image the outputs are label, class_name, p_value, adversarial, suspicion."""
        shape = service.model(name).image_shape
        if HEADER_LENGTH in request.headers:
            raise Refusal(400, BINARY)
        async with service.body(request) as body:
            asked, images = await service.read(read_request, body, shape, service.settings)
            rate = service.rate(name, asked.parameters.fpr)
            results = await service.verdicts(name, images, rate)
        answer = InferAnswer(model_name=name, id=asked.id, parameters={"fpr": rate},
                             outputs=outputs_of(results, asked.outputs))  # fmt: skip
        return JSONResponse(answer.model_dump(exclude_none=True))
