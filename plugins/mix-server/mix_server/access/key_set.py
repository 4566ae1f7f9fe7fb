"""The public keys of an identity provider: a JWK set (RFC 7517), of which what is not understood is passed over.

What a key may verify follows from what it is and what it says of itself, never from a token: an HMAC with a public key
as its secret finds no key here, nor does `none`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mixkit.fields import read_json

if TYPE_CHECKING:
    from joserfc.jwk import Key as JoseKey

__all__ = ["ALGORITHMS", "MAX_KEYS", "KeySet", "VerifyingKey"]

MAX_KEYS: Final = 1_000

_EDWARDS: Final = frozenset({"EdDSA", "Ed25519"})
"""Two names of one algorithm on that curve (RFC 9864, 2.2)."""
_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES: Final = {
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): _EDWARDS,
}
ALGORITHMS: Final = sorted(_RSA.union(*_CURVES.values()))
"""By which tokens may be signed: with a private key, all of them."""

_PUBLIC: Final = ("kty", "crv", "x", "y", "n", "e")
_MAX_NUMBER: Final = 1_368
"""Characters of a number of a key: 8192 bits in base64url. Larger ones take too long to compute with."""
_MIN_RSA: Final = 340
"""Characters of a modulus of 2040 bits: less can be broken."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key, and the algorithms that it may verify."""

    key: JoseKey
    algorithms: frozenset[str]


class KeySet:
    """Keys by their id.

    Args:
        entries: JWKs; at most the first `MAX_KEYS` are looked at.

    Attributes:
        passed_over: for each that is not used, why.
    """

    def __init__(self, entries: Sequence[Any]) -> None:
        self._by_kid: dict[str | None, list[VerifyingKey]] = {}
        self.passed_over: list[str] = []
        if len(entries) > MAX_KEYS:
            self.passed_over.append(f"expected at most {MAX_KEYS} keys, found {len(entries)}: the rest")
        for number, entry in enumerate(entries[:MAX_KEYS], 1):
            try:
                kid, key = _read(entry)
            except Exception as exc:
                # What others add to their sets must not lock everybody out.
                self.passed_over.append(f"key {number}: {exc}"[:200])
            else:
                self._by_kid.setdefault(kid, []).append(key)

    def __len__(self) -> int:
        return sum(map(len, self._by_kid.values()))

    @classmethod
    def decode(cls, data: bytes) -> KeySet:
        """The set in a JSON text `{"keys": […]}`.

        Raises:
            ValueError: it is no such text.
        """
        try:
            found = read_json(data)
        except msgspec.MsgspecError as exc:
            raise ValueError(f"expected a JWK set, found no JSON: {exc}") from None
        if not isinstance(found, dict) or not isinstance(found.get("keys"), list):
            raise ValueError('expected a JWK set, {"keys": […]}')
        return cls(found["keys"])

    def candidates(self, kid: str | None, algorithm: str) -> list[VerifyingKey]:
        """The keys that a token may be signed with: those of its id, or all where it names none, which fit."""
        # A key without an id may be that of any token.
        ids = self._by_kid if kid is None else dict.fromkeys((kid, None))
        named = (key for id in ids for key in self._by_kid.get(id, ()))
        return [key for key in named if algorithm in key.algorithms]


def _read(entry: Any) -> tuple[str | None, VerifyingKey]:
    """The id of a JWK and its key. Raises any error for one that is not used."""
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    if not isinstance(entry, dict):
        raise ValueError("it is no map")
    kty, crv, kid, alg = (entry.get(name) for name in ("kty", "crv", "kid", "alg"))
    if not isinstance(kid, str | None) or not isinstance(alg, str | None):
        raise ValueError("kid and alg are strings")
    if entry.get("use", "sig") != "sig" or "verify" not in entry.get("key_ops", ["verify"]):
        raise ValueError("it is not for signatures")
    fitting = _RSA if kty == "RSA" else _CURVES.get((str(kty), str(crv)))
    if fitting is None:
        raise ValueError(f"a key of kind {kty!s:.20} {crv or ''!s:.20} is not used")
    if alg is not None:
        fitting = _EDWARDS & fitting if alg in _EDWARDS else fitting & {alg}
        if not fitting:
            raise ValueError(f"the algorithm {alg:.20} is not used with it")
    # Of the rest nothing is needed, private numbers least of all.
    public = {name: entry[name] for name in _PUBLIC if name in entry}
    for name, text in public.items():
        if not isinstance(text, str) or len(text) > _MAX_NUMBER:
            raise ValueError(f"{name} is longer than {_MAX_NUMBER} characters, or no string")
    if kty == "RSA" and len(public.get("n", "")) < _MIN_RSA:
        raise ValueError("an RSA key has 2048 bits at least")
    kinds: dict[str, Any] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
    return kid, VerifyingKey(kinds[str(kty)].import_key(public), fitting)
