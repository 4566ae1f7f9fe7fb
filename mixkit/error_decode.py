"""An error of a run as a person reads it. Used by `$decode_error` and `mixkit error-decode`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mixkit.errors import FFIError, guest_text

__all__ = ["decode_error"]

_MAX_FRAMES = 200
_MAX_TEXT = 4_000


def decode_error(error: Mapping[str, Any], places: Callable[[list[str]], list[str]] | None = None) -> str:
    """Several lines: what happened and where, then the guest's backtrace, innermost frame first.

    Args:
        error: the map of `RunError.to_dict`, or the server's answer that has it as `run_error`. A frame is a
            text, or a map with `function` and, where they are known, `file`, `line` and `column`.
        places: what frames that are texts are with the symbols of the code, as `Kernel.places` knows it.

    Raises:
        FFIError: not such a map.
    """
    inner = error.get("run_error", error)
    if not isinstance(inner, Mapping) or not isinstance(inner.get("message"), str):
        raise FFIError("expected an error map with a text 'message', as a failed run answers it")
    code, agent, frames = inner.get("code"), inner.get("agent"), inner.get("backtrace")
    lines = [_text(inner["message"])]
    if isinstance(agent, str) and agent:
        lines[0] = f"{_text(agent)}: {lines[0]}"
    if isinstance(code, str) and code:
        lines[0] += f" [{_text(code)}]"
    if isinstance(frames, list):
        if places is not None:
            frames = places([frame for frame in frames[:_MAX_FRAMES] if isinstance(frame, str)])
        lines += [f"  at {_frame(frame)}" for frame in frames[:_MAX_FRAMES]]
        if len(frames) > _MAX_FRAMES:
            lines.append(f"  … {len(frames) - _MAX_FRAMES} more frames")
    return "\n".join(lines)


def _frame(frame: Any) -> str:
    if isinstance(frame, str):
        return _text(frame)
    if not isinstance(frame, Mapping):
        return "?"
    function, file = frame.get("function"), frame.get("file")
    text = _text(function) if isinstance(function, str) else "?"
    if not isinstance(file, str):
        return text
    numbers = [frame.get("line"), frame.get("column")]
    return f"{text} ({':'.join([_text(file), *(str(n) for n in numbers if type(n) is int)])})"


def _text(text: str) -> str:
    # NOTE: this is printed on terminals, and the guest wrote it.
    return guest_text(text, _MAX_TEXT)
