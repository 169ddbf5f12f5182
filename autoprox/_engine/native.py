"""The C extension, or a sentence that says how to get it."""

from __future__ import annotations

try:
    import autoprox._srmudp as native
except ModuleNotFoundError as error:
    if error.name != "autoprox._srmudp":
        raise
    raise ImportError(
        "autoprox's engine is not built for this Python. In a checkout run ./dev setup, which builds it into .venv, or "
        "pip install -e . (needs a C compiler, pkg-config, and libuv and libsodium with their headers)"
    ) from error

__all__ = ["native"]
