"""Keys as agents give them: text, bytes, or a Token, in PEM or raw. No message ever shows one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from mixkit.errors import FFIError
from mixkit.value import Token

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

Data: TypeAlias = str | bytes
Key: TypeAlias = str | bytes | Token

RSA_BITS = range(2048, 8193)
"""Below it is unsafe; above it one signature takes more than half a second, and nothing can interrupt it."""

_KEY_SIZE = 64 * 1024
_PEM = b"-----BEGIN "


def octets(data: Data) -> bytes:
    """The bytes of binary, or of a string in UTF-8."""
    return data.encode() if isinstance(data, str) else data


def secret(key: Key) -> bytes:
    """The bytes of a key.

    Raises:
        FFIError: it is empty, as the content of a handle is, or longer than any key.
    """
    content = key.reveal() if isinstance(key, Token) else octets(key)
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
    """The private key of a PEM text without password."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # NOTE: the loader's message can quote the text.
        raise FFIError("expected a private key in PEM without a password, found something else") from None


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
