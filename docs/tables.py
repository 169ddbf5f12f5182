"""Keeps what the guide repeats of the code true: tables made from the code's own, and examples shown as they are.

    python docs/tables.py            rewrites the pages
    python docs/tables.py --check    says which pages are behind; exit code 1 if any is

A page marks the place, and everything up to the end mark is replaced:

    <!-- table: close_codes -->        rows of a table in the code, see TABLES
    <!-- example: hello.py -->         the file guide/examples/hello.py
    <!-- end -->

The pages hold the result, so they read well without a build, and building them needs nothing of the package.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from autoprox import cli
from autoprox._engine import config as engine_config
from autoprox._engine.native import native
from autoprox.config import Settings
from autoprox.routes import protocol

DOCS: Final = Path(__file__).resolve().parent
EXAMPLES: Final = DOCS / "guide" / "examples"
BLOCK: Final = re.compile(r"<!-- (table|example): ([\w.]+) -->\n.*?<!-- end -->", re.DOTALL)
LANGUAGES: Final = {".py": "python", ".c": "c", ".html": "html"}

_CODE: Final = re.compile(r"(`[^`]*`)")
_SIZES: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"))


# ---- Markdown --------------------------------------------------------------------------------------------------------


def table(head: tuple[str, ...], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown cells."""
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def prose(text: str) -> str:
    """Plain text for a cell: what Markdown would take for markup is escaped, except in backticks."""
    parts = _CODE.split(" ".join(text.split()))
    escaped = [part if part.startswith("`") else re.sub(r"([*<>\[\]])", r"\\\1", part) for part in parts]
    return "".join(escaped).replace("|", r"\|")


def code(text: str) -> str:
    """Code for a cell."""
    return f"`{text}`".replace("|", r"\|")


