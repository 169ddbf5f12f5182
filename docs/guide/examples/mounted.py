"""The bridge inside an app of your own, behind the app's own authorisation: uvicorn mounted:app"""

from fastapi import FastAPI
from starlette.requests import HTTPConnection

from autoprox.config import Settings
from autoprox.routes.websocket import create_router


def has_session(connection: HTTPConnection) -> bool:
    """Whoever your app has logged in; here, whoever shows a cookie."""
    return connection.cookies.get("session") == "one that you know"


settings = Settings(allow_targets=("203.0.113.0/24:40000-40999",))
app = FastAPI()
app.include_router(create_router(settings, authorize=has_session), prefix="/bridge")


@app.get("/")
async def index() -> dict[str, str]:
    return {"bridge": "/bridge/v0/ws/proxy"}
