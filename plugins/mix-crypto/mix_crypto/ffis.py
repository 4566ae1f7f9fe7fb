"""The `$crypto_*` FFIs.

Data is binary, or a string, which counts as its UTF-8; digests and HMACs are lowercase hex.
"""

from __future__ import annotations

import hashlib
import hmac
import os

from mix_crypto import jwts
from mix_crypto.keys import Data, Key, aes_key, ed25519_private, ed25519_public, octets, rsa_private, secret
from mix_crypto.settings import CryptoSettings
from mixkit.codec import encode
from mixkit.errors import FFIError, ValueKindError
from mixkit.ffi import FFIGroup
from mixkit.octets import Octets
from mixkit.state import State
from mixkit.value import Result, Token, Value

ffis = FFIGroup("crypto")

_NONCE = 12
_TAG = 16


def _bounded(state: State, *data: Data) -> bytes | memoryview:
    """The bytes of the first, after all of them together were found to be within `data_size`."""
    found = [octets(item) for item in data]
    limit = _settings(state).data_size
    size = sum(map(len, found))
    if size > limit:
        raise FFIError(
            f"expected at most {limit} bytes, found {size}; "
            "raise it with settings.crypto.data_size in the profile"
        )
    return found[0]


def _settings(state: State) -> CryptoSettings:
    settings: CryptoSettings = state.services.settings("crypto")
    return settings


# -- digests ----------------------------------------------------------------------------------------


@ffis.register("$crypto_md5", quick=True)
def md5(state: State, data: Data) -> str:
    """MD5 in hex. Broken: only for peers that ask for it."""
    return hashlib.md5(_bounded(state, data), usedforsecurity=False).hexdigest()


@ffis.register("$crypto_sha1", quick=True)
def sha1(state: State, data: Data) -> str:
    """SHA-1 in hex. Broken: only for peers that ask for it."""
    return hashlib.sha1(_bounded(state, data), usedforsecurity=False).hexdigest()


@ffis.register("$crypto_sha256", quick=True)
def sha256(state: State, data: Data) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(_bounded(state, data)).hexdigest()


@ffis.register("$crypto_sha512", quick=True)
def sha512(state: State, data: Data) -> str:
    """SHA-512 in hex."""
    return hashlib.sha512(_bounded(state, data)).hexdigest()


@ffis.register("$crypto_sha256_generic", quick=True)
def sha256_generic(state: State, value: Value) -> str:
    """SHA-256 in hex of the codec bytes of any value; equal values of equal kinds have equal digests."""
    try:
        words = encode(value)
    except ValueKindError as exc:
        raise FFIError(f"cannot hash the value: {exc}") from None
    return hashlib.sha256(_bounded(state, words)).hexdigest()


# -- message authentication -------------------------------------------------------------------------


def _same_hex(expected: bytes, signature: str) -> bool:
    # NOTE: compared as text, because fromhex would take spaces too; compare_digest takes only ASCII text.
    return signature.isascii() and hmac.compare_digest(expected.hex(), signature.lower())


@ffis.register("$crypto_hmacSha1", quick=True)
def hmac_sha1(state: State, key: Key, data: Data) -> str:
    """HMAC-SHA-1 in hex."""
    return hmac.digest(secret(key), _bounded(state, data), "sha1").hex()


@ffis.register("$crypto_hmacSha1Verify", quick=True)
def hmac_sha1_verify(state: State, key: Key, data: Data, signature: str) -> bool:
    """Whether the hex signature is that HMAC-SHA-1; compared in constant time."""
    return _same_hex(hmac.digest(secret(key), _bounded(state, data), "sha1"), signature)


@ffis.register("$crypto_hmacSha256", quick=True)
def hmac_sha256(state: State, key: Key, data: Data) -> str:
    """HMAC-SHA-256 in hex."""
    return hmac.digest(secret(key), _bounded(state, data), "sha256").hex()


@ffis.register("$crypto_hmacSha256Verify", quick=True)
def hmac_sha256_verify(state: State, key: Key, data: Data, signature: str) -> bool:
    """Whether the hex signature is that HMAC-SHA-256; compared in constant time."""
    return _same_hex(hmac.digest(secret(key), _bounded(state, data), "sha256"), signature)