def frame(value: dict[str, Any]) -> str:
    """A frame's JSON for a cell."""
    return code(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


# ---- The WebSocket ---------------------------------------------------------------------------------------------------


def parameters() -> str:
    """The query of ``/v0/ws/proxy``."""
    rows = ((code(name), prose(text)) for name, text in protocol.PARAMETERS.items())
    return table(("parameter", "meaning"), rows)


def subprotocols() -> str:
    """What a client may offer."""
    entries = protocol.DOCUMENTATION["subprotocols"].items()
    return table(
        ("subprotocol", "meaning"),
        ((prose(n) if n == "(none)" else code(n), prose(t)) for n, t in entries),
    )


def statuses() -> str:
    """The words of a status frame."""
    entries = protocol.DOCUMENTATION["server_to_client"]["status"]["statuses"].items()
    return table(("status", "meaning"), ((code(name), prose(text)) for name, text in entries))


def _frames(side: str) -> str:
    rows = []
    for name, entry in protocol.DOCUMENTATION[side].items():
        if isinstance(entry, str):
            rows.append((name, "", prose(entry)))
            continue
        examples = [frame(entry[key]) for key in ("example", protocol.SUBPROTOCOL) if key in entry]
        text = [prose(entry["meaning"])] if "meaning" in entry else []
        text += [f"{code(member)}: {prose(meaning)}." for member, meaning in entry.get("members", {}).items()]
        if "commands" in entry:
            text.append("One of " + ", ".join(map(code, entry["commands"])) + ".")
        rows.append((code(name), " ".join(examples), " ".join(text)))
    return table(("frame", "example", "about it"), rows)


def server_frames() -> str:
    """What the bridge sends."""
    return _frames("server_to_client")


def client_frames() -> str:
    """What a client sends."""
    return _frames("client_to_server")


def notices() -> str:
    """The codes of notice frames."""
    entries = protocol.DOCUMENTATION["server_to_client"]["notice"]["codes"].items()
    return table(("code", "meaning"), ((code(name), prose(text)) for name, text in entries))


def message_errors() -> str:
    """The codes of error frames that end nothing."""
    return table(("code", "meaning"), ((code(name), prose(text)) for name, text in protocol.ERRORS.items()))


def close_codes() -> str:
    """How a WebSocket ends."""
    rows = (
        (str(int(close)), code(close.text), prose(info.meaning), "yes" if info.retry else "no")
        for close, info in protocol.CLOSE_CODES.items()
    )
    return table(("code", "name", "meaning", "worth another try"), rows)


# ---- Settings --------------------------------------------------------------------------------------------------------


def settings() -> str:
    """Every setting of the bridge."""
    rows = [
        (
            code(f"AUTOPROX_{name.upper()}"),
            _bounds(field),
            _default(field.default),
            prose(field.description or ""),
        )
        for name, field in Settings.model_fields.items()
    ]
    return table(("variable", "takes", "default", "meaning"), rows)


def serve_options() -> str:
    """What ``autoprox serve`` takes besides the settings."""
    rows = []
    for option in cli.serve.params:
        declared = ", ".join(map(code, option.opts))
        variable = code(str(option.envvar)) if option.envvar else "–"
        text = getattr(option, "help", None) or ""
        default = False if getattr(option, "is_flag", False) else option.default
        rows.append((declared, variable, _default(default), prose(text)))
    return table(("option", "variable", "default", "meaning"), rows)


def _size(value: int) -> str:
    for unit, name in _SIZES:
        if value >= unit and value % unit == 0:
            return f"{value} ({value // unit} {name})"
    return str(value)


def _default(value: Any) -> str:
    match value:
        case None | () | "":
            return "–"
        case bool():
            return "on" if value else "off"
        case int():
            return _size(value)
        case float():
            return f"{value:g}"
        case _:
            return code(str(value))


def _bounds(field: Any) -> str:
    kinds = [kind for kind in (get_args(field.annotation) or (field.annotation,)) if kind is not type(None)]
    if get_origin(field.annotation) is Literal:
        return ", ".join(code(str(kind)) for kind in kinds)
    if bool in kinds:
        return "on or off"
    if not {int, float} & set(kinds):
        return "list, with commas" if get_origin(field.annotation) is tuple else "text"
    low = high = ""
    for rule in field.metadata:
        low = f"from {rule.ge}" if hasattr(rule, "ge") else f"above {rule.gt}" if hasattr(rule, "gt") else low
        high = f" to {_size(rule.le)}" if hasattr(rule, "le") else high
    return (low + high or "number").strip()


# ---- The transport ---------------------------------------------------------------------------------------------------


def config() -> str:
    """The fields of `srmudp.Config`, from the strings below them."""
    tree = ast.parse(inspect.getsource(engine_config))  # of the module: the class says it is from elsewhere
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Config")
    rows = []
    for field, text in itertools.pairwise(body):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        assert isinstance(text, ast.Expr)
        assert isinstance(text.value, ast.Constant)
        name = field.target.id
        # a slot hides the class attribute that a default would be
        default = engine_config.Config.__dataclass_fields__[name].default
        rows.append((code(name), _default(default), prose(str(text.value.value))))
    return table(("field", "default", "meaning"), rows)


def errors() -> str:
    """Every error of the engine: its name, its Python class, its text."""
    rows = []
    for name, python, text in native.ERRORS:
        if name != "ok":
            rows.append((code(name), code(python) if python else "–", prose(text)))
    return table(("name", "Python raises", "text"), rows)


# ---- Pages -----------------------------------------------------------------------------------------------------------

TABLES: Final[dict[str, Callable[[], str]]] = {
    make.__name__: make
    for make in (
        parameters, subprotocols, statuses, server_frames, client_frames, notices, message_errors, close_codes,
        settings, serve_options, config, errors,
    )
}  # fmt: skip


def example(name: str) -> str:
    """A file of `EXAMPLES` as a fenced block."""
    path = EXAMPLES / name
    return f"```{LANGUAGES[path.suffix]}\n{path.read_text().rstrip()}\n```"


def _fill(match: re.Match[str]) -> str:
    kind, name = match.groups()
    text = TABLES[name]() if kind == "table" else example(name)
    return f"<!-- {kind}: {name} -->\n\n{text}\n\n<!-- end -->"


def filled(text: str) -> str:
    """A page's text with every block as it should be."""
    return BLOCK.sub(_fill, text)


def pages() -> list[Path]:
    """The pages with blocks in them."""
    return [path for path in sorted(DOCS.rglob("*.md")) if BLOCK.search(path.read_text())]


def main(arguments: list[str]) -> int:
    """Rewrites, or with ``--check`` only looks."""
    behind = [path for path in pages() if filled(path.read_text()) != path.read_text()]
    for path in behind:
        if "--check" not in arguments:
            path.write_text(filled(path.read_text()))
        print(f"{path.relative_to(DOCS)}: {'behind' if '--check' in arguments else 'rewritten'}")
    return 1 if behind and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
