"""The command `mixkit`. `main` is the console script; everything else is imported when it is needed."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and answer its exit status.

    0: done. 1: an error of mixkit or of the run, or a check that failed. 2: wrong usage. 130: interrupted.
    """
    import gc

    from mixkit.cli.streams import open_closed

    # Before anything opens a file.
    open_closed()
    # PERF: starting makes many objects, none of which is garbage. A loaded kernel switches it on again.
    gc.disable()
    try:
        from mixkit.cli.app import main

        return main(args)
    except KeyboardInterrupt:
        # While modules were imported.
        return 130
    finally:
        # NOTE: libraries that count their objects as Python ends report those that it does not look at any more.
        gc.unfreeze()
        gc.enable()
