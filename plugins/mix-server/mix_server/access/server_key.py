"""The server's own key, by which it signs tokens: ECDSA on P-256 (`--server-key`)."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from mix_server.access.key_set import KeySet
from mixkit.errors import ProfileError

if TYPE_CHECKING:
    from joserfc.jwk import ECKey

    from mixkit.keyring import KeyRing

__all__ = ["ISSUER", "LIFETIME", "ServerKey"]

ISSUER: Final = "mixkit"
_PURPOSE: Final = "server key"
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256 (SEC 2, 2.4.2)."""

LIFETIME: Final = 48 * 3_600
"""Seconds that a token of the server is good for."""


class ServerKey:
    """Signs tokens. The same in all workers, and as long as the key ring has the same first key.

    Args:
        text: the private key in PEM, or that in base64; None takes one that is derived from the key ring.
        ring: answers the key ring, which is asked for when the key is first needed.

    Raises:
        ProfileError: the text is no private key on P-256. Nothing of it is in the message.
    """

    def __init__(self, text: str | None, ring: Callable[[], KeyRing]) -> None:
        self._given = None if text is None else _read(text)
        self._ring = ring

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a server's key is not written anywhere")

    @cached_property
    def _key(self) -> ECKey:
        return self._given or _derived(self._ring())

    @cached_property
    def kid(self) -> str:
        """Of its tokens: the thumbprint of the key (RFC 7638). Raises `KeyRingError` if there is no key ring."""
        return self._key.thumbprint()

    @cached_property
    def keys(self) -> KeySet:
        """By which its tokens are verified."""
        return KeySet(self.public()["keys"])

    def public(self) -> dict[str, Any]:
        """The JWK set that others verify the server's tokens with."""
        jwk = {**self._key.as_dict(private=False), "kid": self.kid, "alg": "ES256", "use": "sig"}
        return {"keys": [jwk]}

    def token(
        self, subject: str, email: str | None, seconds: float = LIFETIME, **more: Any
    ) -> tuple[str, int]:
        """A token that says who somebody is, with more claims, and the Unix second at which it ends."""
        from joserfc import jwt

        began = time.time()
        now = int(began)
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "sub": subject,
            "iat": now,
            # Which of two came first must be known of those of one second.
            "at": began,
            "exp": now + int(seconds),
            **more,
        }
        if email is not None:
            claims["email"] = email
        return jwt.encode({"alg": "ES256", "kid": self.kid}, claims, self._key, algorithms=["ES256"]), claims[
            "exp"
        ]


def _derived(ring: KeyRing) -> ECKey:
    """A key of the ring's first one (FIPS 186-5, A.2.1: from 64 more bits than are needed)."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from joserfc.jwk import ECKey

    seed = b"".join(ring.sign(_PURPOSE, part) for part in (b"1", b"2"))
    secret = int.from_bytes(seed) % (_ORDER - 1) + 1
    return ECKey.import_key(ec.derive_private_key(secret, ec.SECP256R1()))


def _read(text: str) -> ECKey:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from joserfc.jwk import ECKey

    data = text.strip().encode()
    try:
        if not data.startswith(b"-----"):
            data = base64.b64decode(data, validate=True)
        found = load_pem_private_key(data, None)
    except (ValueError, TypeError, binascii.Error):
        found = None
    if not isinstance(found, ec.EllipticCurvePrivateKey) or not isinstance(found.curve, ec.SECP256R1):
        raise ProfileError(
            "expected a private key on P-256 in PEM, or that in base64, found something else; make one with "
            "`openssl ecparam -name prime256v1 -genkey -noout`",
            "settings.server.server_key",
        )
    return ECKey.import_key(found)
