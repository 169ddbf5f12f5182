"""The whole app: the bridge's routes, health, and their documentation."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI

from autoprox.config import Settings
from autoprox.routes.security import Authorize
from autoprox.routes.websocket import create_router


def create_app(settings: Settings | None = None, *, authorize: Authorize | None = None) -> FastAPI:
    """An ASGI app with everything under ``/v0``; runs alone or mounted below another.

    `settings` and `authorize` as in `autoprox.routes.websocket.create_router`.
    """
    app = FastAPI(
        title="autoprox",
        summary="WebSocket to secure, reliable UDP",
        description="The bridge itself is the WebSocket `/v0/ws/proxy`; `/v0/ws/info` documents all of its messages.",
        version=_version(),
        docs_url="/v0/docs",
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        openapi_url="/v0/openapi.json",
    )
    app.include_router(create_router(settings, authorize=authorize))
    app.add_api_route("/v0/health", health, tags=["app"])
    return app


async def health() -> dict[str, str]:
    """Answers while the server works."""
    return {"status": "ok"}


def _version() -> str:
    try:
        return version("autoprox")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0"
