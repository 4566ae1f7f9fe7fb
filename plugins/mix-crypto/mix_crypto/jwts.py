"""JSON Web Tokens (RFC 7515, 7518, 7519), signed only, on joserfc.

What a key may do follows from what it is, never from what a token says: a token whose `alg` does not fit the
key, or is not among those that the caller lists, is refused. `jku`, `x5u` and keys inside tokens are ignored.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from mix_crypto.keys import Key, check_rsa, is_pem, pem_private, pem_public, secret
from mixkit import tagged_json
from mixkit.errors import FFIError, TaggedJSONError
from mixkit.value import check

if TYPE_CHECKING:
    from joserfc.jwk import Key as JoseKey
    from joserfc.jws import JWSRegistry

Algorithm: TypeAlias = Literal["HS256", "RS256", "PS256", "ES256", "EdDSA", "Ed25519"]
JWK: TypeAlias = dict[str, Any]

_KINDS = {
    "HS256": "oct", "RS256": "RSA", "PS256": "RSA", "ES256": "EC P-256",
    "EdDSA": "OKP Ed25519", "Ed25519": "OKP Ed25519",
}  # fmt: skip
_ED25519 = ("EdDSA", "Ed25519")
"""Two names of one algorithm on that curve (RFC 9864, 2.2), so a key for either is one for both."""
_HMAC_SIZE = 32
"""Bytes, of RFC 7518, 3.2: a key of HS256 is as long as its hash at least."""
_MAX_KEYS = 100
_MAX_LEEWAY = 600
_PUBLIC_MEMBERS = {"kty", "use", "key_ops", "alg", "kid", "n", "e", "crv", "x", "y", "k"}
_MEMBER_SIZE = 4 * 1024
_MEMBER_SIZES = {"n": 683, "e": 683, "d": 683, **dict.fromkeys(("p", "q", "dp", "dq", "qi"), 342)}
"""Of RSA keys of 4096 bits with two primes, in base64url: larger numbers take too long to check."""
_RSA_FACTORS = {"d", "p", "q", "dp", "dq", "qi"}
_UNSAFE_HEADERS = ("alg", "crit", "b64")


class SignOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of `$crypto_jwtSign`."""

    alg: Algorithm
    headers: dict[str, Any] = {}


class VerifyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of `$crypto_jwtVerify`. `leeway` in seconds, 600 at most."""

    algs: list[Algorithm]
    audience: str | list[str] | None = None
    issuer: str | list[str] | None = None
    leeway: int = 0

    def __post_init__(self) -> None:
        if not self.algs:
            raise ValueError("algs lists at least one algorithm")
        if not 0 <= self.leeway <= _MAX_LEEWAY:
            raise ValueError(f"leeway is 0 to {_MAX_LEEWAY} seconds, found {self.leeway}")


class _JWTKey(msgspec.Struct, frozen=True):
    """A key with what it says about its own use."""

    kind: str
    key: JoseKey
    kid: str | None = None
    alg: str | None = None

    def fits(self, alg: str) -> bool:
        for_it = self.alg in (None, alg) or (alg in _ED25519 and self.alg in _ED25519)
        return _KINDS[alg] == self.kind and for_it


def sign(claims: Mapping[str, Any], key: Key | JWK, options: SignOptions, *, limit: int) -> str:
    """The compact JWT of the claims.

    Args:
        claims: any plain JSON; `exp`, `nbf` and `iat` are numbers of seconds since 1970.
        key: HS256: at least 32 bytes; the others: a private key in PEM; or a private JWK.
        limit: bytes that the token may have.

    Raises:
        FFIError: the key does not fit the algorithm, or the claims are not plain JSON.
    """
    from joserfc.jws import serialize_compact

    found = _one_key(key, private=True)
    if not found.fits(options.alg):
        raise FFIError(f"{options.alg} needs a key of kind {_KINDS[options.alg]}, found {_of_kind(found)}")
    for name in _UNSAFE_HEADERS:
        if name in options.headers:
            raise FFIError(f"the header {name!r} cannot be set")
    for name in ("exp", "nbf", "iat"):
        if name in claims and type(claims[name]) not in (int, float):
            raise FFIError(f"the claim {name!r} is a number of seconds since 1970")
    payload = _json(dict(claims), "the claims")
    _json(options.headers, "the headers")
    header = {"typ": "JWT", **options.headers, "alg": options.alg}
    with _refusals("cannot sign"):
        token = serialize_compact(header, payload, found.key, registry=_registry((options.alg,), limit))
    if len(token) > limit:
        raise FFIError(f"a token has at most {limit} bytes, this one {len(token)} (settings.crypto.jwt_size)")
    return token


def verify(token: str, key: Key | JWK, options: VerifyOptions, *, limit: int) -> dict[str, Any]:
    """The claims of a token whose signature, times, audience and issuer are right.

    `exp`, `nbf` and `iat` are checked where the token has them. A token with an audience is refused unless
    one of `audience` is in it; `audience` and `issuer`, if given, must be in the token.

    Args:
        key: HS256: the secret; the others: a public key in PEM; or a JWK, or a JWK set `{"keys": […]}`, of
            which the one with the token's `kid` is taken.
        limit: bytes that the token may have.

    Raises:
        FFIError: the token is refused; says why.
    """
    from joserfc.jws import deserialize_compact

    if len(token) > limit:
        raise FFIError(f"a token has at most {limit} bytes, found {len(token)} (settings.crypto.jwt_size)")
    keys = _key_set(key)

    def choose(obj: Any) -> JoseKey:
        return _choose(keys, obj.headers()).key

    with _refusals("the token is refused"):
        found = deserialize_compact(token, choose, registry=_registry(tuple(options.algs), limit))
        claims = json.loads(found.payload or b"", parse_constant=_no_constant)
        if not isinstance(claims, dict):
            raise FFIError("the token is refused: its claims are not a JSON object")
        check(claims)
        _check_claims(claims, options)
    return claims


# -- claims -----------------------------------------------------------------------------------------


def _json(value: dict[str, Any], what: str) -> str:
    try:
        return tagged_json.dumps(value, plain=True)
    except TaggedJSONError:
        raise FFIError(
            f"{what} of a token are plain JSON: no binary, token, case, ref, NaN or infinity"
        ) from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _check_claims(claims: dict[str, Any], options: VerifyOptions) -> None:
    from joserfc.jwt import JWTClaimsRegistry

    wanted: dict[str, Any] = {}
    for name, value in (("aud", options.audience), ("iss", options.issuer)):
        if value is not None:
            wanted[name] = {"essential": True, "values": [value] if isinstance(value, str) else list(value)}
            if not wanted[name]["values"]:
                raise FFIError(f"expected at least one {name} to accept, found an empty array")
    if "aud" in claims and options.audience is None:
        raise FFIError("the token is refused: it is for an audience, and the option audience names none")
    # Its own clock drops fractions of a second, by which a token that was issued just now is in the future.
    now: Any = time.time
    JWTClaimsRegistry(now=now, leeway=options.leeway, **wanted).validate(claims)


# -- keys -------------------------------------------------------------------------------------------


def _of_kind(key: _JWTKey) -> str:
    return f"{key.kind} for {key.alg}" if key.alg else key.kind


def _choose(keys: list[_JWTKey], header: Mapping[str, Any]) -> _JWTKey:
    """The key for a token with this header, whose `alg` was found to be allowed."""
    alg, kid = header["alg"], header.get("kid")
    fitting = [key for key in keys if key.fits(alg)]
    if not fitting:
        raise FFIError(f"the token is refused: it is signed with {alg}, for which there is no key")
    # A key that was given alone is meant, whatever a token calls it; keys of a set have names.
    named = [key for key in fitting if key.kid == kid or (len(keys) == 1 and key.kid is None)]
    if kid is None and not named and len(fitting) == 1:
        named = fitting
    if len(named) != 1:
        raise FFIError(
            f"the token is refused: {len(named)} of the {len(fitting)} keys for {alg} have its kid"
        )
    return named[0]


def _key_set(key: Key | JWK) -> list[_JWTKey]:
    if not isinstance(key, dict) or "keys" not in key:
        return [_one_key(key, private=False)]
    entries = key["keys"]
    if (
        not isinstance(entries, list)
        or len(entries) > _MAX_KEYS
        or not all(isinstance(e, dict) for e in entries)
    ):
        raise FFIError(f'a JWK set is {{"keys": [map, …]}} with at most {_MAX_KEYS} keys')
    # RFC 7517, 5: what is not understood, or out of our range, is ignored, so that others can add keys.
    found: list[_JWTKey] = []
    refused: list[FFIError] = []
    for entry in entries:
        try:
            known = _known_jwk(entry)
        except FFIError as exc:
            refused.append(exc)
        else:
            found += [known] if known is not None else []
    if refused and not found:
        raise FFIError(f"no key of the set is usable; the first that is not: {refused[0]}")
    return found


def _known_jwk(entry: JWK) -> _JWTKey | None:
    if entry.get("kty") not in ("oct", "RSA", "EC", "OKP") or entry.get("use", "sig") != "sig":
        return None
    if entry.get("kty") in ("EC", "OKP") and entry.get("crv") not in ("P-256", "Ed25519"):
        return None
    return _from_jwk(entry, private=False)


def _one_key(key: Key | JWK, *, private: bool) -> _JWTKey:
    if isinstance(key, dict):
        return _from_jwk(key, private=private)
    content = secret(key)
    if is_pem(content):
        return _from_native(pem_private(content) if private else pem_public(content))
    return _from_secret(content)


def _from_secret(content: bytes) -> _JWTKey:
    from joserfc.jwk import OctKey

    if len(content) < _HMAC_SIZE:
        raise FFIError(f"a secret of HS256 has at least {_HMAC_SIZE} bytes, found {len(content)}")
    # NOTE: algorithm confusion: whoever knows a public key could sign with it. OctKey refuses public keys and
    # certificates in PEM, DER and SSH form; private ones, and what only looks like a key, are refused here.
    if is_pem(content) or b"---- BEGIN " in content or content.startswith((b"ssh-", b"ecdsa-sha2-")):
        raise FFIError("this is a key for signatures, it cannot be a secret of HS256")
    with _refusals("the key is refused"):
        return _JWTKey("oct", OctKey.import_key(content))


def _from_native(native: Any, kid: str | None = None, alg: str | None = None) -> _JWTKey:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    if isinstance(native, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        check_rsa(native.key_size)
        return _JWTKey("RSA", RSAKey.import_key(native), kid, alg)
    if isinstance(native, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        if not isinstance(native.curve, ec.SECP256R1):
            raise FFIError(f"expected an EC key on P-256, found one on {native.curve.name}")
        return _JWTKey("EC P-256", ECKey.import_key(native), kid, alg)
    if isinstance(native, ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey):
        return _JWTKey("OKP Ed25519", OKPKey.import_key(native), kid, alg)
    raise FFIError("expected a key of kind RSA, EC P-256 or Ed25519, found another")


def _from_jwk(jwk: JWK, *, private: bool) -> _JWTKey:
    from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
    from joserfc.util import urlsafe_b64decode

    kid, alg = jwk.get("kid"), jwk.get("alg")
    if not isinstance(kid, str | None) or not isinstance(alg, str | None):
        raise FFIError("kid and alg of a JWK are strings")
    if jwk.get("use", "sig") != "sig":
        raise FFIError("expected a JWK for signatures, found one whose use is not 'sig'")
    if not private:
        # What verifies needs no more, and public numbers need no costly check.
        jwk = {name: value for name, value in jwk.items() if name in _PUBLIC_MEMBERS}
    for name, value in jwk.items():
        most = _MEMBER_SIZES.get(name, _MEMBER_SIZE)
        if isinstance(value, str) and len(value) > most:
            raise FFIError(f"the member {name!r} of a JWK has at most {most} characters, found {len(value)}")
    if private and jwk.get("kty") == "RSA" and not jwk.keys() >= _RSA_FACTORS:
        raise FFIError(f"a private RSA key as JWK has the members {', '.join(sorted(_RSA_FACTORS))}")
    with _refusals("the JWK is refused"):
        match jwk.get("kty"):
            case "oct":
                OctKey.validate_dict_key(jwk)
                found = _from_secret(urlsafe_b64decode(jwk["k"].encode()))
                return _JWTKey(found.kind, found.key, kid, alg)
            case "RSA" | "EC" | "OKP" as kty:
                cls: Any = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}[kty]
                cls.validate_dict_key(jwk)
                return _from_native(cls.binding.import_from_dict(jwk), kid, alg)
    raise FFIError("expected a JWK whose kty is oct, RSA, EC or OKP")


# -- joserfc ----------------------------------------------------------------------------------------


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    """Turns whatever joserfc, JSON and cryptography raise over a stranger's token or key into an FFIError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from joserfc.errors import JoseError

    try:
        yield
    except FFIError:
        raise
    except JoseError as exc:
        raise FFIError(f"{what}: {exc.description or exc.error}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, UnsupportedAlgorithm):
        # NOTE: their messages may quote the key, so they are not passed on.
        raise FFIError(f"{what}: malformed") from None


@lru_cache(maxsize=64)
def _registry(algorithms: tuple[str, ...], limit: int) -> JWSRegistry:
    """A registry of joserfc that allows these algorithms, no critical headers, and parts of `limit` bytes."""
    # PERF: kept, because to make a class takes longer than to sign.
    from joserfc.errors import UnsupportedAlgorithmError, UnsupportedHeaderError
    from joserfc.jws import JWSRegistry

    class Registry(JWSRegistry):
        max_header_length = max_payload_length = max_signature_length = limit

        def check_header(self, header: dict[str, Any]) -> None:
            # None of them is understood here; b64 changes what is signed, and crit forbids to ignore it.
            for name in ("crit", "b64"):
                if name in header:
                    raise UnsupportedHeaderError(f"the header {name!r} is not supported")
            super().check_header(header)

        def get_alg(self, name: str) -> Any:
            if not isinstance(name, str) or name not in algorithms:
                raise UnsupportedAlgorithmError(
                    f"it is signed with an algorithm other than {', '.join(algorithms)}"
                )
            return self.algorithms[name]

    return Registry(algorithms=algorithms, strict_check_header=False)
