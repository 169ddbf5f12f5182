"""What travels on the WebSocket: every frame, every close code, each written down once.

Sans-I/O: text in, values out, and back. `decode` reads a client's JSON frame; the functions below it write the
server's. `CLOSE_CODES`, `ERRORS` and `DOCUMENTATION` feed the server, ``/v0/ws/info`` and the docs alike.

Two forms of one protocol. *Simple* (no subprotocol): every message is a JSON ``data`` frame, base64 where binary; a bare
binary frame from the client is taken as a binary message. ``autoprox.v1``: binary messages are bare binary frames both
ways, text stays JSON, and acknowledgements count frames.
"""

from __future__ import annotations

import binascii
import json
import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, TypeGuard

SUBPROTOCOL: Final = "autoprox.v1"
BEARER_SUBPROTOCOL: Final = "autoprox.bearer."
MAX_REASON: Final = 123
"""Bytes of a close reason (RFC 6455 section 5.5)."""
MAX_ID: Final = 256
"""Characters of the `id` a client may give a message."""
COMMANDS: Final = ("status", "stats", "reconnect", "close")


class Close(IntEnum):
    """The WebSocket close codes; `CLOSE_CODES` says what each means."""

    NORMAL = 1000
    GOING_AWAY = 1001
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_PARAMETERS = 4400
    NOT_AUTHORISED = 4401
    NOT_ALLOWED = 4403
    CODE_UNKNOWN = 4404
    PEER_TIMEOUT = 4408
    WRONG_KEY = 4409
    STALLED = 4410
    TAKEN_OVER = 4411
    CLIENT_ID_IN_USE = 4412
    TOO_MANY = 4429
    NO_PATH = 4503

    @property
    def text(self) -> str:
        """The name in `error` frames: lower case, with underscores."""
        return self.name.lower()


@dataclass(frozen=True)
class CloseInfo:
    """One line of the table: what happened, whether trying again may help, the HTTP status of a refusal before accept."""

    meaning: str
    retry: bool
    http_status: int = 403


CLOSE_CODES: Final[dict[Close, CloseInfo]] = {
    Close.NORMAL: CloseInfo("The bridge ended as asked.", retry=False),
    Close.GOING_AWAY: CloseInfo("The server or the page is going away.", retry=True),
    Close.MESSAGE_TOO_BIG: CloseInfo(
        "A frame was larger than the WebSocket limit of this server.", retry=False
    ),
    Close.INTERNAL_ERROR: CloseInfo("The server failed; its log tells more.", retry=True, http_status=500),
    Close.SERVICE_RESTART: CloseInfo("The server is restarting.", retry=True, http_status=503),
    Close.TRY_AGAIN_LATER: CloseInfo(
        "The server carries as many bridges as it may.", retry=True, http_status=503
    ),
    Close.BAD_PARAMETERS: CloseInfo(
        "A parameter is missing or wrong; the error names it.", retry=False, http_status=400
    ),
    Close.NOT_AUTHORISED: CloseInfo("The app's token is missing or wrong.", retry=False, http_status=401),
    Close.NOT_ALLOWED: CloseInfo("This target, origin or host is not allowed here.", retry=False),
    Close.CODE_UNKNOWN: CloseInfo("The pairing code is unknown or was used.", retry=False, http_status=404),
    Close.PEER_TIMEOUT: CloseInfo("No peer proved the key within `timeout`.", retry=True),
    Close.WRONG_KEY: CloseInfo("`timeout` ended, and the peer that answered holds another key.", retry=False),
    Close.STALLED: CloseInfo(
        "The client took nothing for `stall_limit`; the bridge lives on for `grace`.", retry=True
    ),
    Close.TAKEN_OVER: CloseInfo("Another client took this bridge over.", retry=False),
    Close.CLIENT_ID_IN_USE: CloseInfo(
        "A live client holds this client_id and target, or its key differs.", retry=True
    ),
    Close.TOO_MANY: CloseInfo("This client has as many bridges as it may.", retry=True, http_status=429),
    Close.NO_PATH: CloseInfo("The peer cannot be reached, or not any more.", retry=True, http_status=503),
}


