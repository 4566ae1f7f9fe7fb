"""The databases of apps: opened when first asked for, shared by all who ask, and who may ask for which."""

from __future__ import annotations

import codecs
import contextlib
import logging
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import msgspec

from mixkit import codec, tagged_json
from mixkit.errors import MixError, NotFound, RecordError, StorageError, TaggedJSONError
from mixkit.fields import valid
from mixkit.outside import foreign
from mixkit.storage import Database, Place, SaveOptions, Storage
from mixkit.value import Ref, kind_of

__all__ = ["Apps", "Databases", "gone", "load_records"]

_log = logging.getLogger("mixkit.databases")

_OURS: Final = 2

RECORDS_PER_COMMIT: Final = 1_000
"""Records of a package that are stored at once."""


class Apps:
    """Leads to the other apps of a workspace, and to what the package of its own brought; whoever starts a run may give
    it one.

    Args:
        resolve: answers the place of the app of that name, or raises `NotFound`. It is asked for names from agents.
        file: answers the file of that name, below the folder `code/APP` of the package that the run's own app is from,
            or raises `NotFound`. It is asked for names from agents, and may block.
    """

    def __init__(self, resolve: Callable[[str], Place], file: Callable[[str], bytes] | None = None) -> None:
        self.resolve = resolve
        self.file = file or _no_file


def _no_file(name: str) -> bytes:
    raise NotFound(f"no file {name!r:.80} of a package: this run was started without one")


def gone(place: Place) -> NotFound:
    """The error of a run whose app was deleted, or of whoever asks for its database."""
    return NotFound(f"app {place.app!r} of workspace {place.workspace!r} is gone, and its data with it")


