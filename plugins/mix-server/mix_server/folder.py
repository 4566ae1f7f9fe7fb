"""A folder of the machine whose files everybody may read: `--serve-files-from`.

A path is walked name by name from the open folder, and no link is followed, wherever it leads: what is outside of it
cannot be reached, whatever is put into it. What is neither a folder nor a plain file is not there.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from mixkit.errors import NotFound, PathError, ProfileError
from mixkit.file_fields import guessed
from mixkit.filesystem import FileInfo
from mixkit.paths import check_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mix_server.settings import ServerSettings
    from mixkit.kernel_settings import KernelSettings

__all__ = ["Folder", "private_of"]

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK a named pipe would be waited for.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_INDEX: Final = "index.html"


def private_of(settings: ServerSettings, kernel: KernelSettings) -> dict[str, str | None]:
    """What is nobody's to read, by the settings that name it."""
    return {
        "settings.server.ws_dir": settings.ws_dir,
        "settings.server.tls_key": settings.tls_key,
        "settings.server.spcs_token_file": settings.spcs_token_file,
        "settings.kernel.key_file": kernel.key_file,
    }


class Folder:
    """The files in a folder. Blocks as the disk does.

    Args:
        private: what nobody is to read: files or folders, by the settings that name them. Those that are hidden in it
            are not served.

    Raises:
        ProfileError: there is no such folder, or it has something private in it, or is in it.
    """

    def __init__(self, path: str, private: Mapping[str, str | None]) -> None:
        self._path = os.path.realpath(path)
        try:
            os.close(os.open(self._path, _FOLDER))
        except OSError as exc:
            raise ProfileError(
                f"expected a folder, found {path!r}: {exc.strerror}", "settings.server.serve_files_from"
            ) from None
        for setting, other in private.items():
            if other is not None and self._shows(os.path.realpath(other)):
                raise ProfileError(
                    f"everybody could read {other!r}, which {setting} names: it is in {path!r}, or has that in it; "
                    "name another folder",
                    "settings.server.serve_files_from",
                )

    def _shows(self, other: str) -> bool:
        """Whether something of a file or folder is served."""
        common = os.path.commonpath((self._path, other))
        if common == other:
            return True
        inner = Path(os.path.relpath(other, self._path)).parts
        return common == self._path and not any(name.startswith(".") for name in inner)

    def open(self, path: str) -> tuple[BinaryIO, FileInfo]:
        """A file and what is known of it; `/` at the end is for the `index.html` there. To be closed.

        Raises:
            NotFound: there is none.
        """
        if path.endswith("/"):
            path += _INDEX
        try:
            names = check_path(path)[1:].split("/")
        except PathError:
            raise NotFound("no file has such a path") from None
        if any(name.startswith(".") for name in names):
            # What is hidden is so for a reason: .git, .env.
            raise NotFound("hidden files are not served")
        try:
            with _walked(self._path, names[:-1]) as folder:
                number = os.open(names[-1], _FILE, dir_fd=folder)
        except OSError:
            raise NotFound(f"no file {path!r:.200}") from None
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode):
            os.close(number)
            raise NotFound(f"{path!r:.200} is no plain file")
        file = os.fdopen(number, "rb")
        etag = f"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}"
        kind = guessed(path, text=False)
        if kind.startswith("text/"):
            kind += "; charset=utf-8"
        return file, FileInfo(
            path=path,
            size=found.st_size,
            etag=etag,
            modified=found.st_mtime_ns // 1_000_000,
            content_type=kind,
        )


@contextmanager
def _walked(root: str, names: list[str]) -> Iterator[int]:
    """The descriptor of a folder."""
    folder = os.open(root, _FOLDER)
    try:
        for name in names:
            inner = os.open(name, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)