class Refused(Exception):
    """A bridge that is not to be: the close code, what is wrong, what to do. Never holds a key."""

    def __init__(self, code: Close, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


ERRORS: Final[dict[str, str]] = {
    "bad_message": "The frame is not one this protocol knows; nothing was sent.",
    "bad_data": "The data of a message cannot be decoded; nothing was sent.",
    "too_large": "The message is larger than max_message_size; nothing was sent.",
    "bad_receipt": "`received` names a message that was never given.",
    "wrong_key": "Somebody answers at the peer's address but holds another key; the bridge goes on waiting.",
}
"""Codes of `error` frames that do not end the bridge; those that do carry the name of their close code."""


class BadFrame(Exception):
    """A mistake in one message: the bridge goes on. `code` is one of `ERRORS`."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


# ---- From the client -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Data:
    """A message to send. `id`: the client wants an acknowledgement that names it."""

    data: str | bytes
    channel: int = 0
    id: str | int | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """One of `COMMANDS`."""

    command: str


@dataclass(frozen=True, slots=True)
class Received:
    """The client has dealt with every message up to this `seq`."""

    seq: int


@dataclass(frozen=True, slots=True, repr=False)
class Open:
    """The key, sent as a first message."""

    encryption_key: str


Frame = Data | Command | Received | Open


PLAIN: Final = 1 << 16
"""Characters up to which any JSON is parsed."""
MAX_SYNTAX: Final = 1000
"""What a larger frame may have besides strings, in characters: no frame of ours is more than a flat object."""
_STRING: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def _is_bomb(text: str) -> bool:
    """Whether parsing would cost far more than reading: a large frame that is not mostly strings."""
    if len(text) <= PLAIN or sum(text.count(mark) for mark in ",[{") <= MAX_SYNTAX:
        return False
    return len(_STRING.sub("", text)) > MAX_SYNTAX


def parse(text: str) -> dict[str, Any]:
    """The JSON object in a text frame. Raises BadFrame."""
    if _is_bomb(text):
        raise BadFrame("bad_message", "a text frame must be a flat JSON object of a few members")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise BadFrame(
            "bad_message",
            "a text frame must be a JSON object",
            'try {"type":"data","format":"text","data":"hello"}',
        ) from None
    if not isinstance(value, dict):
        raise BadFrame("bad_message", "a text frame must be a JSON object with a `type`")
    return value


def decode(value: dict[str, Any], max_message_size: int) -> Frame:
    """What the object of a client's frame means. Raises BadFrame; no text of it holds data or keys."""
    match value.get("type"):
        case "data":
            return _decode_data(value, max_message_size)
        case "command":
            command = value.get("command")
            if command not in COMMANDS:
                raise BadFrame("bad_message", f"`command` must be one of {', '.join(COMMANDS)}")
            return Command(command)
        case "received":
            seq = value.get("seq")
            if type(seq) is not int or seq < 0:
                raise BadFrame("bad_message", "`seq` of `received` must be a whole number from 0")
            return Received(seq)
        case "open":
            key = value.get("encryption_key")
            if not isinstance(key, str):
                raise BadFrame("bad_message", "`encryption_key` of `open` must be text")
            return Open(key)
        case _:
            raise BadFrame("bad_message", "`type` must be data, command, received or open")


def _decode_data(value: dict[str, Any], max_message_size: int) -> Data:
    data, channel, ident = value.get("data"), value.get("channel", 0), value.get("id")
    if not isinstance(data, str):
        raise BadFrame(
            "bad_message", "`data` must be a string", "binary data goes as base64, or as a bare binary frame"
        )
    if type(channel) is not int or not 0 <= channel <= 255:
        raise BadFrame("bad_message", "`channel` must be a whole number from 0 to 255")
    if ident is not None and not is_id(ident):
        raise BadFrame("bad_message", f"`id` must be a string or whole number of at most {MAX_ID} characters")
    match value.get("format"):
        case "text":
            _check_text(data, max_message_size)
            return Data(data, channel, ident)
        case "binary":
            return Data(_decode_base64(data, max_message_size), channel, ident)
        case _:
            raise BadFrame("bad_message", '`format` must be "text" or "binary"')


def is_id(ident: object) -> TypeGuard[str | int]:
    """Whether it can be the id of a data message: it has to fit into a frame again."""
    if type(ident) not in (str, int):
        return False
    text = str(ident)
    if len(text) > MAX_ID:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    return True


def _check_text(data: str, max_message_size: int) -> None:
    if 4 * len(data) <= max_message_size and data.isascii():
        return
    try:
        size = len(data.encode())
    except UnicodeEncodeError:
        raise BadFrame(
            "bad_data", "`data` holds half a surrogate pair, which is no text", "send it as binary"
        ) from None
    check_size(size, max_message_size)


def _decode_base64(data: str, max_message_size: int) -> bytes:
    check_size(len(data) // 4 * 3 - 2, max_message_size)
    try:
        decoded = binascii.a2b_base64(data, strict_mode=True)
    except ValueError:
        raise BadFrame(
            "bad_data", "`data` is no base64 (RFC 4648 section 4, padded, without line breaks)"
        ) from None
    check_size(len(decoded), max_message_size)
    return decoded


def check_size(size: int, max_message_size: int) -> None:
    """Raises BadFrame when a message of `size` bytes is too large."""
    if size > max_message_size:
        raise BadFrame(
            "too_large",
            f"the message is larger than the {max_message_size} bytes allowed",
            "send it in parts",
        )


# ---- To the client ---------------------------------------------------------------------------------------------------


_to_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""`json.dumps` would make an encoder each time, which costs more than most of our frames."""


def encode(kind: str, /, **fields: Any) -> str:
    """A control frame; fields that are None are left out."""
    return _to_json({"type": kind} | {name: value for name, value in fields.items() if value is not None})


def encode_through(frame: int) -> str:
    """The acknowledgement of all data frames up to this one (autoprox.v1)."""
    return f'{{"type":"ack","through":{frame}}}'


def encode_error(code: str, message: str, hint: str, connection_id: str | None, **fields: Any) -> str:
    """An `error` frame. `connection_id` None: refused before there was a bridge."""
    return json.dumps(error_object(code, message, hint, connection_id, **fields), ensure_ascii=False)


def error_object(
    code: str, message: str, hint: str, connection_id: str | None = None, **fields: Any
) -> dict[str, Any]:
    """The members of an `error`, as a frame or as the body of a denial; further fields that are None are left out."""
    error = {"type": "error", "code": code, "message": message, "hint": hint, "connection_id": connection_id}
    return error | {name: value for name, value in fields.items() if value is not None}


def encode_text(text: str, extra: str) -> str:
    """A text message. `extra`: members from `encode_extra`."""
    return '{"type":"data","format":"text","data":' + _to_json(text) + extra + "}"


def encode_binary(data: bytes, extra: str) -> str:
    """A binary message of the simple mode; base64 needs no escaping, so the frame is put together as it is."""
    return (
        '{"type":"data","format":"binary","data":"'
        + binascii.b2a_base64(data, newline=False).decode("ascii")
        + '"'
        + extra
        + "}"
    )


def encode_extra(channel: int, seq: int | None, maybe_duplicate: bool) -> str:
    """The optional members of a data frame, ready to be put behind `data`."""
    extra = f',"channel":{channel}' if channel else ""
    if seq is not None:
        extra += f',"seq":{seq}'
    return extra + ',"maybe_duplicate":true' if maybe_duplicate else extra


def reason(text: str) -> str:
    """A close reason that fits: cut at a character's border to `MAX_REASON` bytes."""
    return text.encode()[:MAX_REASON].decode(errors="ignore")


# ---- Documentation ---------------------------------------------------------------------------------------------------

PARAMETERS: Final[dict[str, str]] = {
    "remote_host": "The peer: IPv4 or IPv6 address, or a name, all of whose addresses are tried.",
    "remote_port": "The peer's UDP port, 1 to 65535.",
    "encryption_key": "The secret both sides share, 1 to 4096 bytes of UTF-8; better in the header X-Autoprox-Key, or in a "
    'first message {"type":"open","encryption_key":"…"} within 5 s.',
    "client_id": "Optional, 1 to 64 of A-Z a-z 0-9 . _ -: lets a client come back to its bridge.",
    "local_port": "Optional, 0 to 65535: a UDP port of its own (0: any free one); absent: the app's shared port.",
    "label": "Optional public name, at most 255 bytes, that tells several bridges between the same two addresses apart.",
    "timeout": "Optional: seconds to wait for the peer; absent: for ever.",
    "receipts": "Optional, 0 or 1: the client confirms each message, nothing is lost or given twice over a reconnection.",
    "takeover": "Optional, 0 or 1: replace a live client of the same client_id, target and key.",
}

DOCUMENTATION: Final[dict[str, Any]] = {
    "subprotocols": {
        "(none)": "Simple mode: every message is a JSON data frame, base64 where binary; bare binary frames are accepted.",
        SUBPROTOCOL: "Binary messages are bare binary frames both ways; acks count the client's data frames.",
        BEARER_SUBPROTOCOL
        + "<base64url>": "Carries the app's token where a browser cannot set Authorization: Bearer.",
    },
    "server_to_client": {
        "status": {
            "example": {
                "type": "status",
                "status": "UDP_ESTABLISHED",
                "connection_id": "alice_203.0.113.5_40000",
                "message": "…",
                "remote_address": "203.0.113.5:40000",
                "path": "direct",
            },
            "statuses": {
                "CONNECTED": "First; has `local_port`, with receipts=1 `next_seq` (the number of the next message given), and "
                "when a client came back to its bridge `resumed` and `frames_taken`, how many data frames the bridge has "
                "taken from all its clients so far.",
                "UDP_WAITING": "No peer has proved the key yet; `reason` peer_closed after a peer said goodbye.",
                "UDP_ESTABLISHED": "Keys confirmed by both sides, data flows; `remote_address`, `path`.",
                "RECONNECTING": "The peer is not heard of, or was replaced; sending is accepted. `reason`, `attempt`.",
                "DISCONNECTED": "The bridge ended.",
                "ERROR": "It will not go on by itself; `reason`.",
            },
        },
        "data": {
            "example": {"type": "data", "format": "text", "data": "hello"},
            "members": {
                "format": "text or binary (base64)",
                "channel": "when not 0",
                "seq": "with receipts=1, from 1",
                "maybe_duplicate": "true when it may have been given before: to a peer's process that died, or, without "
                "receipts, to a client whose connection broke while it was written",
            },
        },
        "ack": {
            "example": {"type": "ack", "id": 7},
            "autoprox.v1": {"type": "ack", "through": 12},
            "meaning": "The far bridge's client was given the message that carried this id; in autoprox.v1 also: all data "
            "frames through this one, bare frames and refused ones counted, from 1 on each WebSocket.",
        },
        "notice": {
            "example": {"type": "notice", "code": "undelivered", "count": 2, "message": "…"},
            "codes": {
                "peer_restarted": "The peer's process was replaced; count messages were sent again, `unknown` of them "
                "may have been given before.",
                "undelivered": "count messages accepted from the client will not arrive; `ids` names those that had one.",
                "maybe_lost": "count messages were written to a client whose connection broke; it may not have had them.",
                "wrong_key": "count completed tries with another key so far.",
            },
        },
        "error": {
            "example": {
                "type": "error",
                "code": "bad_message",
                "message": "…",
                "hint": "…",
                "connection_id": "…",
            },
            "codes": ERRORS,
            "members": {
                "id": "of the message that was refused, if it had one",
                "close_code": "when it ends the bridge",
            },
        },
        "stats": {
            "example": {"type": "stats", "connection_id": "…", "status": "UDP_ESTABLISHED", "rtt_ms": 12.5}
        },
        "reconnect": {"example": {"type": "reconnect", "accepted": True}},
    },
    "client_to_server": {
        "data": {
            "example": {"type": "data", "format": "binary", "data": "AAEC", "id": 7, "channel": 0},
            "meaning": "`id` asks for an ack; `channel` 0 to 255: order holds within one, lower numbers go first.",
        },
        "binary frame": "One binary message on channel 0.",
        "received": {
            "example": {"type": "received", "seq": 3},
            "meaning": "With receipts=1: had everything up to 3. Numbers go on when a client comes back, so a message given "
            "again is known by its own. Keep less than `limits.send_buffer` of /v0/ws/info unacknowledged: a bridge whose "
            "buffer is full reads no receipts either.",
        },
        "command": {"example": {"type": "command", "command": "stats"}, "commands": list(COMMANDS)},
        "open": {
            "example": {"type": "open", "encryption_key": "…"},
            "meaning": "First message, when the key is nowhere else.",
        },
    },
    "close_codes": {
        str(int(code)): {"name": code.text, "meaning": info.meaning, "retry": info.retry}
        for code, info in CLOSE_CODES.items()
    },
}
