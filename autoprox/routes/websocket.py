"""The routes of the bridge: ``/v0/ws/proxy`` and what describes it.

    from autoprox.routes.websocket import router
    app.include_router(router)

Mistakes a page's user can mend are told after accepting, by one `error` and a close code, for a browser shows nothing of a
refusal before it. Wrong origin or host, a missing token and a full server are refused before, with a JSON body.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocketDisconnect

from autoprox import srmudp
from autoprox.config import Settings
from autoprox.routes.bridge import Bridge
from autoprox.routes.client import Client
from autoprox.routes.hub import Hub
from autoprox.routes.outbox import Ending
from autoprox.routes.parameters import KEY_HEADER, Parameters, check_key, read_parameters
from autoprox.routes.protocol import (
    CLOSE_CODES,
    DOCUMENTATION,
    PARAMETERS,
    SUBPROTOCOL,
    BadFrame,
    Close,
    Open,
    Refused,
    decode,
    error_object,
    parse,
    reason,
)
from autoprox.routes.redact import install_redaction
from autoprox.routes.security import (
    Authorize,
    check_authorisation,
    check_host,
    check_origin,
    choose_subprotocol,
    client_address,
    has_loopback_privileges,
)
from autoprox.routes.tcp import TcpConnection

OPEN_TIMEOUT: Final = 5.0
"""Seconds the first message with the key may take."""
MAX_FIELDS: Final = 100
"""Fields of a query, the host app's own included."""

_ENGINE_REFUSALS: Final[tuple[tuple[type[Exception], Close, str], ...]] = (
    (srmudp.PortInUse, Close.BAD_PARAMETERS, "local_port: "),
    (srmudp.InvalidAddress, Close.BAD_PARAMETERS, "remote_host or local_port: "),
    (srmudp.InvalidKey, Close.BAD_PARAMETERS, "encryption_key: "),
    (srmudp.AddressBusy, Close.TOO_MANY, ""),
    (srmudp.PolicyDenied, Close.NOT_ALLOWED, "remote_host: "),
)

logger = logging.getLogger("autoprox.bridge")


def create_router(settings: Settings | None = None, *, authorize: Authorize | None = None) -> APIRouter:
    """The bridge's routes, for any FastAPI app.

    `settings` None: read from the environment, when the router is first used. `authorize` takes the place of the rule
    that without a token only this machine's programs are served: it gets each connection and returns whether it may go
    on, or raises HTTPException. Nothing is bound before the app's lifespan starts or the first client comes.
    """
    install_redaction()
    return _Routes(settings, authorize).router


class _Routes:
    """The endpoints of one router, with its settings."""

    def __init__(self, settings: Settings | None, authorize: Authorize | None) -> None:
        self._settings = settings
        self._authorize = authorize
        self.router = APIRouter(tags=["websocket"], lifespan=self._lifespan)
        self.router.add_api_websocket_route("/v0/ws/proxy", self.proxy, name="autoprox_proxy")
        self.router.add_api_route("/v0/ws/info", self.info, name="autoprox_info")
        self.router.add_api_route("/v0/ws/connections", self.connections, name="autoprox_connections")

    @property
    def settings(self) -> Settings:
        if self._settings is None:
            self._settings = Settings()
        return self._settings

    @asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> AsyncGenerator[None, None]:
        hub = Hub.current(self.settings)
        hub.lifespans += 1
        try:
            await hub.start()
            yield
        finally:
            hub.lifespans -= 1
            if not hub.lifespans:
                await hub.close()

    # ---- HTTP --------------------------------------------------------------------------------------------------------

    async def info(self, request: Request) -> Response:
        """How to use the WebSocket: its address, its parameters, every message and close code, the limits."""
        if (denied := await self._denial(request, check_host_only=True)) is not None:
            return denied
        hub = Hub.current(self.settings)
        authorised = await self._denial(request) is None
        addresses = hub.udp_addresses if authorised else []
        return JSONResponse(
            {
                "websocket_url": request.url.path.removesuffix("info") + "proxy",
                "parameters": PARAMETERS,
                "udp_connection_info": f"udp://{_join(*addresses[0])}" if addresses else None,
                "udp_addresses": [_join(*address) for address in addresses],
                "limits": {
                    "max_message_size": self.settings.max_message_size,
                    "send_buffer": self.settings.send_buffer,
                    "websocket_max_size": websocket_limit(),
                    "websocket_max_size_needed": self.settings.websocket_max_size,
                    "grace": self.settings.grace,
                    "stall_limit": self.settings.stall_limit,
                    "close_timeout": self.settings.close_timeout,
                },
                "lost_without_client": dict(hub.losses) if authorised else {},
                "documentation": DOCUMENTATION,
            }
        )

    async def connections(self, request: Request) -> Response:
        """The bridges of this process: targets, status, path, figures; never a key."""
        if (denied := await self._denial(request)) is not None:
            return denied
        return JSONResponse(Hub.current(self.settings).describe())

    async def _denial(self, connection: HTTPConnection, *, check_host_only: bool = False) -> Response | None:
        try:
            check_host(connection, self.settings)
            if not check_host_only:
                await check_authorisation(connection, self.settings, self._authorize)
        except Refused as refused:
            return _deny(refused)
        except HTTPException as error:
            return JSONResponse({"detail": error.detail}, error.status_code, error.headers)
        return None

    # ---- WebSocket ---------------------------------------------------------------------------------------------------

    async def proxy(self, websocket: WebSocket) -> None:
        """One client of one bridge, from its handshake to the end of its TCP connection."""
        denied = await self._denial(websocket)
        subprotocol = None
        try:
            check_origin(websocket, self.settings)
            subprotocol = choose_subprotocol(websocket.scope.get("subprotocols", []))
            self._check_room(websocket)
        except Refused as refused:
            denied = denied or _deny(refused)
        if denied is not None:
            await _send_denial(websocket, denied)
            return
        await websocket.accept(subprotocol)
        try:
            await self._serve(websocket, v1=subprotocol == SUBPROTOCOL)
        except Refused as refused:
            await _refuse(websocket, refused)
        except WebSocketDisconnect:
            pass
        except Exception:
            logger.exception("a bridge failed")
            await _refuse(websocket, Refused(Close.INTERNAL_ERROR, "the server failed; its log tells more"))

    def _check_room(self, websocket: WebSocket) -> None:
        """A full server refuses before accepting, but not those who come back to their bridge."""
        hub = Hub.current(self.settings)
        if not hub.is_full():
            return
        try:
            living = hub.find(_read_parameters(websocket))
        except Refused:
            living = None
        if living is None:
            raise Refused(
                Close.TRY_AGAIN_LATER, "this server carries as many bridges as it may", "try again later"
            )

    async def _serve(self, websocket: WebSocket, *, v1: bool) -> None:
        hub = Hub.current(self.settings)
        parameters = _read_parameters(websocket)
        key = parameters.encryption_key
        if key is None:
            key = await _receive_key(websocket)
        bridge = await self._bridge(hub, parameters, key, websocket)
        client = Client(websocket, bridge, v1=v1, receipts=parameters.receipts)
        bridge.attach(client)
        ending = Ending(Close.INTERNAL_ERROR, by_client=True)
        try:
            ending = await client.run()
        finally:
            bridge.detach(client, ending)
        await client.close(ending)

    async def _bridge(self, hub: Hub, parameters: Parameters, key: str, websocket: WebSocket) -> Bridge:
        try:
            privileged = has_loopback_privileges(websocket)
            return await hub.bridge(parameters, key, client_address(websocket), privileged=privileged)
        except srmudp.Error as error:
            for kind, code, names in _ENGINE_REFUSALS:
                if isinstance(error, kind):
                    raise Refused(code, f"{names}{error}") from error
            raise


