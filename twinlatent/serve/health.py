"""Whether the server lives and can answer, and its counters."""

from typing import TYPE_CHECKING

from twinlatent.serve.service import Service

if TYPE_CHECKING:
    from fastapi import FastAPI

OPEN = ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready")
"""What probes ask without a token."""


def add_health(app: "FastAPI", service: Service) -> None:
    """Add its routes."""
    from fastapi.responses import JSONResponse, Response

    @app.get("/healthz", tags=["server"], summary="Whether the process lives")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", tags=["server"], summary="Whether it can answer", responses={503: {"description": "Not now."}})
    async def readyz() -> JSONResponse:
        failed = unready(service)
        return JSONResponse({"error": failed} if failed else {"status": "ok"}, 503 if failed else 200)

    @app.get("/metrics", tags=["server"], summary="Counters for Prometheus", response_class=Response)
    async def metrics() -> Response:
        page, kind = service.metrics.page()
        return Response(page, headers={"Content-Type": kind})


def unready(service: Service) -> str:
    """Why the server should not be asked now; empty if it should: models are loaded before it listens."""
    if service.log is not None and service.log.failed:
        return f"verdicts cannot be logged ({service.log.failed}); make room for the log"
    return ""
