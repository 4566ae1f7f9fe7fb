"""JSON Web Tokens that say who asks (RFC 7519): checked, and made by this server."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from mix_server.access.key_set import ALGORITHMS, KeySet, VerifyingKey
from mix_server.errors import Unauthorized
from mixkit.fields import read_json

if TYPE_CHECKING:
    from joserfc.jws import JWSRegistry

__all__ = ["LEEWAY", "MAX_TOKEN", "MAX_TRIED", "Claims", "Expected", "NoSuchKey", "header_of", "verified"]

MAX_TOKEN: Final = 16 << 10
"""Characters of a token."""

LEEWAY: Final = 60.0
"""Seconds by which clocks may differ."""

_MAX_SIGNATURE: Final = 1_368
"""Characters: of RSA with 8192 bits."""


MAX_TRIED: Final = 16
"""Keys that a token is tried with: a stranger has a set of a thousand computed with, with each request, otherwise."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the operator wants of tokens. None asks for nothing."""

    audience: str | None = None
    issuer: str | None = None


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token said that is verified.

    Attributes:
        subject: the identity provider's own id of the user; never empty.
        email: an address that it vouches for, or None.
        until: Unix seconds at which it ends, leeway included.
        began: Unix seconds at which it was made, as far as it says so; else 0.
        all: every claim.
    """

    subject: str
    email: str | None
    until: float
    began: float
    all: dict[str, Any]


def header_of(token: str) -> tuple[str | None, str]:
    """Id of the key and algorithm that a token names, to find keys by; nothing of it is believed yet.

    Raises:
        Unauthorized: it is no signed token, or one by an algorithm that is never taken.
    """
    if len(token) > MAX_TOKEN:
        raise Unauthorized(f"a token has at most {MAX_TOKEN} characters, found {len(token)}")
    parts = token.split(".")
    try:
        header = read_json(base64.urlsafe_b64decode(parts[0] + "=" * (-len(parts[0]) % 4)))
    except ValueError:
        header = None
    if len(parts) != 3 or not isinstance(header, dict):
        raise Unauthorized(
            "expected the operator's token, or a signed JWT, as Authorization: Bearer TOKEN; a server that was given "
            "none makes another one for the operator at each start"
        )
    kid, algorithm = header.get("kid"), header.get("alg")
    if algorithm not in ALGORITHMS:
        raise Unauthorized(
            f"expected a token signed by one of {', '.join(ALGORITHMS)}, found {algorithm!s:.20}"
        )
    if not isinstance(kid, str | None) or "crit" in header:
        raise Unauthorized("the header of the token is not one that is understood")
    return kid, str(algorithm)


def verified(token: str, keys: KeySet, expected: Expected) -> Claims:
    """What a token says, if one of the keys signed it and it is meant for this server, now.

    Raises:
        Unauthorized: it is refused; says why. `NoSuchKey` if no key fits, so that newer ones may be asked for.
    """
    kid, algorithm = header_of(token)
    candidates = keys.candidates(kid, algorithm)
    if not candidates:
        raise NoSuchKey(f"the token is signed by a key that is not known here, {kid!s:.80} ({algorithm})")
    if len(candidates) > MAX_TRIED:
        raise Unauthorized(
            f"expected a token that names its key by kid, found one that any of {len(candidates)} may have signed"
        )
    return _claims(_payload(token, candidates, algorithm), expected)


class NoSuchKey(Unauthorized):
    """No key that is known fits the token."""


def _payload(token: str, candidates: Sequence[VerifyingKey], algorithm: str) -> dict[str, Any]:
    from joserfc.errors import JoseError
    from joserfc.jws import deserialize_compact

    for candidate in candidates:
        try:
            found = deserialize_compact(token, candidate.key, registry=_registry())
            # Refuses what is no Unicode either, which nobody could be called, and `NaN`.
            claims = read_json(found.payload or b"")
        except (JoseError, ValueError):
            continue
        if isinstance(claims, dict):
            return claims
        break
    raise Unauthorized("the signature of the token is not right")


@cache
def _registry() -> JWSRegistry:
    """A registry of joserfc, with our algorithms and limits."""
    from joserfc.errors import UnsupportedAlgorithmError
    from joserfc.jws import JWSRegistry

    class Registry(JWSRegistry):
        max_header_length = max_payload_length = MAX_TOKEN
        max_signature_length = _MAX_SIGNATURE

        def get_alg(self, name: str) -> Any:
            # Without its warning of the name EdDSA, which providers go on to use.
            if name not in ALGORITHMS:
                raise UnsupportedAlgorithmError(f"{name!r:.20} is not used")
            return self.algorithms[name]

    # Parameters of a header that nobody knows are allowed (RFC 7515, 4).
    return Registry(strict_check_header=False)


def _claims(claims: dict[str, Any], expected: Expected) -> Claims:
    now = time.time()
    subject, until = claims.get("sub"), _time(claims, "exp")
    if not isinstance(subject, str) or not subject:
        raise Unauthorized("expected a token with the claim sub")
    if until is None:
        raise Unauthorized("expected a token that ends, with the claim exp")
    if until + LEEWAY <= now:
        raise Unauthorized("the token has expired; sign in again")
    for name in ("nbf", "iat"):
        begins = _time(claims, name)
        if begins is not None and begins - LEEWAY > now:
            raise Unauthorized(f"the token is of the future, by its claim {name}")
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if expected.audience is not None and expected.audience not in named:
        raise Unauthorized("the token is for another audience")
    if expected.issuer is not None and claims.get("iss") != expected.issuer:
        raise Unauthorized("the token is of another issuer")
    email = claims.get("email")
    # NOTE: an address that its owner has not shown to have is anybody's.
    if not isinstance(email, str) or claims.get("email_verified", True) is not True:
        email = None
    began = _time(claims, "at") or _time(claims, "iat") or 0.0
    return Claims(subject, email, until + LEEWAY, began, claims)


def _time(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value < 1e12:
        raise Unauthorized(f"the claim {name} of the token is a number of seconds since 1970")
    return float(value)
