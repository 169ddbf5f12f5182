"""Direct, encrypted, lossless messages between two programs behind NATs.

`autoprox.srmudp` is the transport: secure reliable messages over UDP. `create_app` gives the bridge that speaks it
for WebSocket clients; the command ``autoprox`` serves it. Importing this package loads neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoprox.app import create_app as create_app

__all__ = ["create_app"]


def __getattr__(name: str) -> Any:
    if name == "create_app":  # brings FastAPI along, which programs that only use the transport don't need
        from autoprox.app import create_app

        return create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
