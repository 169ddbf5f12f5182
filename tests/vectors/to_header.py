"""Writes the test vectors of this folder as one C header: `python3 to_header.py [OUT.h]`.

Each X_vectors.json becomes `static const struct X_vectors X_vectors`, with the names of the JSON: objects are
structs, lists are arrays, hexadecimal strings are srm_span, numbers and truth values are int. Other strings
are explanations and left out. Without OUT.h the header goes to standard output.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

HEX = re.compile(r"(?:[0-9a-f]{2})*")
NOT_BYTES = ("_dec", "commit", "date", "_ascii")  # ends of names whose value only looks like hexadecimal


def is_data(name: str, value: Any) -> bool:
    if isinstance(value, dict):
        return bool(members(value))
    return not isinstance(value, str) or (bool(HEX.fullmatch(value)) and not name.endswith(NOT_BYTES))


def members(value: dict[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in value.items() if is_data(name, item)}


def type_of(value: Any, depth: int) -> tuple[str, str]:
    """The C type of a value, as what stands before and behind a name."""
    if isinstance(value, str):
        return "srm_span ", ""
    if isinstance(value, int):
        return "int ", ""
    if isinstance(value, list):
        if len({json.dumps(type_of(item, depth)) for item in value}) != 1:
            value = [{f"item{i}": item for i, item in enumerate(value)}]  # a row of mixed types
            return type_of(value[0], depth)
        before, behind = type_of(value[0], depth)
        return before, f"[{len(value)}]{behind}"
    pad = "    " * (depth + 1)
    lines = []
    for name, item in members(value).items():
        before, behind = type_of(item, depth + 1)
        lines.append(f"{pad}{before}{name}{behind};\n")
    return "struct {\n" + "".join(lines) + "    " * depth + "} ", ""


def literal(value: Any) -> str:
    if isinstance(value, str):
        data = bytes.fromhex(value)
        escaped = "".join(f"\\x{byte:02x}" for byte in data)
        return f'{{(const uint8_t *)"{escaped}", {len(data)}}}'
    if isinstance(value, int):
        return str(int(value))
    items = value if isinstance(value, list) else list(members(value).values())
    return "{" + ",\n".join(literal(item) for item in items) + "}"


def header(folder: Path) -> str:
    parts = [
        "/* Made by tests/vectors/to_header.py. */\n",
        '#ifndef VECTORS_H\n#define VECTORS_H\n\n#include "base.h"\n\n',
    ]
    for path in sorted(folder.glob("*_vectors.json")):
        value = json.loads(path.read_text(encoding="utf-8"))
        before, behind = type_of(value, 0)
        name = path.stem
        declared = before.replace("struct {", f"struct {name} {{", 1)
        parts.append(f"static const {declared}{name}{behind} = {literal(value)};\n\n")
    return "".join([*parts, "#endif\n"])


def main() -> None:
    text = header(Path(__file__).parent)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
