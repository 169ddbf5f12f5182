"""Keeps keys and tokens out of logs.

Servers log the path and query of every WebSocket at info, headers and frames at debug, the whole scope at trace. The
filter sits on the servers' own loggers, so no record reaches a handler before it was cleaned. Installing it again does
nothing.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Final
from urllib.parse import unquote_plus

from websockets.frames import Frame

REDACTED: Final = "[redacted]"
SERVER_LOGGERS: Final = (
    "uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "websockets", "websockets.server", "hypercorn.error",
    "hypercorn.access", "gunicorn.error", "gunicorn.access", "daphne", "daphne.server", "asyncio", "fastapi",
)  # fmt: skip

_SECRETS = ("encryption_key", "token", "access_token")
# A secret may hold quotes and backslashes, and a log may show it escaped: where its end cannot be told, all that follows goes.
_PAIR = re.compile(r"(?<=[?&'\"])([^=&?\s'\"]+)=[^&\s]*")
_HEADER = re.compile(r"(x-autoprox-key|authorization)['\"]?\s*[:,].*", re.IGNORECASE | re.DOTALL)
_BEARER = re.compile(r"(autoprox\.bearer\.)[A-Za-z0-9_=-]+")
_MEMBER = re.compile(r'("encryption_key\\*")\s*:.*', re.DOTALL)
_HINTS = ("=", "autoprox", "authorization", "encryption_key")


def redact(text: str) -> str:
    """The text without the values of keys and tokens in queries, headers, subprotocols and JSON."""
    lowered = text.lower()
    if not any(hint in lowered for hint in _HINTS):
        return text
    text = _PAIR.sub(_redact_pair, text)
    text = _HEADER.sub(rf"\1: {REDACTED}", text)
    text = _BEARER.sub(rf"\1{REDACTED}", text)
    return _MEMBER.sub(rf"\1:{REDACTED}", text)


def _redact_pair(match: re.Match[str]) -> str:
    secret = unquote_plus(match[1]).strip().lower() in _SECRETS
    return f"{match[1]}={REDACTED}" if secret else match[0]


def _redact_value(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Frame):  # its text is cut in the middle, where names of secrets may stand
        return f"{value.opcode.name} [{len(value.data)} bytes]"
    shown = str(value)
    cleaned = redact(shown)
    return value if cleaned == shown else cleaned


class RedactingFilter(logging.Filter):
    """Cleans a record's message and arguments in place and lets it pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true; `record.args` keeps its shape, for formatters that take it apart, where that is enough."""
        if isinstance(record.msg, str):
            record.msg = redact(record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(map(_redact_value, record.args))
        elif record.args:
            record.args = {name: _redact_value(value) for name, value in record.args.items()}
        _redact_whole(record)
        return True


def _redact_whole(record: logging.LogRecord) -> None:
    """What is harmless in each argument may be a secret in the message, such as a header's name and its value."""
    try:
        shown = record.getMessage()
    except (TypeError, ValueError, KeyError):
        return  # a log call with a mistake in it, which logging itself reports
    cleaned = redact(shown)
    if cleaned != shown:
        record.msg, record.args = cleaned, ()


def install_redaction() -> None:
    """Puts the filter on the loggers of the usual servers, once each."""
    for name in SERVER_LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(present, RedactingFilter) for present in logger.filters):
            logger.addFilter(RedactingFilter())
