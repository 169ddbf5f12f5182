"""Settings: from the environment, checked, hashable, and silent about the token."""

import pytest
from pydantic import ValidationError

from autoprox.config import RECEIVE_OVERHEAD, Settings


def test_every_setting_has_a_default_and_a_description() -> None:
    assert Settings() == Settings()
    assert all(field.description for field in Settings.model_fields.values())
    assert not any(field.is_required() for field in Settings.model_fields.values())


def test_equal_settings_are_one_key() -> None:
    assert len({Settings(), Settings(), Settings(grace=1)}) == 2


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "TOKEN": "t", "ALLOW_TARGETS": "10.0.0.0/8:1-5, *:9", "ALLOWED_ORIGINS": "", "GRACE": "1.5", "UDP_PORT": "4000",
        "OUTAGE_LIMIT": "none", "PMTU_DISCOVERY": "0", "CONGESTION_CONTROL": "cubic", "UNKNOWN": "x",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"AUTOPROX_{name}", value)
    settings = Settings()
    assert settings.token is not None
    assert settings.token.get_secret_value() == "t"
    assert settings.allow_targets == ("10.0.0.0/8:1-5", "*:9")
    assert settings.allowed_origins == ()
    assert (settings.grace, settings.udp_port, settings.outage_limit) == (1.5, 4000, None)
    assert not settings.pmtu_discovery
    assert settings.congestion_control == "cubic"


def test_an_empty_token_is_none() -> None:
    assert Settings(token="").token is None  # type: ignore[arg-type]


def test_the_token_is_not_shown() -> None:
    assert "hunter2" not in repr(Settings(token="hunter2"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [("grace", -1), ("udp_port", 65_536), ("max_bridges", 0), ("stall_limit", 0), ("allow_targets", "x"), ("deny_targets", "1.2.3.4:0"),
     ("congestion_control", "vegas"), ("outage_limit", 0), ("liveness", 0.5), ("max_message_size", 0), ("close_timeout", -1)],
)  # fmt: skip
def test_a_bad_setting_is_named(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings(**{name: value})  # type: ignore[arg-type]


def test_a_receive_buffer_must_hold_a_message() -> None:
    Settings(max_message_size=1000, receive_buffer=1000 + RECEIVE_OVERHEAD)
    with pytest.raises(ValidationError, match="receive_buffer"):
        Settings(max_message_size=1000, receive_buffer=1000 + RECEIVE_OVERHEAD - 1)


def test_the_websocket_limit_fits_escaped_text() -> None:
    settings = Settings(max_message_size=1000)
    assert settings.websocket_max_size >= len('{"type":"data","format":"text","data":""}') + 1000 * len(
        "\\u0001"
    )
