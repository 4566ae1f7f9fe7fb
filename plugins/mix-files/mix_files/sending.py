"""A file that a run sends piece by piece, and that is forgotten if the run ends before it does."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from mixkit.errors import FFIError
from mixkit.filesystem import FileInfo, Upload
from mixkit.state import State

__all__ = ["Busy", "Sending"]


class Busy(FFIError):
    """A piece is being stored."""


class _Open:
    """How many files a run is sending."""

    def __init__(self) -> None:
        self.count = 0


class Sending:
    """An upload of a run: one call at a time, and whatever fails ends it."""

    def __init__(self, opened: _Open) -> None:
        import asyncio

        self._opened = opened
        self._upload: Upload | None = None
        self._loop = asyncio.get_running_loop()
        self._busy = False

    @classmethod
    def admitted(cls, state: State, most: int) -> Sending:
        """One more of a run. FFIError if it has that many already."""
        opened = state.get(_Open) or state.put(_Open())
        if opened.count >= most:
            raise FFIError(
                f"this run is sending {opened.count} files; finish one, or raise the setting files.uploads"
            )
        opened.count += 1
        return cls(opened)

    async def begin(self, upload: Coroutine[Any, Any, Upload]) -> None:
        """Wait for the upload."""
        try:
            self._upload = await upload
        except BaseException:
            self._opened.count -= 1
            raise

    async def write(self, data: bytes) -> None:
        """The next piece."""
        upload = self._take()
        try:
            await upload.write(data)
        finally:
            self._busy = False

    async def commit(self) -> FileInfo:
        """The end."""
        upload = self._take()
        try:
            return await upload.commit()
        finally:
            self._busy = False

    async def give_up(self) -> None:
        """Forget it now, after something has failed."""
        upload, self._upload = self._upload, None
        if upload is not None:
            await upload.abort()

    def end(self) -> None:
        """Forget it unless it was committed. From any thread, once."""
        upload, self._upload = self._upload, None
        self._opened.count -= 1
        if upload is not None:
            import asyncio

            abort = upload.abort()
            try:
                asyncio.run_coroutine_threadsafe(abort, self._loop)
            except RuntimeError:
                # The loop has ended; what was sent is swept like that of a process that was killed.
                with suppress(RuntimeError):
                    abort.close()

    def _take(self) -> Upload:
        if self._busy:
            raise Busy("a piece of this file is being stored; wait for its answer before the next")
        if self._upload is None:
            raise FFIError("the file was sent, or given up; begin another one with its path")
        self._busy = True
        return self._upload
