"""mixkit runs untrusted agents with exactly the powers that are plugged in.

Everything public is here and imported on first use, so that `import mixkit` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixkit.errors import MixError as MixError
    from mixkit.ffi import FFIGroup as FFIGroup
    from mixkit.hookspecs import hookimpl as hookimpl
    from mixkit.kernel import Kernel as Kernel
    from mixkit.state import State as State
    from mixkit.value import UNDEF as UNDEF
    from mixkit.value import Case as Case
    from mixkit.value import Ref as Ref
    from mixkit.value import Result as Result
    from mixkit.value import Token as Token
    from mixkit.value import Value as Value

__version__ = "0.1.0"

_HOME = {
    "UNDEF": "value",
    "Case": "value",
    "FFIGroup": "ffi",
    "Kernel": "kernel",
    "MixError": "errors",
    "Ref": "value",
    "Result": "value",
    "State": "state",
    "Token": "value",
    "Value": "value",
    "hookimpl": "hookspecs",
}

__all__ = [
    "UNDEF",
    "Case",
    "FFIGroup",
    "Kernel",
    "MixError",
    "Ref",
    "Result",
    "State",
    "Token",
    "Value",
    "__version__",
    "hookimpl",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'mixkit' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"mixkit.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
