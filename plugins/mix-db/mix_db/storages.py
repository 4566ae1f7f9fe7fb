"""The storages that the plugin offers: databases in files, and in memory."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Literal

from mix_db.engine.handle import Handle
from mix_db.engine.opening import open_folder, open_memory, remove_folder
from mix_db.files.errors import explained
from mix_db.files.home import folder_in
from mix_db.settings import Settings
from mixkit.errors import NotFound
from mixkit.storage import Place

__all__ = ["Memory", "Mixquery"]

_NAME_FILE = "name.txt"

Mode = Literal["create", "write", "read"]


class Mixquery:
    """Each app's database in files of its own: `v2` in its home, or right there if somebody has made it so."""

    name = "mixquery"
    durable = True

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()

    def open(self, place: Place, *, mode: Mode = "create") -> Handle:
        path = folder_in(place.home)
        if mode == "create":
            _make_home(place)
        database = open_folder(
            path, create=mode == "create", read_only=mode == "read", settings=self._settings, parents=False
        )
        if mode == "create":
            try:
                _write_name(path / _NAME_FILE, place.app)
            except BaseException:
                database.close()
                raise
        return database

    def remove(self, place: Place) -> None:
        remove_folder(folder_in(place.home))


class Memory:
    """Databases that live as long as this object, one for each place; their handles share them."""

    name = "memory"
    durable = False

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._mutex = threading.Lock()
        self._open: dict[Place, Handle] = {}

    def open(self, place: Place, *, mode: Mode = "create") -> Handle:
        with self._mutex:
            if place not in self._open:
                if mode != "create":
                    raise NotFound(
                        f"expected a database of {place.workspace}/{place.app}, found none in memory"
                    )
                self._open[place] = open_memory(self._settings)
            return self._open[place].again(read_only=mode == "read")

    def remove(self, place: Place) -> None:
        with self._mutex:
            found = self._open.pop(place, None)
        if found is not None:
            found.close(removed=True)


def _make_home(place: Place) -> None:
    """Make the home, but not what it is in: that goes with the app, and must not come back."""
    with explained(f"the database in {place.home} cannot be made"):
        try:
            place.home.mkdir(exist_ok=True)
        except FileNotFoundError:
            raise NotFound(
                f"expected a folder {place.home.parent} for the database of {place.workspace}/{place.app}, found none"
            ) from None


def _write_name(path: Path, name: str) -> None:
    """For people who look at the folder; nothing reads it."""
    with explained(f"the name of the database in {path.parent} cannot be written"), suppress(FileExistsError):
        with path.open("x", encoding="utf-8") as file:
            file.write(name + "\n")
        path.chmod(0o600)
