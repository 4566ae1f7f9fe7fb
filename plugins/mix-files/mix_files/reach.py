"""Which files a run may touch: those of its own app, in the folders that it was granted."""

from __future__ import annotations

from typing import Final

from mixkit.errors import FFIError, GrantError, PathError
from mixkit.filesystem import Files
from mixkit.paths import check_folder, check_path
from mixkit.state import State
from mixkit.storage import Place

__all__ = ["READ", "WRITE", "app_of", "check_folders", "files_of", "may", "may_list"]

READ: Final = "files.read"
WRITE: Final = "files.write"


def check_folders(option: str, value: object) -> list[str]:
    """The folders that a grant option names, as beginnings of paths.

    Raises:
        GrantError: it is no list of folders.
    """
    try:
        if isinstance(value, list):
            return [check_folder(folder) for folder in value]
    except PathError as exc:
        raise GrantError(f"grant option {option}: {exc}") from None
    raise GrantError(
        f'grant option {option}: expected a list of folders, as ["/public"], found {value!r:.80}'
    )


def app_of(state: State) -> Place:
    """The place of the run's app. FFIError if its code belongs to none."""
    if state.place is None:
        raise FFIError(
            f"{state.code or 'this code'} belongs to no app, and only apps have files; install it in a workspace, "
            "and run it there"
        )
    return state.place


def files_of(state: State) -> Files:
    """The files of the run's app. FileError if the profile has no file system."""
    return state.services.files.open(app_of(state))


def may(state: State, option: str, path: str) -> str:
    """The path itself, if the run may read or write there.

    Raises:
        PathError: no file has that path.
        GrantError: it is outside of what was granted.
    """
    check_path(path)
    _check(state, option, path, path)
    return path


def may_list(state: State, folder: str) -> str:
    """The folder itself, if the run may read all that is in it. Raises as `may`."""
    _check(state, READ, check_folder(folder), folder)
    return folder


def _check(state: State, option: str, path: str, shown: str) -> None:
    for value in state.grants.option(option):
        folders = check_folders(option, value)
        if not any(path.startswith(folder) for folder in folders):
            raise GrantError(
                f"{shown!r:.200} is outside of the folders that {option} grants to {state.code or 'this code'}: "
                f"{', '.join(folders)[:200] or 'none'}"
            )
