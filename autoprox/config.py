"""Settings of the bridge: one frozen model, each field also read from ``AUTOPROX_<NAME>``.

Two apps with equal settings on one event loop share one UDP endpoint, so a `Settings` is hashable and never changes.
Lists are written with commas in the environment (``AUTOPROX_ALLOWED_ORIGINS=https://a.example,https://b.example``).
Times are seconds, sizes are bytes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from autoprox.targets import TargetPolicy

MEBIBYTE = 1 << 20
RECEIVE_OVERHEAD = 64
"""What one message costs in a receive buffer beyond its bytes."""

Words = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """Everything a user may set about the app and its engine; each default is meant for one user's own machine."""

    model_config = SettingsConfigDict(
        env_prefix="AUTOPROX_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    token: SecretStr | None = Field(
        default=None,
        description="Bearer token every client must show. Without one, only this machine's own programs are served.",
    )
    allow_targets: Words = Field(
        default=(),
        description="CIDR:ports a client may bridge to; clients without loopback privileges reach nothing else.",
    )
    deny_targets: Words = Field(
        default=(), description="CIDR:ports no client may bridge to; wins over allow_targets."
    )
    allowed_origins: Words = Field(
        default=(),
        description="Origins of web pages that may use the bridge, besides pages it serves itself; * for any.",
    )
    allowed_hosts: Words = Field(
        default=(),
        description="Names this server answers to (the Host header), besides the loopback ones; * for any.",
    )
    max_bridges: int = Field(
        default=1024, ge=1, le=100_000, description="Bridges at one time, living on in grace included."
    )
    max_bridges_per_client: int = Field(
        default=512, ge=1, le=100_000, description="The same for one client address."
    )
    grace: float = Field(
        default=60.0,
        ge=0,
        le=86_400,
        description="Seconds a bridge with a client_id lives on without its client.",
    )
    stall_limit: float = Field(
        default=60.0,
        gt=0,
        le=86_400,
        description="Seconds without any progress after which a client that doesn't read is dropped.",
    )
    close_timeout: float = Field(
        default=5.0, ge=0, le=600, description="Seconds closing may take to deliver what was sent."
    )

    udp_host: str = Field(
        default="", description="Address of the shared UDP port; empty: all, IPv4 and IPv6."
    )
    udp_port: int = Field(default=0, ge=0, le=65_535, description="The shared UDP port; 0: any free one.")

    liveness: float = Field(
        default=10.0, ge=1, le=600, description="Silence after which an idle connection is RECONNECTING."
    )
    liveness_in_flight: float = Field(
        default=3.0, ge=0.5, le=600, description="The same while data waits for acknowledgement."
    )
    keepalive_interval: float = Field(
        default=15.0, ge=0.5, le=3600, description="Silence after which a keep-alive is sent."
    )
    outage_limit: float | None = Field(
        default=3600.0,
        gt=0,
        description="Seconds of RECONNECTING after which a connection fails; none: for ever.",
    )
    reconnect_delay: float = Field(
        default=1.0, ge=0.1, le=60, description="Pause between tries while RECONNECTING."
    )
    max_message_size: int = Field(
        default=16 * MEBIBYTE, ge=1, le=1 << 30, description="Bytes of one message, after decoding."
    )
    send_buffer: int = Field(
        default=64 * MEBIBYTE,
        ge=1,
        description="Bytes accepted and not yet consumed by the peer, for one connection.",
    )
    receive_buffer: int = Field(
        default=64 * MEBIBYTE, ge=1, description="Bytes received and not yet consumed, for one connection."
    )
    congestion_control: Literal["bbr", "cubic"] = Field(
        default="bbr", description="How the engine finds its rate."
    )
    pmtu_discovery: bool = Field(default=True, description="Look for the largest packets the path carries.")

    @field_validator("allow_targets", "deny_targets", "allowed_origins", "allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return (
            tuple(word.strip() for word in value.split(",") if word.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("outage_limit", mode="before")
    @classmethod
    def _for_ever(cls, value: Any) -> Any:
        return None if isinstance(value, str) and value.strip().lower() in ("none", "never", "") else value

    @field_validator("token")
    @classmethod
    def _no_empty_token(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value is not None and value.get_secret_value() else None

    @field_validator("allow_targets", "deny_targets")
    @classmethod
    def _readable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        TargetPolicy.parse(value, ())
        return value

    @model_validator(mode="after")
    def _one_message_fits(self) -> Settings:
        if self.receive_buffer < self.max_message_size + RECEIVE_OVERHEAD:
            raise ValueError(
                f"receive_buffer ({self.receive_buffer}) must hold a message of max_message_size "
                f"({self.max_message_size}) and {RECEIVE_OVERHEAD} bytes more"
            )
        return self

    def target_policy(self) -> TargetPolicy:
        """The rules of `allow_targets` and `deny_targets`."""
        return TargetPolicy.parse(self.allow_targets, self.deny_targets)

    @property
    def websocket_max_size(self) -> int:
        """What a server's WebSocket limit must be so that a message fits in each of its forms.

        A byte of text takes six in JSON that escapes everything (``\\u0001``), which also covers base64's four
        thirds; the envelope around it gets 64 KiB.
        """
        return 6 * self.max_message_size + (64 << 10)