class _Open:
    """An open database, and the folder that it was opened for, which another one of that name does not pass for."""

    def __init__(self, database: Database, place: Place) -> None:
        self.database = database
        self.place = place
        # Holding the folder open keeps its number from being given to another one.
        self._folder = os.open(place.home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._identity = _identity(os.fstat(self._folder))
        self._home = str(place.home)

    def is_there(self) -> bool:
        try:
            return _identity(os.stat(self._home)) == self._identity  # noqa: PTH116 - at every call of an agent
        except OSError:
            return False

    def is_gone(self) -> bool:
        """Whether it is not there for sure: no folder, or another one. What cannot be looked at may be there."""
        try:
            return _identity(os.stat(self._home)) != self._identity  # noqa: PTH116 - as above
        except OSError as exc:
            return isinstance(exc, FileNotFoundError | NotADirectoryError)

    def close(self) -> None:
        """Close the database. `StorageError` if that fails."""
        _close(self.database)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            os.close(self._folder)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


class Databases:
    """Opens databases and keeps them open. Thread-safe; a process that forks begins with none.

    Those that were not asked for in the longest time are closed when there are more than `most`; but none that a
    caller still holds. Hold the database as long as its cursors.

    Args:
        make: makes the storage, when it is first needed.
        most: databases that are kept open.
    """

    def __init__(self, make: Callable[[], Storage], most: int = 256) -> None:
        self._make = make
        self._most = most
        self._storage: Storage | None = None
        self._open: OrderedDict[Place, _Open] = OrderedDict()
        self._inherited: list[object] = []
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._closed = False

    @property
    def storage(self) -> Storage:
        """The storage, made now if need be. `StorageError` if it cannot be."""
        if self._pid != os.getpid():
            self._forked()
        with self._lock:
            return self._made_storage()

    def open(self, place: Place) -> Database:
        """The database of an app, made if it is not there.

        Raises:
            NotFound: the folder of the app is gone: the app was deleted.
            StorageError: the database cannot be opened, or `close` was called.
        """
        if self._pid != os.getpid():
            self._forked()
        with self._lock:
            storage = self._made_storage()
            found = self._open.get(place)
            if found is not None and found.is_there():
                self._open.move_to_end(place)
                return found.database
            if found is not None:
                del self._open[place]
                found.close()
            # A name of our own for it, as any caller has one: it is not idle when the others are in use.
            database = _open(storage, place)
            self._close_gone()
            try:
                self._open[place] = _Open(database, place)
            except FileNotFoundError:
                _close(database)
                raise gone(place) from None
            if len(self._open) > self._most:
                self._close_idle(len(self._open) - self._most)
            return database

    def _close_gone(self) -> None:
        """Close those whose apps other processes have deleted: nobody asks for them again, and they fill the disk."""
        for place, item in list(self._open.items()):
            if item.is_gone():
                del self._open[place]
                item.close()

    def _close_idle(self, count: int) -> None:
        """Close that many, if there are so many that nobody uses."""
        for place, item in list(self._open.items()):
            # Taken out first: `at_hand` refers to a database, then looks whether it is still here.
            del self._open[place]
            # Whoever uses a database refers to it: beside the item that is the argument of the function alone.
            if sys.getrefcount(item.database) > _OURS:
                self._open[place] = item
                continue
            item.close()
            count -= 1
            if not count:
                return

    def at_hand(self, place: Place) -> Database | None:
        """What `open` would answer, if it is open already. Never waits for anybody, so an event loop may ask."""
        found = self._open.get(place) if self._pid == os.getpid() else None
        if found is None or not found.is_there():
            return None
        database = found.database
        # PERF: comparing places takes a while, unless they are one object.
        place = found.place
        if self._lock.acquire(blocking=False):
            try:
                if place in self._open:
                    self._open.move_to_end(place)
            finally:
                self._lock.release()
        # One that was idle until now may have been closed meanwhile.
        return database if self._open.get(place) is found else None

    def remove(self, place: Place) -> None:
        """Close the database and remove it, because its app is about to be deleted.

        Before, not after: an app made again under the name must not find records of another one, whatever happens
        in between.

        Raises:
            StorageError: it could not be removed, or `close` was called.
        """
        if self._pid != os.getpid():
            self._forked()
        with self._lock:
            storage = self._made_storage()
            found = self._open.pop(place, None)
            try:
                with foreign(
                    lambda reason: StorageError(f"the storage {storage.name!r} failed to remove: {reason}")
                ):
                    # Before it is closed, so that who still uses it is told why.
                    storage.remove(place)
            finally:
                if found is not None:
                    found.close()

    def _made_storage(self) -> Storage:
        """The storage, made now if it is first needed. Under the lock."""
        if self._closed:
            raise StorageError("expected databases that may be opened, found the kernel closed")
        if self._storage is None:
            self._storage = self._make()
        return self._storage

    def _forked(self) -> None:
        """What was opened before a fork is the parent's: it is neither used nor closed here."""
        self._inherited += [self._open, self._storage]
        self._open, self._storage = OrderedDict(), None
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def close(self) -> None:
        """Close all. Idempotent; nothing can be opened afterwards."""
        if self._pid != os.getpid():
            self._forked()
        with self._lock:
            self._closed = True
            found = list(self._open.values())
            self._open.clear()
        with contextlib.ExitStack() as rest:
            for item in found:
                rest.callback(item.close)


def _open(storage: Storage, place: Place) -> Database:
    """The database, made if it is not there. `NotFound` if the app is deleted at the same time."""
    _make_home(place)
    try:
        with foreign(lambda reason: StorageError(f"the storage {storage.name!r} failed to open: {reason}")):
            return storage.open(place)
    except (NotFound, StorageError) as exc:
        if not place.home.exists():
            raise gone(place) from exc
        raise


def _close(database: Database) -> None:
    with foreign(lambda reason: StorageError(f"a database cannot be closed: {reason}")):
        database.close()


def _make_home(place: Place) -> None:
    try:
        place.home.mkdir(exist_ok=True)
    except FileNotFoundError:
        raise gone(place) from None
    except OSError as exc:
        raise StorageError(
            f"cannot make the folder {place.home}: {exc.strerror}; check who may write there"
        ) from exc


def load_records(database: Database, lines: Iterable[bytes], save_options: Mapping[str, Any]) -> int:
    """Store the records of a package, in commits of 1,000; answers how many it stored.

    A record whose present version has the same fields is left as it is, so that installing again what is installed
    stores nothing. That asks for ids: a record without one, or with a temporary one, is new at each install.
    Temporary ids are known within their commit. Without `KeepOriginal` what users changed or deleted is put back.

    If it fails, what was stored is taken back by further versions, so that the records are what they were.

    Args:
        lines: a record each, as tagged JSON. All are read before the first is stored.
        save_options: the manifest's, as `{"KeepOriginal": true}`.

    Raises:
        RecordError: a line, a record or an option is refused.
        StorageError: it could not be stored.
    """
    options = _options(save_options)
    kept = list(lines)
    if kept:
        kept[0] = kept[0].removeprefix(codecs.BOM_UTF8)
    for number, line in enumerate(kept, 1):
        _record(line, number)
    before = database.watermark()
    stored: list[Ref] = []
    try:
        numbered = iter(enumerate(kept, 1))
        while batch := list(islice(numbered, RECORDS_PER_COMMIT)):
            records = [_record(line, number) for number, line in batch]
            wanted = [record for record in records if _is_news(database, record, options)]
            stored += [record["_rmx_id"] for record in database.save(wanted, options).records]
    except BaseException:
        try:
            _take_back(database, before, stored)
        except MixError:
            _log.exception("records of a package could not be taken back; the next install puts them right")
        raise
    return len(stored)


def _options(given: Mapping[str, Any]) -> SaveOptions:
    try:
        return msgspec.convert(dict(given), SaveOptions)
    except msgspec.ValidationError as exc:
        raise RecordError(f"the save options are wrong: {exc}{valid(exc, SaveOptions)}") from None


def _record(line: bytes, number: int) -> dict[str, Any]:
    try:
        record = tagged_json.loads(line)
    except TaggedJSONError as exc:
        raise RecordError(f"line {number}: {exc}") from None
    if type(record) is not dict:
        raise RecordError(f"line {number}: expected a record, a map, found {kind_of(record)}")
    return record


def _is_news(database: Database, record: Mapping[str, Any], options: SaveOptions) -> bool:
    """Whether storing the record would change something."""
    id = record.get("_rmx_id")
    if options.dont_use_id or not isinstance(id, Ref | str):
        return True
    old = database.get(id)
    if old is None:
        return True
    before, after = _fields(old), _fields(record)
    # Compared as bytes, because 1 and 1.0 are equal values.
    return codec.encode(before | after if options.upsert else after) != codec.encode(before)


def _take_back(database: Database, watermark: str, ids: Sequence[Ref]) -> None:
    then = database.as_of(watermark)
    for start in range(0, len(ids), RECORDS_PER_COMMIT):
        before = {id: then.get(id) for id in ids[start : start + RECORDS_PER_COMMIT]}
        old = [_fields(record) | {"_rmx_id": id} for id, record in before.items() if record is not None]
        database.save(old, SaveOptions(original_id_always=True))
        database.delete([id for id, record in before.items() if record is None])


def _fields(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the client says of a record."""
    return {
        name: value for name, value in record.items() if not name.startswith("_rmx_") or name == "_rmx_type"
    }
