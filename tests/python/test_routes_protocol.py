"""Frames, parameters and the close-code table: what a client may say, and how each mistake is told."""

import base64
import json
from typing import Any

import pytest

from autoprox.routes.parameters import MAX_KEY, MAX_LABEL, check_key, read_parameters
from autoprox.routes.protocol import (
    CLOSE_CODES,
    DOCUMENTATION,
    MAX_ID,
    MAX_REASON,
    BadFrame,
    Close,
    Command,
    Data,
    Open,
    Received,
    Refused,
    decode,
    encode,
    encode_binary,
    encode_extra,
    encode_text,
    parse,
    reason,
)

LIMIT = 1000
GOOD = {"remote_host": "203.0.113.5", "remote_port": "40000", "encryption_key": "secret"}


def data_frame(**members: Any) -> dict[str, Any]:
    return {"type": "data", "format": "text", "data": "hello"} | members


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (data_frame(), Data("hello")),
        (data_frame(data=""), Data("")),
        (data_frame(id=7, channel=255), Data("hello", 255, 7)),
        (data_frame(id="x" * MAX_ID), Data("hello", 0, "x" * MAX_ID)),
        (data_frame(format="binary", data="AAEC"), Data(b"\0\1\2")),
        (data_frame(format="binary", data=""), Data(b"")),
        (data_frame(format="binary", data=base64.b64encode(b"x" * LIMIT).decode()), Data(b"x" * LIMIT)),
        (data_frame(data="é" * (LIMIT // 2)), Data("é" * (LIMIT // 2))),
        ({"type": "command", "command": "stats"}, Command("stats")),
        ({"type": "received", "seq": 0}, Received(0)),
        ({"type": "open", "encryption_key": "k"}, Open("k")),
    ],
)
def test_frames_of_clients_are_read(frame: dict[str, Any], expected: object) -> None:
    assert decode(parse(json.dumps(frame)), LIMIT) == expected


@pytest.mark.parametrize(
    ("frame", "code", "named"),
    [
        ({}, "bad_message", "type"),
        ({"type": ["data"]}, "bad_message", "type"),
        (data_frame(data=3), "bad_message", "data"),
        ({"type": "data", "data": "hello"}, "bad_message", "format"),
        (data_frame(format="base64"), "bad_message", "format"),
        (data_frame(channel=256), "bad_message", "channel"),
        (data_frame(channel=-1), "bad_message", "channel"),
        (data_frame(channel=True), "bad_message", "channel"),
        (data_frame(channel="1"), "bad_message", "channel"),
        (data_frame(id="x" * (MAX_ID + 1)), "bad_message", "id"),
        (data_frame(id=[1]), "bad_message", "id"),
        (data_frame(id=True), "bad_message", "id"),
        (data_frame(format="binary", data="AAE"), "bad_data", "base64"),
        (data_frame(format="binary", data="A A="), "bad_data", "base64"),
        (data_frame(format="binary", data="é"), "bad_data", "base64"),
        (data_frame(data="\ud800"), "bad_data", "surrogate"),
        (data_frame(data="x" * (LIMIT + 1)), "too_large", str(LIMIT)),
        (data_frame(data="é" * (LIMIT // 2) + "x"), "too_large", str(LIMIT)),
        (
            data_frame(format="binary", data=base64.b64encode(b"x" * (LIMIT + 1)).decode()),
            "too_large",
            str(LIMIT),
        ),
        ({"type": "command", "command": "dance"}, "bad_message", "command"),
        ({"type": "command", "command": {}}, "bad_message", "command"),
        ({"type": "received"}, "bad_message", "seq"),
        ({"type": "received", "seq": -1}, "bad_message", "seq"),
        ({"type": "received", "seq": 1.5}, "bad_message", "seq"),
        ({"type": "open"}, "bad_message", "encryption_key"),
    ],
)
def test_mistakes_in_frames_are_named(frame: dict[str, Any], code: str, named: str) -> None:
    with pytest.raises(BadFrame) as caught:
        decode(frame, LIMIT)
    assert caught.value.code == code
    assert named in caught.value.message


@pytest.mark.parametrize(
    "text", ["", "hello", "[]", "3", "null", '{"type":', "[" * 100_000, '{"a":' + "9" * 5000 + "}"]
)
def test_what_is_no_json_object_is_a_mistake_in_one_message(text: str) -> None:
    with pytest.raises(BadFrame) as caught:
        parse(text)
    assert caught.value.code == "bad_message"


@pytest.mark.parametrize("text", ["", "hello", 'quote " and \\ and \n', "\0\x1f", "ünï 🙂", "</script>"])
def test_text_survives_its_frame(text: str) -> None:
    frame = json.loads(encode_text(text, encode_extra(3, 9, True)))
    assert frame == {
        "type": "data", "format": "text", "data": text, "channel": 3, "seq": 9, "maybe_duplicate": True,
    }  # fmt: skip


@pytest.mark.parametrize("data", [b"", b"\0", bytes(range(256))])
def test_bytes_survive_their_frame(data: bytes) -> None:
    frame = json.loads(encode_binary(data, encode_extra(0, None, False)))
    assert base64.b64decode(frame.pop("data"), validate=True) == data
    assert frame == {"type": "data", "format": "binary"}


def test_control_frames_leave_out_what_is_unknown() -> None:
    assert json.loads(encode("status", status="CONNECTED", reason=None)) == {
        "type": "status",
        "status": "CONNECTED",
    }


def test_a_close_reason_is_cut_between_characters() -> None:
    assert reason("é" * 100) == "é" * (MAX_REASON // 2)
    assert reason("short") == "short"


def test_the_close_code_table_is_complete_and_documented() -> None:
    assert set(CLOSE_CODES) == set(Close)
    wanted = {
        1000,
        1001,
        1009,
        1011,
        1012,
        1013,
        4400,
        4401,
        4403,
        4404,
        4408,
        4409,
        4410,
        4411,
        4412,
        4429,
        4503,
    }
    assert set(map(int, Close)) == wanted
    assert set(DOCUMENTATION["close_codes"]) == {str(code) for code in wanted}
    json.dumps(DOCUMENTATION)


# ---- Parameters ------------------------------------------------------------------------------------------------------


def read(header: bytes | None = None, /, **changes: str | None) -> Any:
    merged = {name: value for name, value in (GOOD | changes).items() if value is not None}
    return read_parameters(merged.items(), header)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("Peer.Example.", "peer.example"),
        ("localhost", "localhost"),
        ("my_host-1", "my_host-1"),
        ("bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_hosts_have_one_spelling(given: str, kept: str) -> None:
    assert read(remote_host=given).remote_host == kept


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("remote_host", bad) for bad in (None, "", " ", "a b", "-a", "a-", "a..b", "..", "http://a", "a:1", "1.2.3", "1.2.3.4.5",
                                           "256.1.1.1", "127.1", "0x7f.1", "2130706433", "[::1", "a" * 64, "a." * 127 + "a", "a\0b",
                                           "\udcff")],
        *[("remote_port", bad) for bad in (None, "", "0", "65536", "70000", "-1", "+1", "abc", "1.0", " 1", "４０", "9" * 50)],
        *[("encryption_key", bad) for bad in ("", "x" * (MAX_KEY + 1), "é" * (MAX_KEY // 2 + 1), "\udcff")],
        *[("client_id", bad) for bad in ("", "a b", "a/b", "é", "x" * 65, "a\n")],
        *[("local_port", bad) for bad in ("", "65536", "-1", "x")],
        *[("label", bad) for bad in ("x" * (MAX_LABEL + 1), "é" * 128, "a\0")],
        *[("timeout", bad) for bad in ("", "0", "-1", "nan", "inf", "1e3", "x")],
        *[("receipts", bad) for bad in ("", "2", "yes")],
        *[("takeover", bad) for bad in ("", "on")],
    ],
)  # fmt: skip
def test_a_bad_parameter_is_refused_by_name(name: str, value: str | None) -> None:
    with pytest.raises(Refused) as caught:
        read(**{name: value})
    assert caught.value.code == Close.BAD_PARAMETERS
    assert caught.value.message.startswith(name)
    assert name in caught.value.hint
    if name == "encryption_key" and value:
        assert value not in caught.value.message + caught.value.hint + repr(caught.value)


def test_the_edges_of_every_limit_are_inside() -> None:
    assert read(remote_port="1").remote_port == 1
    assert read(remote_port="65535").remote_port == 65_535
    assert read(local_port="0").local_port == 0
    assert read().local_port is None
    assert read(client_id="x" * 64).client_id == "x" * 64
    assert read(encryption_key="x" * MAX_KEY).encryption_key == "x" * MAX_KEY
    assert read(label="x" * MAX_LABEL).label == "x" * MAX_LABEL
    assert read(timeout="0.5").timeout == 0.5
    assert read(receipts="1", takeover="true").receipts


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(Refused, match="remote_port is given twice"):
        read_parameters([*GOOD.items(), ("remote_port", "40000")], None)


def test_unknown_parameters_are_somebody_elses() -> None:
    assert read(session="x") == read()


def test_the_key_may_come_in_the_header_or_later() -> None:
    assert read(encryption_key=None).encryption_key is None
    assert read(b"from header", encryption_key=None).encryption_key == "from header"
    assert read("schlüssel".encode("latin-1"), encryption_key=None).encryption_key == "schlüssel"
    assert read("schlüssel".encode(), encryption_key=None).encryption_key == "schlüssel"
    assert read(b"secret").encryption_key == "secret"
    with pytest.raises(Refused, match="encryption_key differs"):
        read(b"another")


def test_blanks_in_a_key_count() -> None:
    assert check_key(" \0 ") == " \0 "


def test_the_key_is_not_in_the_repr() -> None:
    assert "secret" not in repr(read())


def test_only_a_client_id_gives_an_identity() -> None:
    assert read().identity is None
    assert read(client_id="a").identity == ("a", "203.0.113.5", 40_000)


@pytest.mark.parametrize(
    "bomb",
    [
        '{"type":"x","a":[' + "[]," * 200_000 + "[]]}",
        '{"type":"x"' + "".join(f',"{n}":1' for n in range(100_000)) + "}",
        '{"type":"x","a":' + '{"b":' * 50_000 + "1" + "}" * 50_001,
    ],
    ids=["lists", "members", "objects"],
)
def test_frames_that_cost_more_to_parse_than_to_send_are_refused(bomb: str) -> None:
    with pytest.raises(BadFrame, match="flat"):
        parse(bomb)


def test_text_full_of_brackets_is_text() -> None:
    text = '[{"a": [1, 2, "\\"]}, ' * 10_000
    assert parse(json.dumps(data_frame(data=text)))["data"] == text
