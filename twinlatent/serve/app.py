"""The application: routes, pages, refusals, and the gate before them all."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from twinlatent.errors import TwinlatentError, extra, listed
from twinlatent.serve.answers import version
from twinlatent.serve.api_page import ADDRESS, add_api_page
from twinlatent.serve.detecting import REFUSALS, add_detecting
from twinlatent.serve.gate import Gate
from twinlatent.serve.health import OPEN, add_health
from twinlatent.serve.inference_protocol import add_inference_protocol
from twinlatent.serve.looking import OWN_KEY, add_looking, with_evaluation
from twinlatent.serve.refusals import Refusal, refusal_of
from twinlatent.serve.service import Service
from twinlatent.serve.settings import ServeSettings
from twinlatent.serve.static import add_pages, pages_of

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request

    from twinlatent.method.calibrated import CalibratedDetector
    from twinlatent.serve.looking.benign import Examples

ABOUT = "Classifies images and says which were changed so that a classifier gets them wrong."


def create_app(
    models: "Mapping[str, CalibratedDetector]",
    settings: ServeSettings | None = None,
    examples: "Mapping[str, Examples] | None" = None,
) -> "FastAPI":
    """The ASGI application that serves detectors.

    Args:
        models: by the name that is part of their addresses.
        settings: limits, rate, token, log.
        examples: benign images of some of them, for the page.

    Raises:
        TwinlatentError: a detector cannot tell the rate, the log cannot be written, or the extra `serve` is missing.
    """
    needs_extra()
    from fastapi import Depends, FastAPI
    from fastapi.security import HTTPBearer

    service, pages = Service(models, settings or ServeSettings()), with_evaluation(pages_of())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    shown = [] if service.settings.token is None else [Depends(HTTPBearer(auto_error=False, description="The token."))]
    app = FastAPI(title="twinlatent", description=ABOUT, version=version(), docs_url=None, redoc_url=None,
                  redirect_slashes=False, lifespan=lifespan, responses={422: REFUSALS[422]},
                  dependencies=[*shown, Depends(_only_known_parameters())])  # fmt: skip
    app.state.service = service
    # A new group of routes is a function like these in a file of its own, called here.
    add_detecting(app, service)
    add_inference_protocol(app, service)
    add_health(app, service)
    add_looking(app, service, examples or {})
    add_api_page(app)
    add_pages(app, pages)  # last: what is above goes before a page of the same address
    _add_refusals(app)
    app.add_middleware(Gate, service=service, open_to_all={*OPEN, *OWN_KEY, *pages, ADDRESS, "/openapi.json"})
    return app


def needs_extra() -> None:
    """Raise `TwinlatentError` unless what the extra `serve` brings is there."""
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise TwinlatentError(f"serving needs {error.name}; install it: {extra('serve')}") from None


def _only_known_parameters() -> "Callable[[Request], Awaitable[None]]":
    """A check of each request of `/v1`: a misspelt parameter would leave its default in force, unnoticed."""
    from fastapi import Request

    async def check(request: Request) -> None:
        route = request.scope["route"]
        if not route.path.startswith("/v1/"):
            return
        known = [parameter.alias for parameter in route.dependant.query_params]
        for name in request.query_params:
            if name not in known:
                takes = f"it takes {listed(known, most=10)}" if known else "it takes none"
                raise Refusal(422, f"{name[:64]!r} is no parameter of this address; {takes}")

    return check


def _add_refusals(app: "FastAPI") -> None:
    """Every error is one line, {"error": ...}."""
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException

    def answer(refusal: Refusal) -> JSONResponse:
        return JSONResponse({"error": str(refusal)}, refusal.status, refusal.headers)

    @app.exception_handler(TwinlatentError)
    async def ours(_: "Request", error: TwinlatentError) -> JSONResponse:
        return answer(refusal_of(error))

    @app.exception_handler(HTTPException)
    async def of_routing(_: "Request", error: HTTPException) -> JSONResponse:
        line = {404: f"there is no such address; {ADDRESS} lists those that there are",
                405: f"this address takes {(error.headers or {}).get('Allow', 'another method')}"}  # fmt: skip
        return answer(Refusal(error.status_code, line.get(error.status_code, str(error.detail)), error.headers))

    @app.exception_handler(RequestValidationError)
    async def of_parameters(_: "Request", error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return answer(Refusal(422, f"{first['loc'][-1]} is {str(first.get('input'))[:64]!r}: {first['msg']}"))