def _read_parameters(websocket: WebSocket) -> Parameters:
    query: bytes = websocket.scope.get("query_string", b"")
    try:
        pairs = parse_qsl(
            query.decode(errors="surrogateescape"),
            keep_blank_values=True,
            errors="surrogateescape",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError as error:
        raise Refused(
            Close.BAD_PARAMETERS, f"the query cannot be read: more than {MAX_FIELDS} fields"
        ) from error
    header = websocket.headers.get(KEY_HEADER)
    return read_parameters(pairs, None if header is None else header.encode("latin-1"))


async def _receive_key(websocket: WebSocket) -> str:
    """The key from the first message. Raises Refused, WebSocketDisconnect."""
    missing = Refused(
        Close.BAD_PARAMETERS,
        f'encryption_key is missing: no parameter, no header, and no first message {{"type":"open"}} within {OPEN_TIMEOUT:g} s',
        f"encryption_key: {PARAMETERS['encryption_key']}",
    )
    try:
        async with asyncio.timeout(OPEN_TIMEOUT):
            event = await websocket.receive()
    except TimeoutError:
        raise missing from None
    if event["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(event.get("code", 1006))
    try:
        frame = decode(parse(event.get("text") or ""), 0)
    except BadFrame:
        raise missing from None
    if not isinstance(frame, Open):
        raise missing
    return check_key(frame.encryption_key)


def _error_of(refused: Refused) -> dict[str, Any]:
    return error_object(refused.code.text, refused.message, refused.hint, close_code=int(refused.code))


async def _refuse(websocket: WebSocket, refused: Refused) -> None:
    """One `error`, then the close code, on an accepted WebSocket."""
    tcp = TcpConnection(websocket.scope)
    try:
        async with asyncio.timeout(OPEN_TIMEOUT):
            await websocket.send_text(json.dumps(_error_of(refused), ensure_ascii=False))
            await websocket.close(refused.code, reason(refused.message))
    except TimeoutError:
        tcp.hang_up()
    except (WebSocketDisconnect, RuntimeError, OSError):
        pass  # it ended meanwhile


def _deny(refused: Refused) -> Response:
    info = CLOSE_CODES[refused.code]
    headers = {"cache-control": "no-store"}
    if info.http_status == 401:
        headers["www-authenticate"] = "Bearer"
    if info.http_status in (429, 503):
        headers["retry-after"] = "5"
    return JSONResponse(_error_of(refused), info.http_status, headers)


async def _send_denial(websocket: WebSocket, denial: Response) -> None:
    if "websocket.http.response" in websocket.scope.get("extensions", {}):
        await websocket.send_denial_response(denial)
    else:
        await websocket.close()


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def websocket_limit() -> int | None:
    """The WebSocket limit of the uvicorn server on this loop; None where another server runs."""
    uvicorn = sys.modules.get("uvicorn")
    if uvicorn is None:
        return None
    for task in asyncio.all_tasks():
        awaited: Any = task.get_coro()
        while awaited is not None:
            frame = getattr(awaited, "cr_frame", None)
            server = frame.f_locals.get("self") if frame is not None else None
            if isinstance(server, uvicorn.Server):
                limit: int = server.config.ws_max_size
                return limit
            awaited = getattr(awaited, "cr_await", None)
    return None


router = create_router()
