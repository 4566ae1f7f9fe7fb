"""What a line does: an expression is run, a definition kept, a command obeyed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from mix_lang import library
from mix_lang.documentation import Described, manuals_of, of_library
from mix_lang.errors import CompileError
from mix_lang.render import render_all

from mix_dev.repl.program import FILE, Typed
from mixkit import tagged_json
from mixkit.environment import Env
from mixkit.errors import MixError, RunError
from mixkit.kernel import Kernel
from mixkit.near import meant
from mixkit.storage import Place

__all__ = ["COMMANDS", "Ended", "Repl"]

COMMANDS: Final = {
    ":type": "EXPRESSION  its type",
    ":doc": "NAME  what a module or a function does, as array.map",
    ":load": "FILE  import a module; it is read anew whenever something is run",
    ":list": "what was defined",
    ":reset": "forget it",
    ":help": "this",
    ":quit": "end, as Ctrl-D does",
}
_LET: Final = re.compile(r"let\s+([A-Za-z_]\w*)\s*=(?!=)")
_ITEM: Final = re.compile(
    r"(?:def|cell|var\s+cell|live\s+cell|private|foreign|import|case|type|alias|declare|on|initializer)\b"
)
_NO_DATA: Final = re.compile(r"expected data, found an? (\w+), which cannot leave the program")
_MOST: Final = 100
"""Values of a stream that are shown."""


class Ended(Exception):
    """The user has had enough."""


class Repl:
    """One conversation.

    Args:
        kernel: that runs what is typed.
        show: prints a line for the user.
        place: the database that is talked to; None for none.
        env: what the code sees.
    """

    def __init__(
        self,
        kernel: Kernel,
        show: Callable[[str], None],
        place: Place | None = None,
        env: Env | None = None,
    ) -> None:
        self.typed = Typed()
        self._kernel, self._show, self._place, self._env = kernel, show, place, env

    def feed(self, text: str) -> bool:
        """Do what was typed: some lines that belong together. Whether it went well.

        Raises:
            Ended: that was the last one.
        """
        text = text.strip()
        try:
            if not text:
                return True
            if text.startswith(":"):
                self._command(*_split(text))
            elif _ITEM.match(text):
                self.typed.define(text)
            elif (let := _LET.match(text)) is not None:
                self._let(let[1], text[let.end() :].strip())
            else:
                self._run(text)
        except CompileError as exc:
            self._show(render_all(exc.diagnostics).rstrip())
        except RunError as exc:
            self._show(f"error: {exc}")
            for frame in exc.backtrace:
                if FILE not in frame and not frame.startswith("mix."):
                    self._show(f"  in {frame}")
        except MixError as exc:
            self._show(f"error: {exc}")
        except KeyboardInterrupt:
            self._show("stopped")
        else:
            return True
        return False

    # Expressions

    def _run(self, text: str) -> None:
        try:
            value = self._value(text)
        except RunError as exc:
            found = _NO_DATA.search(str(exc))
            if found is None:
                raise
            if found[1] == "stream":
                self._stream(text)
            else:
                of = self.typed.type_of(text)
                self._show(f"a {found[1]}{f' : {of}' if of else ''}")
            return
        self._show("undefined" if not value else tagged_json.dumps(value[0]))

    def _stream(self, text: str) -> None:
        (values,) = self._value(f"stream.toArray(stream.firstn({_MOST + 1}, ({text})))")
        for value in values[:_MOST]:
            self._show(tagged_json.dumps(value))
        if len(values) > _MOST:
            self._show("…")

    def _value(self, text: str) -> list[Any]:
        program = self._kernel.load(self.typed.run_code(text), "repl")
        result = self._kernel.run_sync(
            program,
            "repl",
            self.typed.values,
            place=self._place,
            env=self._env,
            output=lambda level, line: self._show(line),
        )
        value: list[Any] = result.value
        return value

    def _let(self, name: str, text: str) -> None:
        try:
            value = self._value(text)
        except RunError as exc:
            if not _NO_DATA.search(str(exc)):
                raise
            # What cannot be kept is what was written.
            self.typed.define(f"def {name} = ({text})")
            return
        if not value:
            raise MixError(f"undefined may not be kept in {name!r}")
        self.typed.keep(name, value[0])

    # Commands

    def _command(self, name: str, rest: str) -> None:
        match name:
            case ":quit" | ":q":
                raise Ended
            case ":help" | ":h":
                self._help()
            case ":type" | ":t":
                self._show(self.typed.type_of(rest) or "nothing certain")
            case ":doc" | ":d":
                self._doc(rest)
            case ":load" | ":l":
                self._show(f"import {self.typed.load(Path(rest).expanduser())}")
            case ":list":
                for line in self.typed.listed():
                    self._show(line)
            case ":reset":
                self.typed.forget()
            case _:
                raise MixError(f"there is no {name}{meant(name, COMMANDS)}; :help lists what there is")

    def _help(self) -> None:
        self._show("An expression is run; def, import, case and the like are kept; let x = … keeps a value.")
        self._show("Modules of the library need no import. Open brackets go on in the next line.")
        for name, about in COMMANDS.items():
            self._show(f"  {name:8}{about}")

    def _doc(self, name: str) -> None:
        module, dot, member = name.partition(".")
        if module in library.sources():
            manual = of_library(module)
        else:
            beside = self.typed.source_of(module)
            if beside is None:
                raise MixError(f"there is no module {module!r}{meant(module, library.sources())}")
            manual = manuals_of(f"{module}.mix", beside)[0]
        if not dot:
            self._described(manual.module)
            self._show("")
            self._show(" ".join(manual.members))
        elif member in manual.members:
            self._described(manual.members[member])
        else:
            raise MixError(f"there is no {name}{meant(member, manual.members)}")

    def _described(self, found: Described) -> None:
        self._show(found.signature + (f"\n  : {found.type}" if found.type else ""))
        if found.text:
            self._show("\n" + found.text)
        for example in found.examples:
            self._show(f"\n> {example.expression}\n{example.value}")


def _split(text: str) -> tuple[str, str]:
    name, _, rest = text.partition(" ")
    return name, rest.strip()
