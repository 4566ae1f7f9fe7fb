"""What the compiler has to say, as data; `render` makes text of it, `codes` explains it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from mix_lang.source import Location, Source, Span

__all__ = ["Class", "Diagnostic", "Report"]

Class: TypeAlias = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding: a code of `mix_lang.codes`, a message in one line, a place, and what the message says as data.

    `hint` says what to write, where that is certain. `source` is the text that the place is in, `span` the place in it.
    """

    code: str
    cls: Class
    message: str
    location: Location
    params: dict[str, Any]
    hint: str
    source: Source
    span: Span

    def record(self) -> dict[str, Any]:
        """The same for `--json`."""
        place = self.location
        return {
            "code": self.code,
            "class": self.cls,
            "message": self.message,
            "location": [place.file, place.start_line, place.start_col, place.end_line, place.end_col],
            "params": self.params,
            "hint": self.hint,
        }


_MOST = 200


@dataclass(slots=True)
class Report:
    """Collects what is found in one source. At most one finding for one place and class, and no more than 200.

    Attributes:
        asked: how many findings there were, those that were left out among them.
    """

    source: Source
    found: list[Diagnostic] = field(default_factory=list)
    asked: int = 0
    _places: set[tuple[int, str]] = field(default_factory=set, repr=False)

    def copy(self) -> Report:
        """Another one that has found the same so far."""
        return Report(self.source, list(self.found), self.asked, set(self._places))

    def add(
        self, code: str, span: Span, message: str, *, hint: str = "", cls: Class = "error", **params: Any
    ) -> None:
        """Add a finding, unless there is one of its class, or an error, at the same place: that is the same cause."""
        self.asked += 1
        span = self.source.span(span)
        key = (span.start, cls)
        if key in self._places or self.full or (cls != "error" and (span.start, "error") in self._places):
            return
        self._places.add(key)
        place = self.source.location(span)
        self.found.append(Diagnostic(code, cls, message, place, params, hint, self.source, span))

    def take(self, item: Diagnostic) -> None:
        """Add what was found before, under the same conditions."""
        self.asked += 1
        key = (item.span.start, item.cls)
        if key not in self._places and not self.full:
            self._places.add(key)
            self.found.append(item)

    def warn(self, code: str, span: Span, message: str, *, hint: str = "", **params: Any) -> None:
        """The same for a warning."""
        self.add(code, span, message, hint=hint, cls="warning", **params)

    @property
    def full(self) -> bool:
        """Whether nothing more is taken."""
        return len(self.found) >= _MOST

    @property
    def failed(self) -> bool:
        """Whether there is an error among what was found."""
        return any(item.cls == "error" for item in self.found)
