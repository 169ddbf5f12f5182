"""Arguments, configuration and errors: what is refused, with which words, and what never shows."""

from __future__ import annotations

import asyncio
import dataclasses
import ipaddress
import itertools
import logging
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprox import _srmudp, srmudp
from autoprox._engine import errors
from autoprox._engine.config import _COUNTS, _SECONDS
from autoprox._engine.delivery import Delivery
from tests.python.srmudp_helpers import HOST, KEY, endpoint, pair

SECRET = "hunter2-never-shown"


# ---- Config ----------------------------------------------------------------------------------------------------------


def bind_raw(config: srmudp.Config, **changes: Any) -> None:
    """Binds behind Config's back."""
    _srmudp.Endpoint(None, HOST, 0, **(config.for_engine() | changes)).close()


def test_defaults_are_those_of_the_engine() -> None:
    bind_raw(srmudp.Config())
    assert srmudp.Config().for_engine() == {
        "liveness": 10_000, "liveness_in_flight": 3000, "keepalive_interval": 15_000, "outage_limit": 3_600_000,
        "reconnect_delay": 1000, "close_timeout": 5000, "max_message_size": 16 << 20, "send_buffer": 64 << 20,
        "receive_buffer": 64 << 20, "congestion_control": 0, "pmtu_discovery": True, "gso": True,
        "max_connections": 10_000, "identity": None, "policy": (),
    }  # fmt: skip


@pytest.mark.parametrize("name", [*_SECONDS, *_COUNTS])
def test_ranges(name: str) -> None:
    """Both ends of each range are taken, by Config and the engine, and what lies beyond by neither."""
    low, high = (_SECONDS | _COUNTS)[name]
    room: dict[str, Any] = (
        {"receive_buffer": 1 << 40} if name == "max_message_size" else {"max_message_size": 1}
    )
    if name == "receive_buffer":
        low = 65
    for value in (low, high):
        bind_raw(srmudp.Config(**{**room, name: value}))
    step = 0.001 if name in _SECONDS else 1
    for value in (low - step, high + (1000 if name in _SECONDS else 1), -1):
        with pytest.raises(ValueError, match=name):
            srmudp.Config(**{**room, name: value})
    wrongs: list[object] = ["1", True, None if name != "outage_limit" else [], b"1"]
    for wrong in wrongs:
        with pytest.raises(TypeError, match=name):
            srmudp.Config(**{**room, name: wrong})


@pytest.mark.parametrize(
    ("name", "value"),
    [("liveness", 999), ("keepalive_interval", 3_600_001), ("reconnect_delay", 99), ("max_message_size", 0),
     ("receive_buffer", 1000), ("max_message_size", (1 << 30) + 1)],
)  # fmt: skip
def test_the_engine_checks_too(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=name):
        bind_raw(srmudp.Config(), **{name: value})
    with pytest.raises(OverflowError):
        bind_raw(srmudp.Config(), **{name: 1 << 64})


def test_the_rest_of_config() -> None:
    assert srmudp.Config(outage_limit=None).for_engine()["outage_limit"] == (1 << 32) - 1
    wrongs: tuple[tuple[dict[str, Any], type[Exception]], ...] = (
        ({"congestion_control": "vegas"}, ValueError),
        ({"pmtu_discovery": 1}, TypeError),
        ({"gso": None}, TypeError),
        ({"identity": bytes(31)}, ValueError),
        ({"identity": "x" * 32}, TypeError),
        ({"policy": ["10.0.0.0/8"]}, TypeError),
        ({"max_message_size": 1000, "receive_buffer": 1063}, ValueError),
    )
    for wrong, kind in wrongs:
        with pytest.raises(kind, match=next(reversed(wrong))):
            srmudp.Config(**wrong)
    with pytest.raises(TypeError):
        srmudp.Config(5)  # type: ignore[call-arg]
    with pytest.raises(dataclasses.FrozenInstanceError):
        srmudp.Config().liveness = 5  # type: ignore[misc]
    assert len({srmudp.Config(), srmudp.Config(), srmudp.Config(liveness=5)}) == 2
    assert "identity" not in repr(srmudp.Config(identity=b"s" * 32))


# ---- Policy ----------------------------------------------------------------------------------------------------------


def test_rules() -> None:
    assert srmudp.Rule(True, "10.1.2.3/8").network == ipaddress.ip_network("10.0.0.0/8")
    with pytest.raises(ValueError, match="network"):
        srmudp.Rule(True, "10.0.0.0/33")
    with pytest.raises(ValueError, match="ports"):
        srmudp.Rule(True, "10.0.0.0/8", (5, 4))


async def test_the_first_rule_that_covers_an_address_decides() -> None:
    policy = (
        srmudp.Rule(True, "127.0.0.1", (9000, 9000)),
        srmudp.Rule(False, "127.0.0.0/9"),
        srmudp.Rule(False, "203.0.113.128/25"),
        srmudp.Rule(False, "::/0", (1, 1023)),
    )
    async with await srmudp.Endpoint.bind(config=srmudp.Config(policy=policy)) as near:
        for host, port in (
            (HOST, 9001),
            ("127.127.255.255", 9),
            ("203.0.113.128", 9),
            ("::1", 1023),
            ("::ffff:127.0.0.1", 9),
        ):
            with pytest.raises(srmudp.PolicyDenied):
                near.open(host, port, key=KEY)
        for host, port in ((HOST, 9000), ("127.128.0.1", 9), ("203.0.113.127", 9), ("::1", 1024)):
            await near.open(host, port, key=KEY).close()


async def test_a_name_whose_addresses_are_all_forbidden() -> None:
    policy = (srmudp.Rule(False, "127.0.0.0/8"), srmudp.Rule(False, "::1"))
    async with await srmudp.Endpoint.bind(config=srmudp.Config(policy=policy)) as near:
        with pytest.raises(srmudp.PolicyDenied):
            await near.connect("localhost", 9, key=KEY, timeout=5)


# ---- Arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "port"),
    [("", 9), ("a\0b", 9), (HOST, 0), (HOST, -1), (HOST, 65536), ("0.0.0.0", 9), ("::", 9), ("224.0.0.1", 9),
     ("255.255.255.255", 9), ("1.2.3", 9), ("é" * 70 + ".example", 9)],
)  # fmt: skip
async def test_addresses_that_cannot_be(host: str, port: int) -> None:
    async with await srmudp.Endpoint.bind() as near:
        with pytest.raises(srmudp.InvalidAddress):
            near.open(host, port, key=KEY)


async def test_an_address_of_a_family_the_endpoint_has_not() -> None:
    async with endpoint() as near:
        with pytest.raises(srmudp.InvalidAddress):
            near.open("::1", 9, key=KEY)


async def test_types() -> None:
    async with endpoint() as near:
        wrongs: list[tuple[Any, Any]] = [(5, 9), (b"127.0.0.1", 9), (HOST, "9"), (HOST, 9.0), (HOST, True)]
        for arguments in wrongs:
            with pytest.raises(TypeError):
                near.open(*arguments, key=KEY)
        for key in (5, None, ["k"]):
            with pytest.raises(TypeError):
                near.listen(key=key)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            near.listen(key=KEY, label=b"x")  # type: ignore[arg-type]
        for label in ("x" * 256, "é" * 128, "a\0b"):
            with pytest.raises(ValueError, match="label"):
                near.listen(key=KEY, label=label)
        near.listen(key=KEY, label="é" * 127).close()


async def test_keys() -> None:
    async with endpoint() as near:
        for wrong in ("", b"", "x" * 4097, bytes(4097), "ü" * 2049, "\ud800"):
            with pytest.raises(srmudp.InvalidKey) as caught:
                near.open(HOST, 9, key=wrong)
            assert isinstance(caught.value, ValueError)
        for right in (" ", "\0", "x" * 4096, bytearray(b"k"), memoryview(b"k"), "u\u0308" * 2048):
            near.listen(key=right, label=str(len(right))).close()


async def test_no_text_holds_the_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    texts: list[str] = []
    async with endpoint() as near, endpoint() as far, far.listen(key=SECRET) as listener:
        for call in (
            lambda: near.open(HOST, 0, key=SECRET),
            lambda: near.open(HOST, 9, key=SECRET * 1000),
            lambda: near.open(HOST, 9, key=SECRET + "\ud800"),
            lambda: near.listen(key=SECRET, label="x" * 300),
        ):
            with pytest.raises(ValueError) as caught:  # noqa: PT011
                call()
            error = caught.value
            texts += [repr(error), *traceback.format_exception(error), repr(error.__context__)]
        with pytest.raises(srmudp.WrongKey) as wrong:
            await near.connect(*far.local_address, key=SECRET + "!", timeout=2)
        texts += [repr(wrong.value)]
        connection = await near.connect(*far.local_address, key=SECRET, timeout=5)
        accepted = await listener.accept()
        for item in (near, far, listener, connection, accepted, near.config):
            texts += [repr(item), str(item)]
        for item in (connection, accepted):
            texts += [repr(item.stats()), repr([getattr(item, name, None) for name in item.__slots__])]
    own = [text for text in texts if SECRET in text and "key=SECRET" not in text]
    assert own == []
    assert SECRET not in caplog.text


# ---- Errors ----------------------------------------------------------------------------------------------------------


def test_every_error_of_the_engine_has_its_class_and_its_words() -> None:
    for code, (name, python, text) in enumerate(_srmudp.ERRORS[2:], start=2):
        error = errors.make(code)
        assert type(error).__name__ in (python, "Error")
        assert (python == type(error).__name__) or (name == "liveness" and python == "")
        if isinstance(error, srmudp.Error):
            assert error.reason == name
            assert str(error).lower() == text.lower()
            assert not str(error)[0].islower()
            assert type(error).__module__ == "autoprox.srmudp"
    assert {cls.__name__ for cls in errors.PUBLIC} <= set(srmudp.__all__)
    for cls in errors.PUBLIC[1:]:
        assert str(cls()), "each says what happened by itself"


def test_the_family_of_errors() -> None:
    assert all(issubclass(cls, srmudp.Error) for cls in errors.PUBLIC)
    assert issubclass(srmudp.Closed, RuntimeError)
    assert issubclass(srmudp.ConnectTimeout, TimeoutError)
    message = srmudp.Message(b"x")
    assert srmudp.Undelivered(undelivered=[message]).messages == (message,)
    assert srmudp.ConnectionLost("text").undelivered == ()
    assert str(srmudp.ConnectionLost("text")) == "text"
    assert "denied" in str(errors.make(errors.SYSTEM, errno=13)).lower()


# ---- Message ---------------------------------------------------------------------------------------------------------


def test_messages_made_by_hand() -> None:
    message = srmudp.Message(b"abc", True, 7, 9, True)
    assert (message.data, message.is_text, message.channel, message.number, message.maybe_duplicate) == (
        b"abc", True, 7, 9, True,
    )  # fmt: skip
    assert len(message) == 3
    assert bytes(memoryview(message)) == b"abc"
    assert repr(message) == "<Message 9 of channel 7: 3 bytes of text, maybe a duplicate>"
    message.consume()
    variants = [
        srmudp.Message(b"abc"),
        srmudp.Message(b"abc", channel=1),
        srmudp.Message(b"abc", True),
        srmudp.Message(b"ab"),
    ]
    assert srmudp.Message(b"abc") == variants[0]
    assert hash(srmudp.Message(b"abc")) == hash(variants[0])
    assert all(one != other for one, other in itertools.combinations(variants, 2))
    assert variants[0] != b"abc"
    wrongs: tuple[tuple[dict[str, Any], type[Exception]], ...] = (
        ({"data": "x"}, TypeError),
        ({"data": b"", "channel": 256}, ValueError),
        ({"data": b"", "number": -1}, OverflowError),
    )
    for wrong, kind in wrongs:
        with pytest.raises(kind):
            srmudp.Message(**wrong)
    with pytest.raises(AttributeError):
        message.data = b"y"  # type: ignore[misc]


def test_engine_objects_are_not_made_by_hand() -> None:
    for kind in (_srmudp.Connection, _srmudp.Listener):
        with pytest.raises(TypeError):
            kind()


async def test_handles_answer_after_their_end() -> None:
    async with pair() as (a, b):
        handle, bound = a._handle, a._endpoint._handle
        listener = bound.listen(b"k", "")
        await b.close()
        await a._endpoint.close()
        assert (bound.fileno(), bound.poll(5), bound.stats()["connections"]) == (-1, [], 0)
        assert handle.send(b"x", 0) == _srmudp.NOT_TRIED
        assert errors.make(handle.send_waiting(b"x", 0)).args == srmudp.Closed().args
        assert (handle.receive(), handle.receive_message(), handle.take(), handle.sent()) == (
            None,
            None,
            None,
            {},
        )
        handle.close(5)
        handle.reconnect()
        handle.release()
        listener.close()
        bound.close()
        for call in (lambda: bound.open(HOST, 9, b"k", ""), lambda: bound.listen(b"k", ""), bound.addresses):
            with pytest.raises(_srmudp.Failure):
                call()


# ---- Delivery --------------------------------------------------------------------------------------------------------


@given(st.lists(st.booleans(), max_size=12), st.randoms(use_true_random=False))
def test_delivery_counts_like_a_set(skipped: list[bool], source: Any) -> None:
    """A message is consumed after all before it are settled, or skipped at any time."""
    delivery = Delivery()
    on_their_way = set(range(1, len(skipped) + 1))
    while on_their_way:
        first = min(on_their_way)
        number = source.choice([n for n in on_their_way if skipped[n - 1] or n == first])
        if skipped[number - 1]:
            delivery.skip([(3, number)])
        else:
            delivery.consumed(3, number)
        on_their_way.discard(number)
        for target in range(len(skipped) + 1):
            assert delivery.settled({3: target}) == all(n > target for n in on_their_way)
    assert delivery.settled({4: 1}) is False
