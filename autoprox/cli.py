"""The command ``autoprox``: ``serve`` (also without a verb) and ``demo``.

What a verb needs is imported when it runs, so ``autoprox --help`` stays quick. ``serve`` has one option for every
setting of `autoprox.config.Settings`, made from the model itself.
"""

from __future__ import annotations

import errno
import os
import sys
import types
from functools import partial
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

import click

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic.fields import FieldInfo

    from autoprox.config import Settings

STARTUP_FAILURE = 3
"""Exit code when the server could not start, as uvicorn's own."""
_LOCAL_ONLY = """

  It has no token, so programs of this machine alone are served. Set AUTOPROX_TOKEN to serve others."""
LOG_LEVELS = ("critical", "error", "warning", "info", "debug", "trace")


class _Verbs(click.Group):
    """A group whose verb may be left out: options alone mean ``serve``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {"--help", "--version"}
        if not args or (args[0].startswith("-") and args[0] not in own):
            args = ["serve", *args]
        return super().parse_args(ctx, args)


class _Serve(click.Command):
    """``serve`` reads the settings' model only when its options are asked for."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        from autoprox.config import Settings

        options = [_option(name, field) for name, field in Settings.model_fields.items()]
        own = super().get_params(ctx)
        return [*own[:-1], *options, own[-1]]


def _option(name: str, field: FieldInfo) -> click.Option:
    flag = "--" + name.replace("_", "-")
    shown = "" if field.default is None or isinstance(field.default, bool) else _shown(field.default)
    text = f"{field.description}{f'  [default: {shown}]' if shown else ''}"
    if field.annotation is bool:
        text += f"  [default: {'on' if field.default else 'off'}]"
        return click.Option([f"{flag}/--no-{flag[2:]}", name], default=None, help=text)
    return click.Option([flag, name], metavar=_metavar(field.annotation), default=None, help=text)


def _shown(value: Any) -> str:
    return (
        ",".join(value)
        if isinstance(value, tuple)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def _metavar(annotation: Any) -> str:
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(kind for kind in get_args(annotation) if kind is not type(None))
    if choices := get_args(annotation):
        return "LIST" if get_origin(annotation) is tuple else "|".join(map(str, choices))
    return {int: "NUMBER", float: "NUMBER"}.get(annotation, "TEXT")


@click.group(cls=_Verbs, context_settings={"max_content_width": 110})
@click.version_option(package_name="autoprox")
def main() -> None:
    """Direct, encrypted, lossless messages between two programs, over UDP and through NATs.

    Without a verb, `serve` runs.
    """


@main.command(cls=_Serve, short_help="Run the bridge: WebSocket on one side, SRMUDP on the other.")
@click.option(
    "--host", default="127.0.0.1", envvar="AUTOPROX_HOST", show_default=True, help="Address to serve on."
)
@click.option(
    "--port",
    default=8000,
    type=click.IntRange(0, 65_535),
    envvar="AUTOPROX_PORT",
    show_default=True,
    help="TCP port to serve on; 0: any free one.",
)
@click.option("--reload", is_flag=True, help="Restart when the code changes (for those who change it).")
@click.option(
    "--log-level", default="info", type=click.Choice(LOG_LEVELS), show_default=True, help="What is logged."
)
def serve(host: str, port: int, reload: bool, log_level: str, **given: str | bool | None) -> None:
    """Run the bridge: WebSocket clients on one side, SRMUDP peers on the other.

    Every option below --log-level is a setting and is also read from the environment: --udp-port from
    AUTOPROX_UDP_PORT, and so on. Secrets are better put there: a command line can be seen by other users.
    """
    settings = _read_settings({name: value for name, value in given.items() if value is not None})
    from autoprox import server

    if reload:
        os.environ.update(_as_environment(given))
        server.run_reloading(settings, host, port, log_level=log_level)
        return
    announce = partial(_announce, host, settings.token is not None)
    try:
        started = server.run(settings, host, port, on_started=announce, log_level=log_level)
    except OSError as error:
        advice = "another --port may be free" if error.errno == errno.EADDRINUSE else "see --host and --port"
        raise click.ClickException(f"{error.strerror or error}; {advice}") from error
    if not started:
        sys.exit(STARTUP_FAILURE)


def _read_settings(given: dict[str, Any]) -> Settings:
    from pydantic import ValidationError

    from autoprox.config import Settings

    try:
        return Settings(**given)
    except ValidationError as error:
        raise click.UsageError(_describe(error)) from None


def _describe(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        option = f"--{name.replace('_', '-')} (AUTOPROX_{name.upper()}): " if name else ""
        lines.append(option + problem["msg"].removeprefix("Value error, "))
    return "\n".join(lines)


def _as_environment(given: dict[str, str | bool | None]) -> dict[str, str]:
    """For the processes a reloader starts, which read their settings themselves."""
    return {f"AUTOPROX_{name.upper()}": str(value) for name, value in given.items() if value is not None}


def _announce(host: str, token: bool, port: int, udp_addresses: list[tuple[str, int]]) -> None:
    """The short screen: where the bridge is and what to do next."""
    shown = {"": "localhost", "0.0.0.0": "localhost", "::": "localhost"}.get(host, host)
    place = f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"
    families = " and ".join("IPv6" if ":" in address else "IPv4" for address, _ in udp_addresses)
    udp_port = f"{udp_addresses[0][1]} ({families})" if udp_addresses else "none yet"
    local_only = "" if token or host in ("localhost", "127.0.0.1", "::1") else _LOCAL_ONLY
    click.echo(
        f"""
  autoprox is up.{local_only}

    WebSocket   ws://{place}/v0/ws/proxy
    UDP port    {udp_port}
    How to      http://{place}/v0/ws/info   http://{place}/v0/docs

  Next: start one at the other side too, tell each the other's address and UDP port, and on both sides

    python -m autoprox.examples.srmudp_websocket_example --ws-url ws://{place}/v0/ws/proxy \\
        --remote-host ADDRESS --remote-port UDP_PORT --encryption-key SECRET

  Two bridges at work on this machine: autoprox demo.   Stop with Ctrl-C.
"""
    )


@main.command()
@click.option(
    "--check", is_flag=True, help="Plain lines and an exit code only: 0 when every step passed, else 1."
)
def demo(check: bool) -> None:
    """Two bridges on this machine, a link between them that loses packets, and four checked steps."""
    from autoprox.demo import run

    sys.exit(0 if run(decorated=not check) else 1)
