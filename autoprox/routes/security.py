"""Who may use the bridge: loopback privileges, the Host and Origin headers, the app's token.

A web page the user visits can open WebSockets to the user's own machine, so being local is not enough: the page's Origin
and the Host it asked for are checked before a connection is accepted.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import inspect
import ipaddress
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from autoprox.config import Settings
from autoprox.routes.protocol import BEARER_SUBPROTOCOL, SUBPROTOCOL, Close, Refused

Authorize = Callable[[HTTPConnection], bool | Awaitable[bool]]
"""A host app's own authorisation: takes the connection (its headers, query, cookies), returns whether it may go on."""

_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_PROXY_HEADERS = ("forwarded", "via", "x-real-ip")


def has_loopback_privileges(connection: HTTPConnection) -> bool:
    """Whether the client is a program of this machine that no proxy speaks for; what can't be told is not."""
    server = connection.scope.get("server")
    client = connection.scope.get("client")
    if not server or not client or not (_is_loopback_address(server[0]) and _is_loopback_address(client[0])):
        return False
    return not any(name in _PROXY_HEADERS or name.startswith("x-forwarded") for name in connection.headers)


def client_address(connection: HTTPConnection) -> str:
    """The address limits per client count by; one and the same for all whose address can't be told."""
    client = connection.scope.get("client")
    return client[0] if client else ""


def check_host(connection: HTTPConnection, settings: Settings) -> None:
    """Refuses a Host header this server does not answer to (DNS rebinding). Raises Refused."""
    host, _ = _host_and_port(connection)
    if "*" in settings.allowed_hosts or host in map(str.lower, settings.allowed_hosts):
        return
    privileged = has_loopback_privileges(connection)
    if _is_loopback_name(host) if privileged else not settings.allowed_hosts:
        return
    raise Refused(
        Close.NOT_ALLOWED,
        f"this server does not answer to the host name {host[:100]!r}",
        "use its address, or add the name to AUTOPROX_ALLOWED_HOSTS",
    )


def check_origin(connection: HTTPConnection, settings: Settings) -> None:
    """Refuses web pages that are neither this server's own nor allowed; programs send no Origin. Raises Refused."""
    origin = connection.headers.get("origin")
    if origin is None or "*" in settings.allowed_origins:
        return
    if origin.lower().rstrip("/") in (allowed.lower().rstrip("/") for allowed in settings.allowed_origins):
        return
    if not _is_own_page(origin, connection):
        raise Refused(
            Close.NOT_ALLOWED,
            f"web pages of the origin {origin[:100]!r} may not use this bridge",
            "add the origin to AUTOPROX_ALLOWED_ORIGINS",
        )


async def check_authorisation(
    connection: HTTPConnection, settings: Settings, authorize: Authorize | None
) -> None:
    """Demands the token where one is set, `authorize`'s consent where one is given, else loopback privileges.

    Raises Refused, and what `authorize` raises.
    """
    if settings.token is not None and not _shows_token(connection, settings.token.get_secret_value()):
        raise Refused(
            Close.NOT_AUTHORISED,
            "the app's token is missing or wrong",
            f"send Authorization: Bearer TOKEN, or from a browser the subprotocol {BEARER_SUBPROTOCOL}BASE64URL",
        )
    if authorize is not None:
        verdict = authorize(connection)
        if not (await verdict if inspect.isawaitable(verdict) else verdict):
            raise Refused(Close.NOT_AUTHORISED, "the app did not authorise this connection")
    elif settings.token is None and not has_loopback_privileges(connection):
        raise Refused(
            Close.NOT_AUTHORISED,
            "without a token this server serves programs on its own machine only",
            "set AUTOPROX_TOKEN on the server and send it as Authorization: Bearer",
        )


def choose_subprotocol(offered: list[str]) -> str | None:
    """The subprotocol to accept with; None is the simple mode. Raises Refused when nothing offered is known here.

    A browser fails a connection whose offer nobody picked, so a bearer offered alone is answered with itself.
    """
    if SUBPROTOCOL in offered:
        return SUBPROTOCOL
    if any(not name.startswith(BEARER_SUBPROTOCOL) for name in offered):
        raise Refused(
            Close.BAD_PARAMETERS,
            "none of the subprotocols offered is known here",
            f"offer {SUBPROTOCOL}, or none for the simple mode",
        )
    return offered[0] if offered else None


def _shows_token(connection: HTTPConnection, token: str) -> bool:
    expected = token.encode()
    shown = [connection.headers.get("authorization", "")]
    scheme, _, value = shown[0].partition(" ")
    candidates = [value.strip().encode("latin-1", "replace")] if scheme.lower() == "bearer" else []
    candidates.extend(
        _from_base64url(name.removeprefix(BEARER_SUBPROTOCOL))
        for name in connection.scope.get("subprotocols", ())
        if name.startswith(BEARER_SUBPROTOCOL)
    )
    return any(hmac.compare_digest(candidate, expected) for candidate in candidates)


def _from_base64url(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
    except (binascii.Error, ValueError):
        return b""


def _is_own_page(origin: str, connection: HTTPConnection) -> bool:
    try:
        page = urlsplit(origin)
        page_port = page.port or _DEFAULT_PORTS.get(page.scheme)
    except ValueError:
        return False
    host, port = _host_and_port(connection)
    page_host = (page.hostname or "").lower()
    if page.scheme not in ("http", "https") or not page_host or page_port != port:
        return False
    return page_host == host or (_is_loopback_name(page_host) and _is_loopback_name(host))


def _host_and_port(connection: HTTPConnection) -> tuple[str, int | None]:
    """The Host header in lower case, without brackets, and its port, the scheme's own if it names none."""
    default = _DEFAULT_PORTS.get(connection.scope.get("scheme", "ws"))
    try:
        parts = urlsplit("//" + connection.headers.get("host", ""))
        return (parts.hostname or "").lower(), parts.port or default
    except ValueError:
        return "", default


def _is_loopback_name(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost") or _is_loopback_address(host)


def _is_loopback_address(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback
