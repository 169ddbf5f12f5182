"""Who is let in, where UDP may go, and that no log holds a key."""

import base64
import ipaddress
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.requests import HTTPConnection
from websockets.frames import Frame, Opcode

from autoprox.config import Settings
from autoprox.routes.protocol import Close, Refused
from autoprox.routes.redact import RedactingFilter, install_redaction, redact
from autoprox.routes.security import (
    check_authorisation,
    check_host,
    check_origin,
    choose_subprotocol,
    has_loopback_privileges,
)
from autoprox.targets import TargetPolicy, TargetRule

LOOPBACK = ("127.0.0.1", 8000)


def connection(
    server: Any = LOOPBACK,
    client: Any = ("127.0.0.1", 50000),
    subprotocols: tuple[str, ...] = (),
    **headers: str,
) -> HTTPConnection:
    named = {"host": "127.0.0.1:8000"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return HTTPConnection(
        {
            "type": "websocket",
            "scheme": "ws",
            "server": server,
            "client": client,
            "subprotocols": list(subprotocols),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in named.items()],
        }
    )


# ---- Loopback privileges ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_programs_of_this_machine_are_privileged(address: str) -> None:
    assert has_loopback_privileges(connection((address, 8000), (address, 50000)))


@pytest.mark.parametrize(
    "wide",
    [
        {"client": ("192.0.2.1", 5)},
        {"server": ("192.0.2.2", 5)},
        {"client": None},
        {"server": None},
        {"server": ("/run/app.sock", None)},
        {"client": ("testclient", 5)},
        {"forwarded": "for=192.0.2.1"},
        {"x_forwarded_for": "127.0.0.1"},
        {"x_forwarded_proto": "https"},
        {"x_real_ip": "127.0.0.1"},
        {"via": "1.1 proxy"},
    ],
)
def test_what_cannot_be_told_is_wide(wide: dict[str, Any]) -> None:
    assert not has_loopback_privileges(connection(**wide))


# ---- Host and Origin -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost:8000", "[::1]:8000", "LOCALHOST", "app.localhost:1"]
)
def test_loopback_hosts_are_answered(host: str) -> None:
    check_host(connection(host=host), Settings())


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "192.0.2.1", "", "localhost.evil.example", "[::1"]
)
def test_other_hosts_on_loopback_are_dns_rebinding(host: str) -> None:
    with pytest.raises(Refused) as caught:
        check_host(connection(host=host), Settings())
    assert caught.value.code == Close.NOT_ALLOWED


def test_allowed_hosts_are_answered_everywhere() -> None:
    settings = Settings(allowed_hosts=("Bridge.Example",))
    check_host(connection(host="bridge.example:8000"), settings)
    check_host(connection(client=("192.0.2.1", 1), host="bridge.example"), settings)
    check_host(connection(client=("192.0.2.1", 1), host="any.example"), Settings())
    with pytest.raises(Refused):
        check_host(connection(client=("192.0.2.1", 1), host="any.example"), settings)
    check_host(connection(host="any.example"), Settings(allowed_hosts=("*",)))


@pytest.mark.parametrize(
    "origin",
    ["http://127.0.0.1:8000", "https://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000"],
)
def test_own_pages_may_connect(origin: str) -> None:
    check_origin(connection(origin=origin), Settings())


@pytest.mark.parametrize(
    "origin",
    ["null", "", "http://evil.example", "http://127.0.0.1", "http://127.0.0.1:8001", "file://", "http://127.0.0.1:8000x",
     "http://127.0.0.1.evil.example:8000", "chrome-extension://abc", "http://evil.example:8000"],
)  # fmt: skip
def test_other_pages_may_not(origin: str) -> None:
    with pytest.raises(Refused) as caught:
        check_origin(connection(origin=origin), Settings())
    assert caught.value.code == Close.NOT_ALLOWED


def test_origins_may_be_allowed() -> None:
    check_origin(connection(), Settings())
    check_origin(
        connection(origin="https://App.example"), Settings(allowed_origins=("https://app.example/",))
    )
    check_origin(connection(origin="null"), Settings(allowed_origins=("null",)))
    check_origin(connection(origin="http://evil.example"), Settings(allowed_origins=("*",)))


# ---- Token and authorisation -----------------------------------------------------------------------------------------


def bearer_subprotocol(token: str) -> str:
    return "autoprox.bearer." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


async def test_without_a_token_only_this_machine_is_served() -> None:
    await check_authorisation(connection(), Settings(), None)
    with pytest.raises(Refused) as caught:
        await check_authorisation(connection(client=("192.0.2.1", 1)), Settings(), None)
    assert caught.value.code == Close.NOT_AUTHORISED


async def test_a_token_is_demanded_of_everybody() -> None:
    settings = Settings(token="s3cret tökén")  # type: ignore[arg-type]
    attempts: tuple[dict[str, Any], ...] = (
        {},
        {"authorization": "Bearer nope"},
        {"authorization": "Basic s3cret"},
        {"authorization": "Bearer "},
    )
    for wrong in attempts:
        with pytest.raises(Refused) as caught:
            await check_authorisation(connection(**wrong), settings, None)
        assert "s3cret" not in str(caught.value) + caught.value.hint
    await check_authorisation(connection(subprotocols=(bearer_subprotocol("s3cret tökén"),)), settings, None)
    for wrong_offer in ("autoprox.bearer.", "autoprox.bearer.!!!", bearer_subprotocol("x")):
        with pytest.raises(Refused):
            await check_authorisation(connection(subprotocols=("autoprox.v1", wrong_offer)), settings, None)
    ascii_only = Settings(token="plain")  # type: ignore[arg-type]
    await check_authorisation(
        connection(client=("192.0.2.1", 1), authorization="bearer plain"), ascii_only, None
    )


async def test_a_host_apps_authorisation_replaces_the_loopback_rule() -> None:
    wide = connection(client=("192.0.2.1", 1))
    await check_authorisation(wide, Settings(), lambda _: True)

    async def no(_: HTTPConnection) -> bool:
        return False

    with pytest.raises(Refused):
        await check_authorisation(connection(), Settings(), no)


def test_subprotocols_are_chosen() -> None:
    bearer = bearer_subprotocol("x")
    assert choose_subprotocol([]) is None
    assert choose_subprotocol(["chat", "autoprox.v1"]) == "autoprox.v1"
    assert choose_subprotocol([bearer, "autoprox.v1"]) == "autoprox.v1"
    assert choose_subprotocol([bearer]) == bearer
    with pytest.raises(Refused):
        choose_subprotocol(["chat"])


# ---- Targets ---------------------------------------------------------------------------------------------------------

NEVER = [
    "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.1.2.3", "255.255.255.255", "240.0.0.1", "169.254.169.254", "169.254.1.1",
    "100.100.100.200", "::", "ff02::1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "::ffff:224.0.0.1",
    "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "name.example", "",
]  # fmt: skip


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_targets_by_default(address: str) -> None:
    assert not TargetPolicy().permits(address, 40_000, privileged=True)
    assert not TargetPolicy.parse(["*"], []).permits(address, 40_000, privileged=True)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.0.0.1", "203.0.113.5", "2001:db8::1", "::ffff:10.0.0.1"]
)
def test_unicast_needs_loopback_privileges_or_a_rule(address: str) -> None:
    assert TargetPolicy().permits(address, 40_000, privileged=True)
    assert not TargetPolicy().permits(address, 40_000, privileged=False)
    assert TargetPolicy.parse(["*:40000"], []).permits(address, 40_000, privileged=False)
    assert not TargetPolicy.parse(["*:40000"], []).permits(address, 40_001, privileged=False)


def test_a_deny_rule_wins_also_inside_mapped_addresses() -> None:
    policy = TargetPolicy.parse(["10.0.0.0/8"], ["10.1.0.0/16:1-100"])
    assert not policy.permits("10.1.2.3", 100, privileged=True)
    assert not policy.permits("::ffff:10.1.2.3", 100, privileged=True)
    assert policy.permits("10.1.2.3", 101, privileged=False)


def test_a_named_network_overrides_the_never_list() -> None:
    assert TargetPolicy.parse(["169.254.0.0/16"], []).permits("169.254.1.1", 1, privileged=False)


@pytest.mark.parametrize(
    ("text", "address", "port", "covered"),
    [
        ("203.0.113.0/24:40000-40999+5", "203.0.113.9", 40999, True),
        ("203.0.113.0/24:40000-40999+5", "203.0.113.9", 5, True),
        ("203.0.113.0/24:40000-40999", "203.0.113.9", 41000, False),
        ("198.51.100.7", "198.51.100.7", 1, True),
        ("198.51.100.7", "198.51.100.8", 1, False),
        ("2001:db8::/32", "2001:db8::5", 9, True),
        ("[2001:db8::/32]:443", "2001:db8::5", 443, True),
        ("[2001:db8::/32]:443", "2001:db8::5", 444, False),
        ("10.0.0.0/8:*", "2001:db8::5", 444, False),
    ],
)
def test_rules_are_read(text: str, address: str, port: int, covered: bool) -> None:
    assert TargetRule.parse(text).covers(ipaddress.ip_address(address), port) is covered


def test_the_engine_is_told_the_same_rules() -> None:
    """Of the engine's rules the first one that covers an address decides, and what none covers is allowed."""
    samples = [*NEVER[:-2], "127.0.0.1", "10.1.2.3", "10.2.0.1", "203.0.113.5", "::1", "2001:db8::5", "fd00::1",
               "::ffff:10.1.2.3", "64:ff9b::a01:203", "2002:a01:203::1", "::ffff:203.0.113.5"]  # fmt: skip
    for allow, deny in (
        ([], []),
        (["*"], []),
        (["169.254.0.0/16:80-90"], ["10.1.0.0/16:1-100"]),
        (["10.0.0.0/8"], ["*:5"]),
        (["ff02::/16"], ["[2001:db8::/32]:443+80", "203.0.113.5"]),
    ):
        policy = TargetPolicy.parse(allow, deny)
        for text in samples:
            address = ipaddress.ip_address(text.partition("%")[0])
            for port in (1, 5, 80, 100, 101, 443):
                decided = next(
                    (
                        verdict
                        for verdict, network, (low, high) in policy.engine_rules()
                        if low <= port <= high and address.version == network.version and address in network
                    ),
                    True,
                )
                assert decided == policy.permits(text, port, privileged=True), (text, port, allow, deny)


@pytest.mark.parametrize("text", ["", "x", "10.0.0.0/33", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:5-4", "10.0.0.1:x",
                                  "[::1", "[::1]x", "10.0.0.1:1-", "10.0.0.1:1+", "10.0.0.1:-5"])  # fmt: skip
def test_a_bad_rule_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="target rule"):
        TargetRule.parse(text)


# ---- Logs ------------------------------------------------------------------------------------------------------------

SECRET = "s3cr&t"


@pytest.mark.parametrize(
    "text",
    [
        "GET /v0/ws/proxy?encryption_key=hunter2&x=1 HTTP/1.1",
        "/v0/ws/proxy?remote_port=1&encryption_key=hunter2",
        "/v0/ws/proxy?remote_port=1&encryption_key=a'hunter2\"hunter2&x=1",
        "/p?encryption%5Fkey=hunter2",
        "/p?ENCRYPTION_KEY=hunter2",
        "/p?token=hunter2",
        "{'query_string': b'encryption_key=hunter2', 'headers': []}",
        "[(b'x-autoprox-key', b'hun\\'ter2 hunter2')]",
        "< X-Autoprox-Key: hunter2",
        "Authorization: Bearer hunter2",
        "autoprox.v1, autoprox.bearer.hunter2",
        '{"type":"open","encryption_key":"a\\"hunter2"}',
        '< TEXT \'{"type":"open", "encryption_key" : "hunter2"}\' [48 bytes]',
    ],
)
def test_secrets_are_redacted(text: str) -> None:
    cleaned = redact(text)
    assert "hunter2" not in cleaned
    assert "[redacted]" in cleaned


def test_the_rest_of_a_log_line_stays() -> None:
    line = '127.0.0.1:5 - "GET /v0/ws/proxy?remote_host=a&encryption_key=k&client_id=c HTTP/1.1" 200'
    assert redact(line) == line.replace("=k&", "=[redacted]&")
    assert redact("Authorisation of x=1 took 3 s") == "Authorisation of x=1 took 3 s"


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    kept: list[logging.LogRecord] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(record)

    logger, keeper = logging.getLogger("uvicorn.access"), Keeper()
    before = logger.level, logger.propagate
    logger.addHandler(keeper)
    logger.setLevel(logging.DEBUG)
    yield kept
    logger.removeHandler(keeper)
    logger.setLevel(before[0])


def test_records_keep_their_shape(records: list[logging.LogRecord]) -> None:
    install_redaction()
    install_redaction()
    logger = logging.getLogger("uvicorn.access")
    assert sum(isinstance(present, RedactingFilter) for present in logger.filters) == 1
    arguments = ("127.0.0.1:5", "GET", "/x?encryption_key=hunter2", "1.1", 200)
    logger.info('%s - "%s %s HTTP/%s" %d', *arguments)
    logger.info(
        "scope=%s", {"query_string": b"encryption_key=hunter2", "headers": [(b"x-autoprox-key", b"hunter2")]}
    )
    logger.info("a literal encryption_key in ?encryption_key=hunter2")
    logger.debug("< %s: %s", "authorization", "Bearer hunter2")
    logger.debug(
        "< %s",
        Frame(Opcode.TEXT, b'{"type": "open", "padding": "' + b"x" * 90 + b'", "encryption_key": "hunter2"}'),
    )
    assert len(records) == 5
    assert isinstance(records[0].args, tuple)
    assert len(records[0].args) == 5
    assert records[0].args[4] == 200
    assert not any("hunter2" in record.getMessage() for record in records)
