"""The key ring: one list of master keys of a server, from which everything that it seals or signs has its keys.

The first key seals, all of them open: a new key is put in front, what is stored is sealed anew (`mixkit secrets
rotate`), and the old one is taken away. Each purpose has a key of its own, derived from a master key, so that what was
sealed or signed for one can be used for no other.

Keys are 32 bytes, written in base64, one a line (or, in a variable, one a word):

    MIXKIT_SECRETS_KEY          goes before
    settings.kernel.key_file    a file that nobody else may read; or else
    WORKSPACES/.keyring/keys    made when it is first needed, unless something was sealed there before

`WORKSPACES/.keyring/key-id` says, by a digest, which key seals what is stored: one that does not fit is refused, and
never replaced by a new one.

What is sealed is the id of the master key (8 bytes), a random nonce (12), and AES-256-GCM's ciphertext with its tag
(16). The key of a purpose is HMAC-SHA-256 of the master key over `mixkit seal` or `mixkit sign`, a zero byte, and its
name (NIST SP 800-108, one block).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mixkit.errors import KeyRingError
from mixkit.whole_file import whole_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["KEY_SIZE", "VARIABLE", "KeyRing", "Keys"]

VARIABLE: Final = "MIXKIT_SECRETS_KEY"
KEY_SIZE: Final = 32

_ID: Final = 8
_NONCE: Final = 12
_TAG: Final = 16
_SEPARATORS: Final = re.compile(r"[,\s]+")
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_MAX_FILE: Final = 64 << 10


class KeyRing:
    """Seals, opens, signs, verifies. Thread-safe.

    Args:
        keys: the master keys, `KEY_SIZE` bytes each; the first seals and signs.
        source: where they are from, for people.

    Raises:
        KeyRingError: there is none, or one has another size.
    """

    def __init__(self, keys: Sequence[bytes], source: str) -> None:
        if not keys:
            raise KeyRingError(f"expected at least one master key in {source}, found none")
        for number, key in enumerate(keys, 1):
            if len(key) != KEY_SIZE:
                raise KeyRingError(f"{source}: expected {KEY_SIZE} bytes as key {number}, found {len(key)}")
        self.source = source
        self._masters = {_derived(key, "id", "")[:_ID]: key for key in keys}
        self._first = next(iter(self._masters))
        self._ciphers: dict[tuple[bytes, str], AESGCM] = {}

    def __repr__(self) -> str:
        return f"<KeyRing of {len(self._masters)} keys from {self.source}>"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a key ring is not written anywhere")

    @property
    def id(self) -> str:
        """Tells the key that seals from others, and nothing about it."""
        return self._first.hex()

    def __len__(self) -> int:
        return len(self._masters)

    def __contains__(self, id: str) -> bool:
        return any(known.hex() == id for known in self._masters)

    def seal(self, purpose: str, data: bytes, associated: bytes = b"") -> bytes:
        """The data, sealed.

        Args:
            purpose: what for; only who names the same opens it.
            associated: what it belongs to; it is not in the result, and must be the same to open it.
        """
        nonce = secrets.token_bytes(_NONCE)
        return b"".join(
            (self._first, nonce, self._cipher(self._first, purpose).encrypt(nonce, data, associated))
        )

    def open(self, purpose: str, sealed: bytes, associated: bytes = b"") -> bytes:
        """What was sealed.

        Raises:
            KeyRingError: it was sealed by a key that is not here, for another purpose or with other associated data, or
                it is damaged.
        """
        from cryptography.exceptions import InvalidTag

        id = sealed[:_ID]
        if len(sealed) < _ID + _NONCE + _TAG:
            raise KeyRingError(f"expected what was sealed for {purpose!r}, found {len(sealed)} bytes")
        if id not in self._masters:
            raise KeyRingError(
                f"what was sealed for {purpose!r} needs the key {id.hex()}, which is not in {self.source}; put it "
                "there, behind the first"
            )
        try:
            nonce, content = sealed[_ID : _ID + _NONCE], sealed[_ID + _NONCE :]
            return self._cipher(id, purpose).decrypt(nonce, content, associated)
        except InvalidTag:
            raise KeyRingError(
                f"what was sealed for {purpose!r} does not open: it is damaged, or belongs somewhere else"
            ) from None

    def is_newest(self, sealed: bytes) -> bool:
        """Whether it was sealed by the key that seals now."""
        return sealed[:_ID] == self._first

    def sign(self, purpose: str, data: bytes) -> bytes:
        """The signature (HMAC-SHA-256, 32 bytes) of the data for a purpose. Whoever lists several parts in `data` says
        where each ends."""
        return hmac.digest(_derived(self._masters[self._first], "sign", purpose), data, "sha256")

    def verify(self, purpose: str, data: bytes, signature: bytes) -> bool:
        """Whether it is the signature of one of the keys; compared in constant time."""
        found = False
        for key in self._masters.values():
            found |= hmac.compare_digest(
                hmac.digest(_derived(key, "sign", purpose), data, "sha256"), signature
            )
        return found

    def _cipher(self, id: bytes, purpose: str) -> AESGCM:
        cipher = self._ciphers.get((id, purpose))
        if cipher is None:
            try:
                from cryptography.hazmat.primitives.ciphers.aead import AESGCM
            except ModuleNotFoundError:
                raise KeyRingError(
                    "sealing needs the package cryptography; install it with `pip install cryptography`"
                ) from None
            cipher = AESGCM(_derived(self._masters[id], "seal", purpose))
            self._ciphers[(id, purpose)] = cipher
        return cipher


def _derived(master: bytes, use: str, purpose: str) -> bytes:
    return hmac.digest(master, b"mixkit " + use.encode() + b"\0" + purpose.encode(), "sha256")


class Keys:
    """Where the key ring of a server comes from; read when it is first asked for.

    Args:
        words: of the variable; None if it is not set.
        file: of the setting; None if it is not set.
        home: of the workspaces that are served; None if there is none.
    """

    def __init__(self, words: str | None, file: Path | None, home: Path | None = None) -> None:
        self._words = words
        self._file = file
        self._home = None if home is None else home / ".keyring"
        self._ring: KeyRing | None = None

    def of(self, home: Path) -> Keys:
        """Those of the workspaces in `home`, with the same variable and setting."""
        return Keys(self._words, self._file, home)

    def check(self) -> None:
        """Read the keys if there are some already, and see that they fit; makes none.

        Raises:
            KeyRingError: they cannot be used, or are not those that sealed what is stored.
        """
        if self._ring is None and (self._given() or self._mark() is not None):
            self._ring = self._read()

    def ring(self) -> KeyRing:
        """The key ring.

        Raises:
            KeyRingError: there is none and none can be made, or it is not the one that sealed what is stored.
        """
        if self._ring is None:
            self._ring = self._read()
            if self._home is not None and self._mark() is None:
                _write(self._home / _MARK, f"{self._ring.id}\n", replaces=False)
        return self._ring

    def renew(self) -> None:
        """Let what is stored be that of the first key, now that all of it has been sealed anew."""
        ring = self.ring()
        if self._home is not None and self._mark() != ring.id:
            _write(self._home / _MARK, f"{ring.id}\n", replaces=True)

    def described(self) -> str:
        """Where the keys are from, or would be; for people, without any of them."""
        if self._words is not None:
            return f"the variable {VARIABLE}"
        file = self._file or self._own_file()
        return "nowhere" if file is None else str(file)

    def are_there(self) -> bool:
        """Whether there are keys, so that none would be made."""
        own = self._own_file()
        return self._given() or (own is not None and own.exists())

    def _given(self) -> bool:
        return self._words is not None or self._file is not None

    def _own_file(self) -> Path | None:
        return None if self._home is None else self._home / "keys"

    def _mark(self) -> str | None:
        """The id of the key that sealed what is stored; None if nothing has been sealed."""
        if self._home is None:
            return None
        try:
            return (self._home / _MARK).read_text("ascii", "replace").strip()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise KeyRingError(f"cannot read {str(self._home / _MARK)!r}: {exc.strerror}") from None

    def _read(self) -> KeyRing:
        mark = self._mark()
        if self._words is not None:
            ring = KeyRing(_parsed(self._words, f"the variable {VARIABLE}"), f"the variable {VARIABLE}")
        elif self._file is not None:
            ring = _of_file(self._file)
        else:
            own = self._own_file()
            if own is None:
                raise KeyRingError(
                    f"there is no master key to seal with; set {VARIABLE}, or settings.kernel.key_file, to 32 random "
                    "bytes in base64"
                )
            # After the mark: whoever makes the first key makes the mark behind it.
            if mark is None:
                _write(own, base64.b64encode(secrets.token_bytes(KEY_SIZE)).decode() + "\n", replaces=False)
            ring = _of_file(own)
        if mark is not None and mark not in ring:
            raise KeyRingError(
                f"what is stored in {str(self._home and self._home.parent)!r} was sealed with the key {mark:.16}, and "
                f"{ring.source} has others; give that key too, behind a new one if there is one"
            )
        return ring


_MARK: Final = "key-id"


def _of_file(path: Path) -> KeyRing:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MAX_FILE)
    except OSError as exc:
        raise KeyRingError(f"cannot read the file of master keys {str(path)!r}: {exc.strerror}") from None
    if not stat.S_ISREG(mode):
        raise KeyRingError(f"expected a file of master keys at {str(path)!r}, found something else")
    if mode & _OTHERS:
        raise KeyRingError(
            f"the file of master keys {str(path)!r} is open to others, mode {stat.S_IMODE(mode):04o}; "
            f"close it with `chmod 600 {path}`, and think about who has read it"
        )
    text = content.decode("ascii", "replace")
    lines = (line.partition("#")[0] for line in text.splitlines())
    return KeyRing(_parsed(" ".join(lines), str(path)), str(path))


def _parsed(words: str, source: str) -> list[bytes]:
    keys = []
    for number, word in enumerate(filter(None, _SEPARATORS.split(words)), 1):
        try:
            # URL-safe or not; nothing of a key is ever in a message.
            key = base64.b64decode(word.replace("-", "+").replace("_", "/"), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != KEY_SIZE:
            raise KeyRingError(
                f"{source}: expected {KEY_SIZE} bytes in base64 as key {number}, found something else"
            )
        keys.append(key)
    return keys


def _write(path: Path, text: str, *, replaces: bool) -> None:
    """Make a file that nobody else may read; if there is one by then that it does not replace, that one stays."""
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with (
            contextlib.suppress(FileExistsError),
            whole_file(path, private=True, replaces=replaces) as file,
        ):
            file.write(text.encode("ascii"))
    except OSError as exc:
        raise KeyRingError(f"cannot write {str(path)!r}: {exc.strerror}") from None
