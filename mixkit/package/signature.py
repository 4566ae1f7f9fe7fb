"""`SIGNATURE`: who vouches for a package. Ed25519 over the SHA-256 of every entry.

The signed text is UTF-8, one line an entry, sorted by the UTF-8 of the paths, `SIGNATURE` itself left out:

    mixkit package 3
    <SHA-256 in hex>  <path>

A path has no line end (`zip_headers.check_path`), so no two packages have the same text. How entries are
packed, their order and their times are not signed, because they change nothing. The entry is

    {"version": 1, "key": "<base64 of the 32 bytes of the public key>", "signature": "<base64 of 64 bytes>"}

A signature proves only that the owner of the key vouches for the package. Whether that is somebody to listen
to is the business of whoever installs, who gives a list of trusted keys.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from mixkit.errors import PackageError
from mixkit.package.document import convert, dump, parse

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ed25519

__all__ = ["ENTRY", "Signature", "check_key", "make_key", "public_key", "sign", "signed_text"]

ENTRY: Final = "SIGNATURE"
_HEADING: Final = "mixkit package 3"


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A signature as the entry has it; `verify` says whether it holds."""

    version: Literal[1]
    key: str
    signature: str

    @classmethod
    def decode(cls, data: bytes) -> Signature:
        """The signature in these bytes. `PackageError` if malformed."""
        found = convert(parse(data, ENTRY), cls, ENTRY)
        _unbase64(found.key, 32, "$.key")
        _unbase64(found.signature, 64, "$.signature")
        return found

    def encode(self) -> bytes:
        """The entry's content."""
        return dump(self)

    def verify(self, text: bytes, trusted: Iterable[str] | None = None) -> str:
        """The public key that signed `text`.

        Args:
            text: of `signed_text`.
            trusted: public keys of which it must be one; None when any will do.

        Raises:
            PackageError: the signature is wrong, or its key is not trusted.
        """
        if trusted is not None and self.key not in {check_key(key) for key in trusted}:
            raise PackageError(f"signed by {self.key}, which is not among the trusted keys", ENTRY)
        module = _ed25519()
        from cryptography.exceptions import InvalidSignature

        try:
            key = module.Ed25519PublicKey.from_public_bytes(_unbase64(self.key, 32, "$.key"))
            key.verify(_unbase64(self.signature, 64, "$.signature"), text)
        except (InvalidSignature, ValueError):
            raise PackageError(
                f"the signature by {self.key} does not fit: an entry was changed after signing",
                ENTRY,
            ) from None
        return self.key


def signed_text(digests: Mapping[str, str]) -> bytes:
    """What is signed, from path to SHA-256 in hex of every entry."""
    paths = sorted((path for path in digests if path != ENTRY), key=str.encode)
    return "".join(
        f"{line}\n" for line in [_HEADING, *(f"{digests[path]}  {path}" for path in paths)]
    ).encode()


def sign(text: bytes, private_key: bytes) -> Signature:
    """The signature of `text` by a private key in PEM. `PackageError` if that is no Ed25519 key."""
    key = _load(private_key)
    return Signature(version=1, key=_public(key), signature=base64.b64encode(key.sign(text)).decode())


def make_key() -> tuple[bytes, str]:
    """A new private key (PKCS #8 in PEM, not encrypted) and its public key."""
    key = _ed25519().Ed25519PrivateKey.generate()
    from cryptography.hazmat.primitives import serialization as form

    pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    return pem, _public(key)


def public_key(private_key: bytes) -> str:
    """The public key of a private key in PEM, as `SIGNATURE` and lists of trusted keys have it."""
    return _public(_load(private_key))


def check_key(key: str) -> str:
    """The public key itself, if it is one. `PackageError` otherwise."""
    _unbase64(key, 32, "a trusted key")
    return key


def _public(key: ed25519.Ed25519PrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def _load(private_key: bytes) -> ed25519.Ed25519PrivateKey:
    _ed25519()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(private_key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise PackageError(
            f"expected an unencrypted Ed25519 private key in PEM: {exc}; see `remix keygen`"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise PackageError(
            "expected an Ed25519 private key, found one of another kind; see `mixkit remix keygen`"
        )
    return key


def _unbase64(text: str, size: int, path: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    # The text itself is compared with trusted keys, so only one spelling of it is accepted.
    if len(raw) != size or base64.b64encode(raw).decode() != text:
        raise PackageError(f"expected base64 of {size} bytes at {path}, found {text!r:.80}", ENTRY)
    return raw


def _ed25519() -> ModuleType:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise PackageError(
            "signatures need the package 'cryptography', which is not installed: pip install 'mixkit[sign]'",
            ENTRY,
        ) from None
    return ed25519