# -- signatures -------------------------------------------------------------------------------------


@ffis.register("$crypto_rsaSha256")
def rsa_sha256(state: State, key: Key, data: Data) -> bytes:
    """RSASSA-PKCS1-v1_5 signature with SHA-256. The key is a private key in PEM, 2048 to 4096 bits."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    return rsa_private(key).sign(bytes(_bounded(state, data)), PKCS1v15(), SHA256())


@ffis.register("$crypto_ed25519Sign")
def ed25519_sign(state: State, key: Key, data: Data) -> bytes:
    """Ed25519 signature, 64 bytes. The key is a private key in PEM, or its 32 bytes as binary or token."""
    return ed25519_private(key).sign(_bounded(state, data))


@ffis.register("$crypto_ed25519Verify")
def ed25519_verify(state: State, key: Key, data: Data, signature: bytes) -> bool:
    """Whether the signature is right. The key is a public key in PEM, or its 32 bytes as binary or token."""
    from cryptography.exceptions import InvalidSignature

    try:
        ed25519_public(key).verify(signature, _bounded(state, data))
    except InvalidSignature:
        return False
    return True


# -- encryption -------------------------------------------------------------------------------------


@ffis.register("$crypto_randomKey32", quick=True)
def random_key32() -> bytes:
    """32 random bytes, good as a key of `aesGcmEncrypt`, `hmacSha256` and `jwtSign`."""
    return os.urandom(32)


@ffis.register("$crypto_aesGcmEncrypt")
def aes_gcm_encrypt(state: State, key: bytes | Token, plaintext: Data, aad: Data = b"") -> Octets:
    """AES-256-GCM: a random nonce of 12 bytes, the ciphertext, the tag of 16. `aad` is only authenticated."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    content = _bounded(state, plaintext, aad)
    cipher, sealed = AESGCM(aes_key(key)), Octets(_NONCE + len(content) + _TAG)
    sealed.room[:_NONCE] = nonce = os.urandom(_NONCE)
    cipher.encrypt_into(nonce, content, octets(aad), sealed.room[_NONCE:])
    return sealed


@ffis.register("$crypto_aesGcmDecrypt")
def aes_gcm_decrypt(
    state: State, key: bytes | Token, sealed: bytes | memoryview, aad: Data = b""
) -> Result[Octets]:
    """The plaintext of what `aesGcmEncrypt` answered, or an error if key, `aad` or a single bit differs."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    content = _bounded(state, sealed, aad)
    if len(content) < _NONCE + _TAG:
        raise FFIError(f"expected at least {_NONCE + _TAG} bytes, found {len(content)}")
    cipher, opened = AESGCM(aes_key(key)), Octets(len(content) - _NONCE - _TAG)
    try:
        cipher.decrypt_into(content[:_NONCE], content[_NONCE:], octets(aad), opened.room)
    except InvalidTag:
        raise FFIError("cannot decrypt: another key, other aad, or damaged data") from None
    return opened


# -- JSON Web Tokens --------------------------------------------------------------------------------


@ffis.register("$crypto_jwtSign")
def jwt_sign(state: State, claims: dict[str, Value], key: Key | jwts.JWK, options: jwts.SignOptions) -> str:
    """A signed JWT. The key: for HS256 a secret of 32 bytes or more, else a private key in PEM or as JWK."""
    return jwts.sign(claims, key, options, limit=_settings(state).jwt_size)


@ffis.register("$crypto_jwtVerify")
def jwt_verify(
    state: State, token: str | Token, key: Key | jwts.JWK, options: jwts.VerifyOptions
) -> Result[dict[str, Value]]:
    """The claims of a JWT, or an error that says why it is refused.

    The key: for HS256 the secret, else a public key in PEM, a JWK or a JWK set. `alg` must be one of `algs`
    and fit the key. `exp`, `nbf`, `iat` are checked where present; `audience` and `issuer` must match if
    given, and a token with an audience is refused without.
    """
    limit = _settings(state).jwt_size
    text = token if isinstance(token, str) else secret(token).decode("ascii", "replace")
    return jwts.verify(text, key, options, limit=limit)
