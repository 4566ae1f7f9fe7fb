"""A file with tests, compiled."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

from mix_lang import syntax as s
from mix_lang.compile import Checked, check
from mix_lang.compiler import gather
from mix_lang.diagnostic import Diagnostic
from mix_lang.program import Unit

from mix_dev.suite.build import Built, build, tests_in
from mix_dev.suite.lines import Lines, watched
from mixkit.errors import MixError
from mixkit.sources import Sources

__all__ = ["TestModule"]

_TEST: Final = re.compile(r"^\s*test\s*\"", re.MULTILINE)


@dataclass
class TestModule:
    """A file that may have tests.

    Attributes:
        path: as it was given.
        trouble: why it cannot be read; "" if it can.
    """

    __test__ = False

    path: str
    trouble: str = ""
    _sources: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, path: str) -> TestModule | None:
        """The file with all that it imports; None if there is no test in it."""
        module = cls(path)
        try:
            sources = Sources(Path(path))
            if not _TEST.search(sources[Path(path).name]):
                return None
            module._sources = gather(sources)
        except MixError as exc:
            module.trouble = f"{path}: {exc}"
        return module

    @cached_property
    def checked(self) -> Checked:
        return check(self._sources)

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """The errors in it and what it imports."""
        if not self._sources:
            return ()
        return tuple(item for item in self.checked.diagnostics if item.cls == "error")

    @property
    def files(self) -> frozenset[str]:
        """Names of its own files, as backtraces name them."""
        return frozenset(self._sources)

    @cached_property
    def _unit(self) -> Unit:
        unit = self.checked.unit_of(Path(self.path).name)
        assert unit is not None
        return unit

    def tests(self) -> list[tuple[str, s.Test]]:
        """The tests in it, with what each is called: `path::name`."""
        return [(f"{self.path}::{test.name}", test) for test in tests_in(self._unit)]

    def line(self, test: s.Test) -> int:
        return self._unit.source.place(test.span.start)[1]

    def source_line(self, file: str, line: int) -> str:
        """The text of a line."""
        lines = self._sources.get(file, "").splitlines()
        return lines[line - 1] if 0 < line <= len(lines) else ""

    def built(self, wanted: Sequence[s.Test], lines: Lines | None) -> list[Built]:
        """The executables of some of the tests.

        Args:
            lines: where what runs is noted.
        """
        checked = self.checked
        unit = self._unit
        if lines is not None:
            lines.folder = Path(self.path).parent
            checked = Checked(watched(checked.program, lines), ())
            unit = checked.program.units[unit.name]
        return build(checked, unit, wanted)
