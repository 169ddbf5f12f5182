"""Small plots as SVG text, without a library: heat maps and bars, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

FONT = "font-family='Helvetica, Arial, sans-serif'"
INK = "#222222"
PAPER = "#ffffff"
MISSING = "#dddddd"
MARGIN = 16
LOW, MIDDLE, HIGH = (178, 24, 43), (253, 219, 140), (33, 113, 120)
"""Colours of a heat map at 0, in the middle and at 1; they differ in brightness, too."""
SERIES = ("#21717a", "#e08a2e", "#6a4c93", "#8a8a8a")


@dataclass
class Drawing:
    """Pieces of SVG, and how much room they take."""

    width: float
    height: float
    body: str


def text(x: float, y: float, words: str, size: int = 12, anchor: str = "start", colour: str = INK) -> str:
    """One line of text; y is its baseline."""
    place = f"x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' fill='{colour}'"
    return f"<text {place} font-size='{size}' {FONT}>{escape(words)}</text>"


def box(x: float, y: float, width: float, height: float, colour: str, tip: str = "") -> str:
    """A rectangle; the tip shows when the mouse rests on it."""
    inside = f"<title>{escape(tip)}</title>" if tip else ""
    size = f"x='{x:.1f}' y='{y:.1f}' width='{width:.1f}' height='{height:.1f}'"
    return f"<rect {size} fill='{colour}'>{inside}</rect>"


def _mix(low: Sequence[int], high: Sequence[int], share: float) -> str:
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(low, high, strict=True))


def heat(share: float | None) -> str:
    """The colour of a share from 0 to 1."""
    if share is None:
        return MISSING
    share = min(1.0, max(0.0, share))
    return _mix(LOW, MIDDLE, share * 2) if share < 0.5 else _mix(MIDDLE, HIGH, share * 2 - 1)


def heat_map(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    shares: Sequence[Sequence[float | None]],
    row_title: str,
    column_title: str,
) -> Drawing:
    """Shares as coloured cells with their per cent in them."""
    cell_width, cell_height, left, top = 62.0, 30.0, 96.0, 62.0
    parts = [text(left, 18, title, 14), text(left, 38, column_title), text(0, top - 8, row_title)]
    for index, name in enumerate(columns):
        parts.append(text(left + (index + 0.5) * cell_width, top - 8, name, anchor="middle"))
    for index, name in enumerate(rows):
        y = top + index * cell_height
        parts.append(text(left - 8, y + 20, name, anchor="end"))
        for column, share in enumerate(shares[index]):
            x = left + column * cell_width
            shown = "–" if share is None else f"{share:.0%}"
            tip = f"{row_title} {name}, {column_title} {columns[column]}: {shown}"
            parts.append(box(x, y, cell_width - 2, cell_height - 2, heat(share), tip))
            dark = share is not None and (share < 0.25 or share > 0.8)
            parts.append(
                text(x + cell_width / 2 - 1, y + 19, shown, 12, "middle", "#ffffff" if dark else INK)
            )
    return Drawing(left + len(columns) * cell_width, top + len(rows) * cell_height, "".join(parts))


@dataclass(frozen=True)
class Bar:
    """One horizontal bar: pieces one behind the other, and what to say at its end."""

    name: str
    pieces: tuple[tuple[float, int], ...]
    """Length, and which of `SERIES`."""
    note: str = ""


def bars(title: str, groups: Iterable[tuple[str, Sequence[Bar]]], most: float) -> Drawing:
    """Groups of horizontal bars; ``most`` is what fills the width."""
    left, room, note_room, height = 150.0, 330.0, 230.0, 20.0
    parts, y = [text(0, 18, title, 14)], 34.0
    for group, entries in groups:
        parts.append(text(0, y + 14, group))
        for bar in entries:
            parts.append(text(left - 8, y + 14, bar.name, 11, "end"))
            x = left
            for length, series in bar.pieces:
                wide = room * max(0.0, length) / most if most else 0.0
                parts.append(
                    box(x, y, wide, height - 3, SERIES[series], f"{group}, {bar.name}: {length:.3g}")
                )
                x += wide
            parts.append(text(x + 6, y + 14, bar.note, 11))
            y += height
        y += 8
    return Drawing(left + room + note_room, y, "".join(parts))


def legend(entries: Sequence[tuple[str, str]]) -> Drawing:
    """Colours and what they mean."""
    parts, x = [], 0.0
    for colour, words in entries:
        parts += [box(x, 4, 14, 14, colour), text(x + 20, 15, words)]
        x += 34 + 7 * len(words)
    return Drawing(x, 24, "".join(parts))


def stack(description: str, *rows: Sequence[Drawing]) -> str:
    """Rows of drawings as one SVG file."""
    parts, y, width = [], float(MARGIN), 0.0
    for row in rows:
        x = float(MARGIN)
        for drawing in row:
            parts.append(f"<g transform='translate({x:.1f} {y:.1f})'>{drawing.body}</g>\n")
            x += drawing.width + 2 * MARGIN
        width = max(width, x - MARGIN)
        y += max(drawing.height for drawing in row) + MARGIN
    size = f"width='{width:.0f}' height='{y:.0f}' viewBox='0 0 {width:.0f} {y:.0f}'"
    head = f"<svg xmlns='http://www.w3.org/2000/svg' {size} role='img' aria-label='{escape(description)}'>\n"
    return f"{head}{box(0, 0, width, y, PAPER)}\n{''.join(parts)}</svg>\n"
