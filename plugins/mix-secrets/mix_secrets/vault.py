"""The secrets of one workspace, in one SQLite file that many processes use at once.

    data_keys   keys of 32 bytes, each sealed by the master key (`KeyRing.seal`); the newest seals
    secrets     values, each sealed by a data key with AES-256-GCM: a nonce (12 bytes), ciphertext, tag (16)
    counter     the last version that was given; none is given twice

What is sealed is bound to where it stands: workspace, app, user, kind, name, version and data key are its associated
data. Names, users, sizes and times can be read in the file; values cannot.

Rotation makes a new data key, seals every value anew in small transactions, and drops the data keys that nothing needs
any more. It may be killed at any point, and begun again. Whoever stores something meanwhile seals with the newest key,
because it is looked up in the transaction that stores.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mix_secrets.names import Name
from mixkit import msgpack_values
from mixkit.errors import FFIError, NotFound, StorageError
from mixkit.keyring import KEY_SIZE, KeyRing

__all__ = ["Entry", "Vault"]

FILE: Final = "secrets.db"
PURPOSE: Final = "secrets"

_NONCE: Final = 12
_BATCH: Final = 100
"""Values that are sealed anew in one transaction."""
_BUSY: Final = 5.0
"""Seconds that a writer waits for others."""
_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS data_keys (id INTEGER PRIMARY KEY AUTOINCREMENT, sealed BLOB NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS counter (last INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS secrets (
        app TEXT NOT NULL, user TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
        version INTEGER NOT NULL, key INTEGER NOT NULL, changed INTEGER NOT NULL, sealed BLOB NOT NULL,
        PRIMARY KEY (app, user, kind, name)
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 1;
"""
_FORMAT: Final = 1
_ONE: Final = """
    SELECT version, key, secrets.sealed, data_keys.sealed FROM secrets LEFT JOIN data_keys ON id = key
    WHERE app = ? AND user = ? AND kind = ? AND name = ?
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """What may be known of a secret. `changed` is in milliseconds since 1970."""

    name: Name
    version: int
    changed: int


class Vault:
    """The secrets of a workspace. Thread-safe; survives a fork. Opened, and made, when first needed.

    All methods raise `StorageError` if the file cannot be read or written, `KeyRingError` if the master keys do not
    open its data keys.

    Args:
        folder: where the file is; it is made for the first secret if the folder that it is in is there.
        workspace: its name.
    """

    def __init__(self, folder: Path, workspace: str, ring: KeyRing) -> None:
        self._folder = folder
        self._path = str(folder / FILE)
        self._workspace = workspace
        self._ring = ring
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._ciphers: dict[tuple[int, bytes], AESGCM] = {}
        self._inherited: list[object] = []
        self._lock = threading.RLock()
        self._pid = os.getpid()

    def get(self, name: Name) -> bytes:
        """The value of a secret. `NotFound` if there is none."""
        return self._opened(name)[0]

    def extra(self, name: Name) -> dict[str, Any]:
        """What was stored with a token. `NotFound` if there is no such token."""
        packed = self._opened(name)[1]
        found: Any = msgpack_values.unpack(packed) if packed else {}
        return dict(found)

    def put(self, name: Name, value: bytes, extra: dict[str, Any] | None = None, most: int = 1 << 30) -> int:
        """Store a secret, on the disk when this returns; answers its version.

        Args:
            extra: what is kept with it, sealed too.
            most: how many the user may have in the app.

        Raises:
            FFIError: there are as many.
            NotFound: the workspace is gone.
        """
        with self._writing() as db:
            self._sweep(db)
            row = db.execute(_ONE, name).fetchone()
            if row is None:
                (count,) = db.execute(
                    "SELECT count(*) FROM secrets WHERE app = ? AND user = ?", (name.app, name.user)
                ).fetchone()
                if count >= most:
                    raise FFIError(
                        f"there are {count} secrets of this user in the app; delete some, or raise the setting "
                        "secrets.most"
                    )
            key, wrapped = self._newest(db)
            (version,) = db.execute("UPDATE counter SET last = last + 1 RETURNING last").fetchone()
            packed = b"" if not extra else msgpack_values.pack(extra)
            content = struct.pack("<I", len(packed)) + packed + value
            sealed = self._sealed(content, name, version, key, wrapped)
            now = time.time_ns() // 1_000_000
            db.execute(
                "INSERT OR REPLACE INTO secrets VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*name, version, key, now, sealed),
            )
            return int(version)

    def delete(self, name: Name) -> bool:
        """Delete a secret; answers whether there was one."""
        if not self._is_there():
            return False
        with self._writing() as db:
            done = db.execute(
                "DELETE FROM secrets WHERE app = ? AND user = ? AND kind = ? AND name = ?", name
            )
            return done.rowcount > 0

    def kept(self, name: Name) -> tuple[bytes, dict[str, Any], int] | None:
        """A value, what is kept with it, and its version; None if there is none."""
        with self._reading() as db:
            row = None if db is None else db.execute(_ONE, name).fetchone()
        return None if row is None else self._parts(name, row)

    def take(self, name: Name, version: int | None = None) -> tuple[bytes, dict[str, Any], int] | None:
        """The same, removed: one gets it of all who take it at once.

        Args:
            version: only if it is still this one.
        """
        if not self._is_there():
            return None
        with self._writing() as db:
            row = db.execute(_ONE, name).fetchone()
            if row is None or version not in (None, row[0]):
                return None
            found = self._parts(name, row)
            db.execute("DELETE FROM secrets WHERE app = ? AND user = ? AND kind = ? AND name = ?", name)
            return found

    def entries(self, app: str | None = None, user: str | None = None) -> list[Entry]:
        """All secrets, or those of an app, of a user; sorted by name."""
        with self._reading() as db:
            rows = () if db is None else db.execute(
                "SELECT app, user, kind, name, version, changed FROM secrets "
                "WHERE (:app IS NULL OR app = :app) AND (:user IS NULL OR user = :user) ORDER BY app, user, name, kind",
                {"app": app, "user": user},
            ).fetchall()  # fmt: skip
        return [Entry(Name(*row[:4]), *row[4:]) for row in rows]

    def rotate(self) -> int:
        """Let everything be sealed by a data key of the master key that seals now; answers how many values were sealed
        anew. What was done before is not done again."""
        if not self._is_there():
            return 0
        with self._writing() as db:
            self._sweep(db)
            newest, wrapped = self._newest(db)
            if not self._ring.is_newest(wrapped):
                newest, wrapped = self._make_key(db)
        done = 0
        while moved := self._seal_anew(newest, wrapped):
            done += moved
        with self._writing() as db:
            db.execute(
                "DELETE FROM data_keys WHERE id < ? AND id NOT IN (SELECT key FROM secrets)", (newest,)
            )
        with self._reading() as db:
            # What was deleted is overwritten in the file; the log has it until it is begun anew.
            if db is not None:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return done

    def _seal_anew(self, newest: int, wrapped: bytes) -> int:
        with self._writing() as db:
            rows = db.execute(
                "SELECT app, user, kind, name FROM secrets WHERE key < ? LIMIT ?", (newest, _BATCH)
            ).fetchall()
            for row in rows:
                name = Name(*row)
                version, content = self._content(name, db.execute(_ONE, name).fetchone())
                sealed = self._sealed(content, name, version, newest, wrapped)
                db.execute(
                    "UPDATE secrets SET key = ?, sealed = ? WHERE app = ? AND user = ? AND kind = ? AND name = ?",
                    (newest, sealed, *name),
                )
            return len(rows)

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        with self._mine():
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    # -- sealing ------------------------------------------------------------------------------

    def _opened(self, name: Name) -> tuple[bytes, bytes]:
        with self._reading() as db:
            row = None if db is None else db.execute(_ONE, name).fetchone()
        if row is None:
            raise NotFound(f"no {name.kind} {name.name!r} of this user in the app")
        return _split(self._content(name, row)[1])

    def _parts(self, name: Name, row: Any) -> tuple[bytes, dict[str, Any], int]:
        version, content = self._content(name, row)
        value, packed = _split(content)
        extra: Any = msgpack_values.unpack(packed) if packed else {}
        return value, dict(extra), version

    def _content(self, name: Name, row: tuple[int, int, bytes, bytes | None]) -> tuple[int, bytes]:
        version, key, sealed, wrapped = row
        try:
            if wrapped is None:
                raise InvalidTag
            associated = name.associated(self._workspace, version, key)
            cipher = self._cipher(key, wrapped)
            return version, cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], associated)
        except (InvalidTag, ValueError):
            raise StorageError(
                f"the {name.kind} {name.name!r} does not open: it is damaged, or belongs somewhere else; store it anew"
            ) from None

    def _sealed(self, content: bytes, name: Name, version: int, key: int, wrapped: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        associated = name.associated(self._workspace, version, key)
        return nonce + self._cipher(key, wrapped).encrypt(nonce, content, associated)

    def _cipher(self, key: int, wrapped: bytes) -> AESGCM:
        # By what is stored, not by the number alone: another key under that number is another key.
        found = self._ciphers.get((key, wrapped))
        if found is None:
            found = AESGCM(self._ring.open(PURPOSE, wrapped, self._of_key(key)))
            self._ciphers[(key, wrapped)] = found
            while len(self._ciphers) > 8:
                del self._ciphers[next(iter(self._ciphers))]
        return found

    def _of_key(self, key: int) -> bytes:
        """What a data key is sealed with."""
        return struct.pack("<Q", key) + self._workspace.encode()

    def _newest(self, db: sqlite3.Connection) -> tuple[int, bytes]:
        row = db.execute("SELECT id, sealed FROM data_keys ORDER BY id DESC LIMIT 1").fetchone()
        return self._make_key(db) if row is None else (row[0], row[1])

    def _make_key(self, db: sqlite3.Connection) -> tuple[int, bytes]:
        number = int(db.execute("INSERT INTO data_keys (sealed) VALUES (x'')").lastrowid or 0)
        wrapped = self._ring.seal(PURPOSE, secrets.token_bytes(KEY_SIZE), self._of_key(number))
        db.execute("UPDATE data_keys SET sealed = ? WHERE id = ?", (wrapped, number))
        return number, wrapped

    def _sweep(self, db: sqlite3.Connection) -> None:
        """Delete what belongs to apps that are gone."""
        for (app,) in db.execute("SELECT DISTINCT app FROM secrets").fetchall():
            if app and not (self._folder.parent / app).is_dir():
                db.execute("DELETE FROM secrets WHERE app = ?", (app,))

    # -- the file -----------------------------------------------------------------------------

    def _is_there(self) -> bool:
        return os.path.exists(self._path)  # noqa: PTH110 - at every call of an agent

    @contextlib.contextmanager
    def _mine(self) -> Iterator[None]:
        """Be the only thread. What was opened before a fork is the parent's: neither used nor closed here."""
        if self._pid != os.getpid():
            self._inherited += [self._connection]
            self._connection, self._identity = None, None
            self._lock = threading.RLock()
            self._pid = os.getpid()
        with self._lock:
            yield

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """The file; None if there is none."""
        with self._mine(), self._failing():
            yield self._current()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction, on the disk when it ends."""
        with self._mine(), self._failing():
            db = self._current() or self._make()
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            # Values are parameters, and no message of SQLite shows one.
            raise StorageError(f"the secrets in {self._path!r} failed: {exc}") from None

    def _current(self) -> sqlite3.Connection | None:
        """The file that is there now: the workspace may have been deleted and made anew."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 - at every call of an agent
        except OSError:
            found = None
        identity = None if found is None else (found.st_dev, found.st_ino)
        if identity != self._identity and self._connection is not None:
            self._connection.close()
            self._connection = None
        if identity is None:
            return None
        if self._connection is None:
            self._connection = self._open()
            self._identity = identity
        return self._connection

    def _make(self) -> sqlite3.Connection:
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
        except FileNotFoundError:
            raise NotFound(f"workspace {self._workspace!r} is gone, and its secrets with it") from None
        except OSError as exc:
            raise StorageError(f"cannot make the folder {str(self._folder)!r}: {exc.strerror}") from None
        self._connection = self._open()
        found = os.stat(self._path)  # noqa: PTH116 - a text
        self._identity = (found.st_dev, found.st_ino)
        return self._connection

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL").fetchone()
            db.execute("PRAGMA synchronous = FULL")
            # What is deleted is overwritten, not only forgotten.
            db.execute("PRAGMA secure_delete = ON").fetchone()
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > _FORMAT:
                raise StorageError(
                    f"{self._path!r} has format {version}, which is newer than this mixkit, which reads {_FORMAT}"
                )
            if version < _FORMAT:
                db.executescript(
                    f"BEGIN IMMEDIATE; {_SCHEMA} INSERT INTO counter SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM counter);"
                    "COMMIT;"
                )
        except BaseException:
            db.close()
            raise
        return db


def _split(content: bytes) -> tuple[bytes, bytes]:
    """A value, and what is kept with it, packed."""
    (size,) = struct.unpack_from("<I", content)
    return content[4 + size :], content[4 : 4 + size]
