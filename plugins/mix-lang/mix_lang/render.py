"""Diagnostics as text for a terminal: the message, the source line, a caret under the place, a hint."""

from __future__ import annotations

from collections.abc import Iterable

from mix_lang.diagnostic import Diagnostic

__all__ = ["render", "render_all"]

_WIDEST = 160


def render(item: Diagnostic) -> str:
    """One diagnostic, without a newline at the end."""
    source, span, place = item.source, item.span, item.location
    physical = source.line_of(span.start)
    line = source.line_text(physical).expandtabs(1)
    number = str(place.start_line)
    gutter = " " * len(number)
    column = place.start_col - 1
    width = 1
    if span.end > span.start:
        # An end behind the line, or in a later one, is marked up to the end of this line.
        width = max(1, min(span.end - span.start, len(line) - column))
    if column > _WIDEST // 2 or len(line) > _WIDEST:
        cut = max(0, column - _WIDEST // 2)
        line = ("…" if cut else "") + line[cut : cut + _WIDEST]
        column -= cut - (1 if cut else 0)
        width = max(1, min(width, len(line) - column))
    out = [f"{item.cls}[{item.code}]: {item.message}", f"  --> {place}"]
    out += [f"{gutter} |", f"{number} | {line}".rstrip(), f"{gutter} | {' ' * column}{'^' * width}"]
    if item.hint:
        out.append(f"{gutter} = hint: {item.hint}")
    return "\n".join(out)


def render_all(items: Iterable[Diagnostic]) -> str:
    """All of them in their order, with a line that counts them."""
    items = list(items)
    errors = sum(item.cls == "error" for item in items)
    warnings = sum(item.cls == "warning" for item in items)
    counts = [
        f"{count} {word}{'' if count == 1 else 's'}"
        for count, word in ((errors, "error"), (warnings, "warning"))
        if count
    ]
    return "\n\n".join([*(render(item) for item in items), ", ".join(counts)]) + "\n" if items else ""
