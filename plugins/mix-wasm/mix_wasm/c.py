"""C as the kernel has it: sources in, a guest out. Imported by every start that has this plugin."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from mix_wasm.errors import BuildError
from mixkit.sources import Sources

__all__ = ["CCompiler"]


class CCompiler:
    """C to Wasm: all C files of the folder of the one that is named make one guest, with the headers that they include.

    SAFETY: C includes what it names, wherever it is, and the guest may send that on. So it is compiled of files on this
    machine by who runs the compiler, who is to have looked at them (docs/project.md), and never of texts that somebody
    has sent.
    """

    name = "c"
    suffixes = (".c",)
    target = ".wasm"

    def __init__(self, settings: object = None) -> None:
        """The plugin's settings are of what agents load."""

    def compile(self, sources: Mapping[str, str]) -> bytes:
        """The guest. `BuildError` with what the compiler printed, or why what came out is no guest."""
        if not isinstance(sources, Sources):
            raise BuildError(
                "C is compiled where its files are, by `mixkit remix build` or `mixkit wasm build`"
            )
        from mix_wasm.build import build

        if not sources.path.is_file():
            raise BuildError(f"{sources.path}: there is no such file")
        with tempfile.TemporaryDirectory(prefix="mixkit-c-") as scratch:
            return build(sources.path.parent, Path(scratch) / "guest.wasm").read_bytes()
