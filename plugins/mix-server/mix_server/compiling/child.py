"""The process that compiles, one task after the other: frames of JSON on standard input and output.

A compiler reads what strangers wrote. Here it may take as much time and memory as it is given, and no more: the parent
ends the process, and the system refuses it memory.
"""

from __future__ import annotations

import base64
import os
import pickle
import resource
import struct
import sys
from typing import IO, TYPE_CHECKING, Any

import msgspec

from mixkit.errors import MixError
from mixkit.importing import load_object
from mixkit.remote_compile import Compilation, Task

if TYPE_CHECKING:
    from mixkit.contracts import Compiler

__all__ = ["HEAD", "main"]

HEAD = struct.Struct("<I")
"""Before each frame: its length."""


def main() -> None:
    """Serve until standard input ends. Arguments: bytes of memory, and the compilers, pickled."""
    memory, compilers = int(sys.argv[1]), _made(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    answers = os.fdopen(os.dup(1), "wb")
    # Whatever a compiler prints is not an answer.
    os.dup2(2, 1)
    while (task := _read(sys.stdin.buffer)) is not None:
        data = msgspec.json.encode(_compile(compilers, msgspec.json.decode(task, type=Task)))
        answers.write(HEAD.pack(len(data)) + data)
        answers.flush()


def _made(pickled: str) -> list[Compiler]:
    given: list[tuple[str, Any]] = pickle.loads(base64.b64decode(pickled))
    return [
        load_object(path)() if settings is None else load_object(path)(settings) for path, settings in given
    ]


def _read(stream: IO[bytes]) -> bytes | None:
    head = stream.read(HEAD.size)
    return stream.read(HEAD.unpack(head)[0]) if len(head) == HEAD.size else None


def _compile(compilers: list[Compiler], task: Task) -> Compilation:
    first = task.first or next(iter(task.sources))
    sources = {first: task.sources[first], **task.sources}
    for compiler in compilers:
        suffix = next((each for each in compiler.suffixes if first.endswith(each)), None)
        if suffix is not None:
            break
    else:
        known = ", ".join(each for compiler in compilers for each in compiler.suffixes) or "none"
        return Compilation(False, message=f"no compiler here takes {first!r}; there are some for {known}")
    try:
        code = compiler.compile(sources)
    except MixError as exc:
        found = [item.record() for item in getattr(exc, "diagnostics", ())]
        return Compilation(False, message=str(exc), diagnostics=found)
    return Compilation(True, f"{first.removesuffix(suffix)}{compiler.target}", code)


if __name__ == "__main__":
    main()
