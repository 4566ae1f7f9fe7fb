"""From C sources to a guest that is known to fit the guest interface."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mix_wasm import compiler
from mix_wasm.errors import BuildError
from mix_wasm.inspect import inspect

__all__ = ["build", "default_out", "sources"]


def sources(path: Path) -> tuple[Path, list[str]]:
    """The folder to compile in, and the names of its C files: one file, or all that lie directly in a folder.

    Raises:
        BuildError: there are none.
    """
    if path.is_dir():
        names = sorted(file.name for file in path.glob("*.c") if file.is_file())
        if not names:
            raise BuildError(f"{path}: expected C files in the folder, found none")
        return path.resolve(), names
    if path.suffix != ".c" or not path.is_file():
        raise BuildError(f"{path}: expected a C file or a folder with some")
    return path.resolve().parent, [path.name]


def default_out(path: Path) -> Path:
    """Where a guest goes unless told otherwise: `build/NAME.wasm` beside its sources."""
    folder, _ = sources(path)
    return folder / "build" / f"{folder.name if path.is_dir() else path.stem}.wasm"


def build(path: Path, out: Path | None = None, *, debug: bool = False) -> Path:
    """Build a guest and answer where it is.

    Args:
        path: a C file, or a folder: all C files directly in it.
        out: the Wasm file to write, whole or not at all; by default `default_out(path)`.
        debug: keep names and lines for backtraces, and trap on undefined behaviour.

    Raises:
        BuildError: it does not compile, or what comes out is no guest; then `out` is as it was before.
    """
    folder, names = sources(path)
    # The compiler stands in the folder of the sources.
    out = Path.cwd() / (out or default_out(path))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".mix-build-", dir=out.parent) as scratch:
        made = Path(scratch) / "guest.wasm"
        compiler.compile(folder, names, made, debug=debug)
        report = inspect(made.read_bytes())
        if report.problems:
            raise BuildError(
                f"{path}: compiles, but is no guest:\n" + "\n".join(f"  {p}" for p in report.problems)
            )
        made.chmod(0o644)
        made.replace(out)
    return out
