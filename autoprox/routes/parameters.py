"""The query of ``/v0/ws/proxy``, checked by hand so that every mistake is told with the parameter's name.

FastAPI's own validation of a WebSocket's parameters is a bodiless 403 that a browser shows as 1006.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from autoprox.routes.protocol import PARAMETERS, Close, Refused

MAX_KEY: Final = 4096
MAX_LABEL: Final = 255
MAX_TIMEOUT: Final = 10 * 365 * 86_400.0
KEY_HEADER: Final = "x-autoprox-key"

_NUMBER = re.compile(r"[0-9]{1,5}")
_CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NAME_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_FLAGS = {"1": True, "true": True, "0": False, "false": False}


@dataclass(frozen=True)
class Parameters:
    """One valid request for a bridge. `encryption_key` None: it comes as the first message."""

    remote_host: str
    remote_port: int
    encryption_key: str | None = field(repr=False)
    client_id: str | None = None
    local_port: int | None = None
    label: str = ""
    timeout: float | None = None
    receipts: bool = False
    takeover: bool = False

    @property
    def identity(self) -> tuple[str, str, int] | None:
        """What a client that comes back finds its bridge by; None for a bridge without `client_id`."""
        return None if self.client_id is None else (self.client_id, self.remote_host, self.remote_port)


def read_parameters(query: Iterable[tuple[str, str]], key_header: bytes | None) -> Parameters:
    """Checks the decoded query pairs. Raises Refused, naming the parameter; parameters unknown here are ignored."""
    values: dict[str, str] = {}
    for name, value in query:
        if name not in PARAMETERS:
            continue
        if name in values:
            raise _bad(name, "is given twice")
        values[name] = value
    return Parameters(
        remote_host=read_host(values.get("remote_host")),
        remote_port=_read_port("remote_port", values.get("remote_port"), 1),
        encryption_key=_read_key(values.get("encryption_key"), key_header),
        client_id=_read_client_id(values.get("client_id")),
        local_port=_read_port("local_port", values["local_port"], 0) if "local_port" in values else None,
        label=_read_label(values.get("label", "")),
        timeout=_read_timeout(values.get("timeout")),
        receipts=_read_flag("receipts", values.get("receipts", "0")),
        takeover=_read_flag("takeover", values.get("takeover", "0")),
    )


def _bad(name: str, problem: str) -> Refused:
    return Refused(Close.BAD_PARAMETERS, f"{name} {problem}", f"{name}: {PARAMETERS[name]}")


def read_host(text: str | None) -> str:
    """A host in its one spelling: an address as `ipaddress` writes it, a name in lower case and ASCII. Raises Refused."""
    if not text:
        raise _bad("remote_host", "is missing")
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return _read_name(text)


def _read_name(text: str) -> str:
    name = text.rstrip(".").lower() if text.count("..") == 0 else ""
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError:
            name = ""
    labels = name.split(".")
    # a last label of digits is how the system's resolver knows 127.1 and 0x7f.1 as addresses; a name has none
    if (
        len(name) > 253
        or not all(map(_NAME_LABEL.fullmatch, labels))
        or re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1])
    ):
        raise _bad("remote_host", "is neither an IPv4 or IPv6 address nor a host name")
    return name


def _read_port(name: str, text: str | None, lowest: int) -> int:
    if not text:
        raise _bad(name, "is missing" if text is None else "is empty")
    if not _NUMBER.fullmatch(text) or not lowest <= int(text) <= 65_535:
        raise _bad(name, f"must be a whole number from {lowest} to 65535")
    return int(text)


def check_key(key: str) -> str:
    """The key, if its size is right. Raises Refused; the text never holds the key."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise _bad("encryption_key", "is no valid text") from None
    if not 1 <= size <= MAX_KEY:
        raise _bad("encryption_key", "is empty" if size == 0 else f"has {size} bytes; {MAX_KEY} are allowed")
    return key


def _read_key(text: str | None, header: bytes | None) -> str | None:
    if header is None:
        return None if text is None else check_key(text)
    try:
        from_header = header.decode()
    except UnicodeDecodeError:
        from_header = header.decode("latin-1")
    if text is not None and text != from_header:
        raise _bad("encryption_key", "differs from the header X-Autoprox-Key; give one of them")
    return check_key(from_header)


def _read_client_id(text: str | None) -> str | None:
    if text is not None and not _CLIENT_ID.fullmatch(text):
        raise _bad("client_id", "must be 1 to 64 characters of A-Z a-z 0-9 . _ -")
    return text


def _read_label(text: str) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        size = MAX_LABEL + 1
    if size > MAX_LABEL or "\0" in text:
        raise _bad("label", f"must be text of at most {MAX_LABEL} bytes")
    return text


def _read_timeout(text: str | None) -> float | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or not 0 < float(text) <= MAX_TIMEOUT:
        raise _bad("timeout", "must be a positive number of seconds")
    return float(text)


def _read_flag(name: str, text: str) -> bool:
    try:
        return _FLAGS[text.lower()]
    except KeyError:
        raise _bad(name, "must be 0 or 1") from None
