"""The modules that a language server knows: texts that are open, and the files beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from mix_lang import library
from mix_lang.compile import Checked, add_library, check
from mix_lang.compiler import gather
from mix_lang.diagnostic import Report
from mix_lang.infer.modules import member_types
from mix_lang.memory import Memory
from mix_lang.parser import parse
from mix_lang.program import Program, Unit, members_of
from mix_lang.source import Source

from mix_dev.lsp.document import Document, Text
from mix_dev.lsp.names import Index, index_of

__all__ = ["Folder", "Workspace", "uri_of"]

_MOST: Final = 2_000
"""Files of a folder that are looked at."""
_LARGEST: Final = 4 << 20
"""Bytes of a file that is read."""
_REMEMBERED: Final = 64


def uri_of(path: str) -> str:
    """How editors name a file."""
    return f"file://{quote(path)}"


def path_of(uri: str) -> str | None:
    """The file that a text is in; None of one that is not saved."""
    parts = urlsplit(uri)
    return unquote(parts.path) if parts.scheme == "file" and parts.path.startswith("/") else None


@cache
def _library_file(name: str) -> str:
    # A twin is read line by line from the module that it limits.
    name = library.TWINS.get(name, name)
    return str(resources.files("mix_lang.library").joinpath(f"{name}.mix"))


class Folder(Mapping[str, str]):
    """The sources beside an open one: what is open first, else what is in files.

    Args:
        documents: those that are open, by their names in the folder.
        path: the folder; None of texts that are not saved.
        first: the one that comes first.
    """

    def __init__(self, documents: Mapping[str, Document], path: str | None, first: str) -> None:
        self.documents, self._path, self._first = documents, path, first
        self._read: dict[str, str | None] = {}

    def __getitem__(self, name: str) -> str:
        document = self.documents.get(name)
        text = document.text if document is not None else self._of_file(name)
        if text is None:
            raise KeyError(name)
        return text

    def _of_file(self, name: str) -> str | None:
        if self._path is None or not name.endswith(".mix") or "/" in name:
            return None
        if name not in self._read:
            try:
                path = Path(self._path, name)
                small = path.stat().st_size <= _LARGEST
                self._read[name] = path.read_text(encoding="utf-8") if small else None
            except (OSError, UnicodeDecodeError):
                self._read[name] = None
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self.documents or self._of_file(name) is not None)

    def __iter__(self) -> Iterator[str]:
        yield self._first
        yield from (name for name in self.documents if name != self._first)
        if self._path is None:
            return
        try:
            names = sorted(entry.name for entry in os.scandir(self._path) if entry.name.endswith(".mix"))
        except OSError:
            return
        yield from (name for name in names[:_MOST] if name not in self.documents and name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def uri(self, name: str) -> str:
        """How the editor names one of them."""
        document = self.documents.get(name)
        return document.uri if document is not None else uri_of(str(Path(self._path or "/", name)))


class Workspace:
    """All that is open, and what is known of it.

    Attributes:
        documents: what is open, by URI.
        encoding: what positions are counted in.
    """

    def __init__(self) -> None:
        self.documents: dict[str, Document] = {}
        self.encoding = "utf-16"
        # PERF: so that of a text only what has changed is checked.
        self._memory = Memory()
        self._units: dict[tuple[str, str], list[Unit]] = {}
        self._programs: dict[str, tuple[Program, Folder]] = {}
        self._types: dict[tuple[Unit | str, ...], dict[str, str]] = {}

    def folder(self, document: Document) -> Folder:
        """The sources beside a text, and itself."""
        path = path_of(document.uri)
        if path is None:
            return Folder({self.name(document): document}, None, self.name(document))
        here = str(Path(path).parent)
        beside = {
            Path(other).name: each
            for each in self.documents.values()
            if (other := path_of(each.uri)) is not None and str(Path(other).parent) == here
        }
        return Folder(beside, here, self.name(document))

    @staticmethod
    def name(document: Document) -> str:
        """What the file of a text is called."""
        path = path_of(document.uri)
        return Path(path).name if path is not None else "untitled.mix"

    def checked(self, document: Document) -> Checked:
        """The module and all that it imports, checked."""
        """The module and all that it imports, checked; of what was checked before, only what a change concerns."""
        return check(gather(self.folder(document), self._memory), self._memory)

    def program(self, document: Document, *, everything: bool = False) -> tuple[Program, Folder]:
        """A program of the module and what it imports, or of all modules of its folder, as they were written."""
        folder = self.folder(document)
        program = Program(known=frozenset(library.sources()))
        todo = list(folder) if everything else [self.name(document)]
        seen = set()
        while todo:
            file = todo.pop(0)
            if file in seen or file not in folder:
                continue
            seen.add(file)
            for unit in self._written(file, folder[file]):
                program.units.setdefault(unit.name, unit)
                todo += [f"{name}.mix" for name in unit.imports]
        add_library(program)
        self._programs[document.uri] = program, folder
        return program, folder

    def known(self, document: Document) -> tuple[Program, Folder]:
        """The same as it was when it was last asked for: while one types, that is there at once."""
        return self._programs.get(document.uri) or self.program(document)

    def close(self, uri: str) -> None:
        """Forget a text."""
        self.documents.pop(uri, None)
        self._programs.pop(uri, None)

    def _written(self, file: str, text: str) -> list[Unit]:
        """The modules of a text, without what the compiler makes of queries."""
        key = (file, text)
        if key not in self._units:
            if len(self._units) >= _REMEMBERED:
                self._units.clear()
            source = Source(file, text)
            # As a whole: so that places in it are those of the text.
            modules = parse(source, file.split(".")[0], Report(source))
            self._units[key] = [Unit(module, source, *members_of(module)) for module in modules]
        return self._units[key]

    def unit(self, program: Program, document: Document) -> Unit | None:
        """The module of a text in a program."""
        name = self.name(document)
        return next(
            (unit for unit in program.units.values() if unit.source.file == name and not unit.library), None
        )

    def index(self, document: Document) -> tuple[Program, Index] | None:
        """The names of a module; None if there is no module in the text."""
        program, _ = self.program(document)
        unit = self.unit(program, document)
        return None if unit is None else (program, index_of(program, unit))

    def types(self, program: Program, unit: Unit) -> dict[str, str]:
        """The types of the members of a module, as far as they are certain."""
        key = program.within(unit)
        if key not in self._types:
            if len(self._types) >= _REMEMBERED:
                self._types.clear()
            self._types[key] = member_types(program, unit)
        return self._types[key]

    def text(self, unit: Unit, folder: Folder) -> tuple[str, Text]:
        """The URI of the file of a module, and its text with positions."""
        if unit.library and unit.source.file[:-4] in library.sources():
            return uri_of(_library_file(unit.source.file[:-4])), Text(unit.source.text, self.encoding)
        name = unit.source.file
        return folder.uri(name), folder.documents.get(name) or Text(unit.source.text, self.encoding)
