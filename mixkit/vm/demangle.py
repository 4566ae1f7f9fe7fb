"""Names of functions as compilers write them, as their authors wrote them: C++ (Itanium) and Rust, old and new.

For backtraces: parameters and generic arguments are left out. The names are a stranger's, so this reads what is common
with small parsers that are bounded, and leaves a name that is anything else as it is.
"""

from __future__ import annotations

import re
from typing import Final

from mixkit.vm.demangle_cpp import CppName
from mixkit.vm.demangle_rust import RustName

__all__ = ["demangled"]

_LONGEST: Final = 2_000
"""Characters of a name that is looked at."""
_SUFFIX: Final = re.compile(r"\.llvm\.[0-9A-F]+$")
_OLD_RUST: Final = re.compile(r"(.*)::h[0-9a-f]{16}")
_ESCAPED: Final = re.compile(r"\$(SP|BP|RF|LT|GT|LP|RP|C|u[0-9a-f]{1,6})\$")
_ESCAPES: Final = {"SP": "@", "BP": "*", "RF": "&", "LT": "<", "GT": ">", "LP": "(", "RP": ")", "C": ","}


def demangled(name: str) -> str:
    """The name in the words of its language, or as it is if it is not mangled or not understood."""
    if len(name) > _LONGEST or not name.startswith(("_Z", "_R")):
        return name
    symbol = _SUFFIX.sub("", name)
    try:
        if symbol.startswith("_R"):
            return RustName(symbol[2:]).text()
        text = CppName(symbol[2:]).text()
        old_rust = _OLD_RUST.fullmatch(text)
        return text if old_rust is None else _unescaped(old_rust[1])
    except (IndexError, ValueError):
        return name


def _unescaped(text: str) -> str:
    """The characters that Rust's old scheme spells out, which was made to look like C++."""
    text = re.sub(r"(^|::)_(?=\$)", r"\1", text).replace("..", "::")
    return _ESCAPED.sub(lambda m: _ESCAPES.get(m[1]) or chr(int(m[1][1:], 16)), text)
