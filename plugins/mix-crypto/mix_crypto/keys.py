"""Keys as agents give them: text, bytes, or a Token, in PEM or raw. No message ever shows one."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Any, TypeAlias

from mixkit.errors import FFIError
from mixkit.value import Token

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

Data: TypeAlias = str | bytes | memoryview
Key: TypeAlias = str | bytes | Token

RSA_BITS = range(2048, 4097)
"""Below it is unsafe; above it, checking a private key takes seconds, and nothing can interrupt it."""

_KEY_SIZE = 64 * 1024
_PEM = b"-----BEGIN "
_PRIVATE_BLOCK = re.compile(rb"-----BEGIN ((?:RSA |EC )?PRIVATE KEY)-----([A-Za-z0-9+/=\s]+)-----END \1-----")
_NO_PRIVATE = "expected a private key in PEM without a password, found something else"
_INTEGER, _OCTETS, _SEQUENCE = 0x02, 0x04, 0x30
_RSA_OID = bytes.fromhex("2a864886f70d010101")
_CURVE_OIDS = {bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2b6570")}
"""id-ecPublicKey (RFC 5480) and id-Ed25519 (RFC 8410)."""
_RSA_NUMBERS = 9
_MAX_VALID = 1_000
_valid: set[bytes] = set()
"""SHA-256 of the DER of private keys that were found to be keys."""


def octets(data: Data) -> bytes | memoryview:
    """The bytes of binary, or of a string in UTF-8."""
    return data.encode() if isinstance(data, str) else data


def secret(key: Key) -> bytes:
    """The bytes of a key.

    Raises:
        FFIError: it is empty, as the content of a handle is, or longer than any key.
    """
    content = key.reveal() if isinstance(key, Token) else key.encode() if isinstance(key, str) else key
    if not content:
        raise FFIError("expected a key, found an empty one")
    if len(content) > _KEY_SIZE:
        raise FFIError(f"expected a key of at most {_KEY_SIZE} bytes, found {len(content)}")
    return content


def is_pem(content: bytes) -> bool:
    """Whether there is a PEM block anywhere: loaders skip whatever stands in front of it."""
    return _PEM in content


def aes_key(key: Key) -> bytes:
    """The 32 bytes of an AES-256 key."""
    if isinstance(key, str):
        raise FFIError("expected a key of 32 bytes as binary or token, found a string")
    content = secret(key)
    if len(content) != 32:
        raise FFIError(f"expected a key of 32 bytes, found {len(content)}")
    return content


def pem_private(content: bytes) -> Any:
    """The private key of a PEM text without password: RSA, EC or Ed25519, as PKCS #8, PKCS #1 or SEC 1."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    der = _pem_der(content)
    check_size(der)
    digest = hashlib.sha256(der).digest()
    try:
        # NOTE: nearly all of the time goes into checking that an RSA key is one; once for each key is enough.
        key = load_der_private_key(der, None, unsafe_skip_rsa_key_validation=digest in _valid)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # NOTE: the loader's message can quote the text.
        raise FFIError(_NO_PRIVATE) from None
    if len(_valid) >= _MAX_VALID:
        _valid.clear()
    _valid.add(digest)
    return key


def _pem_der(content: bytes) -> bytes:
    block = _PRIVATE_BLOCK.search(content)
    if block is None:
        raise FFIError(_NO_PRIVATE)
    try:
        return base64.b64decode(b"".join(block[2].split()), validate=True)
    except ValueError:
        raise FFIError(_NO_PRIVATE) from None


def check_size(der: bytes) -> None:
    """Raise `FFIError` unless the DER is a private key that is quickly checked.

    Checking an RSA key takes the primality of its factors, seconds for large ones, and a hostile key may have
    factors that are larger than its modulus. So they are measured before anything computes with them.
    """
    numbers = _rsa_numbers(der)
    if numbers is None:
        return
    if len(numbers) != _RSA_NUMBERS or max(numbers) > RSA_BITS.stop or max(numbers[4:6]) > RSA_BITS.stop // 2:
        raise FFIError(f"expected an RSA key of {RSA_BITS.start} to {RSA_BITS.stop - 1} bits with two primes")


def _rsa_numbers(der: bytes) -> list[int] | None:
    """Bits of each INTEGER of an RSA private key (RFC 8017, A.1.2); None for a key on a known curve.

    PKCS #8 (RFC 5958) is `SEQUENCE {INTEGER, SEQUENCE {OID, …}, OCTET STRING {the key}, …}`.
    """
    try:
        parts = _elements(_elements(der)[0][1])
        if [tag for tag, _ in parts[:3]] == [_INTEGER, _SEQUENCE, _OCTETS]:
            oid = _elements(parts[1][1])[0][1]
            if oid in _CURVE_OIDS:
                return None
            if oid != _RSA_OID:
                raise FFIError("expected a private key of kind RSA, EC or Ed25519, found another")
            parts = _elements(_elements(parts[2][1])[0][1])
        elif [tag for tag, _ in parts[:2]] == [_INTEGER, _OCTETS]:
            return None  # SEC 1, an EC key.
    except IndexError:
        raise FFIError(_NO_PRIVATE) from None
    return [int.from_bytes(content, "big").bit_length() for tag, content in parts if tag == _INTEGER]


def _elements(der: bytes) -> list[tuple[int, bytes]]:
    """Tag and content of the DER elements that follow one another. `IndexError` if they are cut off."""
    found, at = [], 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length >= 0x80:
            size = length - 0x80
            length, at = int.from_bytes(der[at : at + size], "big"), at + size
        if at + length > len(der):
            raise IndexError
        found.append((tag, der[at : at + length]))
        at += length
    return found


def pem_public(content: bytes) -> Any:
    """The public key of a PEM text: a public key, not a certificate and not a private key."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        return load_pem_public_key(content)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise FFIError("expected a public key in PEM, found something else") from None


def check_rsa(bits: int) -> None:
    """Raise `FFIError` for an RSA key that is too short to be safe or too long to be quick."""
    if bits not in RSA_BITS:
        raise FFIError(f"expected an RSA key of {RSA_BITS.start} to {RSA_BITS.stop - 1} bits, found {bits}")


def rsa_private(key: Key) -> RSAPrivateKey:
    """An RSA private key from its PEM."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    found = pem_private(secret(key))
    if not isinstance(found, RSAPrivateKey):
        raise FFIError("expected an RSA private key, found one of another kind")
    check_rsa(found.key_size)
    return found


def ed25519_private(key: Key) -> Ed25519PrivateKey:
    """An Ed25519 private key from PEM or its 32 bytes (RFC 8032)."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    content = secret(key)
    if not isinstance(key, str) and len(content) == 32:
        return Ed25519PrivateKey.from_private_bytes(content)
    found = pem_private(content)
    if not isinstance(found, Ed25519PrivateKey):
        raise FFIError("expected an Ed25519 private key, found one of another kind")
    return found


def ed25519_public(key: Key) -> Ed25519PublicKey:
    """An Ed25519 public key from PEM or its 32 bytes."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    content = secret(key)
    if not isinstance(key, str) and len(content) == 32:
        return Ed25519PublicKey.from_public_bytes(content)
    found = pem_public(content)
    if not isinstance(found, Ed25519PublicKey):
        raise FFIError("expected an Ed25519 public key, found one of another kind")
    return found
