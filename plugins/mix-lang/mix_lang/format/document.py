"""Documents: text with places where it may break, and what lays them out (after Wadler, "A prettier printer").

A document is a string, or one of the classes here. A group is laid out on one line if it fits there, else all of its
own breaks become lines. What each part is on one line is put together when it is made, so that laying out a group that
fits is one step; `flat` is None where there is no such line, because of a comment or of a line that must be.
"""

from __future__ import annotations

from typing import Final, TypeAlias

__all__ = [
    "FRESH",
    "HARD",
    "LINE",
    "SOFT",
    "Break",
    "Concat",
    "Doc",
    "Group",
    "Nest",
    "Suffix",
    "concat",
    "render",
]

INDENT: Final = 2


class Break:
    """A line, or `flat` where the group fits. `blank` says that an empty line goes before it, `left` that the text
    behind it stands in the first column. `FRESH` breaks only a line that has something on it."""

    __slots__ = ("blank", "flat", "left")

    def __init__(self, flat: str | None, blank: bool = False, left: bool = False) -> None:
        self.flat, self.blank, self.left = flat, blank, left


class Suffix:
    """A comment that goes to the end of its line, whatever else that gets."""

    __slots__ = ("flat", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.flat: str | None = None


class Concat:
    """One behind the other."""

    __slots__ = ("flat", "parts")

    def __init__(self, parts: list[Doc]) -> None:
        self.parts = parts
        texts = []
        for part in parts:
            text = part if isinstance(part, str) else part.flat
            if text is None:
                self.flat: str | None = None
                return
            texts.append(text)
        self.flat = "".join(texts)


class Nest:
    """Lines of it are indented."""

    __slots__ = ("doc", "flat")

    def __init__(self, doc: Doc) -> None:
        self.doc = doc
        self.flat: str | None = doc if isinstance(doc, str) else doc.flat


class Group:
    """On one line if it fits."""

    __slots__ = ("doc", "flat")

    def __init__(self, doc: Doc) -> None:
        self.doc = doc
        self.flat: str | None = doc if isinstance(doc, str) else doc.flat


class Below:
    """Behind what is before it if it fits there, else on one line below, indented; if it is too long for that, too, it
    begins behind what is before it, and breaks."""

    __slots__ = ("doc", "flat")

    def __init__(self, doc: Doc) -> None:
        self.doc = doc
        flat = doc if isinstance(doc, str) else doc.flat
        self.flat: str | None = None if flat is None else f" {flat}"


Doc: TypeAlias = "str | Break | Suffix | Concat | Nest | Group | Below"

_STAYING: Final = frozenset(("", ",", ";"))
"""Text that a comment does not push to the next line."""
LINE: Final = Break(" ")
SOFT: Final = Break("")
HARD: Final = Break(None)
FRESH: Final = Break(None)


def concat(parts: list[Doc]) -> Doc:
    """One behind the other; text alone is text."""
    for part in parts:
        if type(part) is not str:
            return parts[0] if len(parts) == 1 else Concat(parts)
    return "".join(parts)  # type: ignore[arg-type]


def render(doc: Doc, width: int) -> str:
    """The text of a document, with lines of at most that many characters where that is possible; without spaces at
    their ends."""
    return _Renderer(width).run(doc)


class _Renderer:
    def __init__(self, width: int) -> None:
        self._width = width
        self._out: list[str] = []
        self._column = 0
        self._indent = 0
        self._suffixes: list[str] = []
        self._lined = False

    def run(self, doc: Doc) -> str:
        # What is still to be laid out, the next one last: indentation, whether its own breaks are lines, the document.
        todo: list[tuple[int, bool, Doc]] = [(0, True, doc)]
        indent = 0  # of the line that is being written, if it is empty yet
        while todo:
            depth, broken, item = todo.pop()
            kind = type(item)
            if kind is str:
                self._text(item, indent)  # type: ignore[arg-type]
                continue
            if kind is Concat:
                for part in reversed(item.parts):  # type: ignore[union-attr]
                    todo.append((depth, broken, part))
            elif kind is Break:
                assert isinstance(item, Break)
                if item is FRESH:
                    if self._column:
                        self._newline(False)
                elif broken:
                    self._newline(item.blank)
                else:
                    assert item.flat is not None
                    self._text(item.flat, indent)
                    continue
                indent = 0 if item.left else depth
            elif kind is Nest:
                todo.append((depth + INDENT, broken, item.doc))  # type: ignore[union-attr]
            elif kind is Group:
                assert isinstance(item, Group)
                if item.flat is not None and self._fits(item.flat, indent, todo):
                    self._text(item.flat, indent)
                else:
                    todo.append((depth, True, item.doc))
            elif kind is Below:
                assert isinstance(item, Below)
                flat = item.flat
                if flat is not None and self._fits(flat, indent, todo):
                    self._text(flat, indent)
                elif flat is not None and self._fits_below(flat[1:], depth + INDENT, todo):
                    todo += [(depth, True, flat[1:]), (depth + INDENT, True, HARD)]
                else:
                    todo += [(depth, True, item.doc), (depth, True, " ")]
            else:
                assert isinstance(item, Suffix)
                self._suffixes.append(item.text)
        self._newline(False)
        return "".join(self._out)

    def _text(self, text: str, indent: int) -> None:
        if not text:
            return
        if self._suffixes and text.strip() not in _STAYING:
            # There was a line's end behind the comment, so there may be one.
            self._newline(False)
        if not self._column:
            if text.isspace():
                return
            self._out.append(" " * indent)
            self._column = self._indent = indent
        self._out.append(text)
        end = text.rfind("\n")
        self._column = self._column + len(text) if end < 0 else len(text) - end

    def _newline(self, blank: bool) -> None:
        suffixes, self._suffixes = self._suffixes, []
        for text in suffixes:
            if self._lined:
                # Two that were on different lines.
                self._newline(False)
            self._strip()
            self._text(f" {text}" if self._column else text, self._indent)
            self._lined = text.startswith("//")
        self._lined = False
        self._strip()
        if self._out:
            if self._column:
                self._out.append("\n")
            if blank and self._out[-2:] != ["\n", "\n"]:
                self._out.append("\n")
        self._column = 0

    def _strip(self) -> None:
        """Take back spaces at the end of the line."""
        while self._out and self._out[-1].isspace() and self._out[-1] != "\n":
            self._out.pop()
        if self._out and self._out[-1][-1] == " ":
            self._out[-1] = self._out[-1].rstrip(" ")

    def _fits_below(self, text: str, indent: int, todo: list[tuple[int, bool, Doc]]) -> bool:
        """Whether it fits on a line of its own."""
        column, self._column = self._column, 0
        fits = self._fits(text, indent, todo)
        self._column = column
        return fits

    def _fits(self, text: str, indent: int, todo: list[tuple[int, bool, Doc]]) -> bool:
        """Whether the text and what must follow it on its line has room."""
        end = text.find("\n")
        if end >= 0:
            # A string of several lines: its first one counts.
            return (self._column or indent) + end <= self._width
        room = self._width - (self._column or indent) - len(text)
        at = len(todo) - 1
        inner: list[tuple[bool, Doc]] = []
        while room >= 0:
            if inner:
                broken, item = inner.pop()
            elif at >= 0:
                _, broken, item = todo[at]
                at -= 1
            else:
                return True
            kind = type(item)
            if kind is str:
                room -= len(item)  # type: ignore[arg-type]
            elif kind is Concat:
                inner += [(broken, part) for part in reversed(item.parts)]  # type: ignore[union-attr]
            elif kind is Break:
                if broken:
                    return True
                room -= len(item.flat or "")  # type: ignore[union-attr]
            elif kind is Below:
                room -= 1
                inner.append((True, item.doc))  # type: ignore[union-attr]
            elif kind is Group:
                # It can break by itself, so that only what it begins with counts.
                inner.append((True, item.doc))  # type: ignore[union-attr]
            elif kind is Nest:
                inner.append((broken, item.doc))  # type: ignore[union-attr]
        return False
