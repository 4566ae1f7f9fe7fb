"""mix-crypto: what one call costs, beside the library it stands on. `python benchmarks/bench_crypto.py`

Prints milliseconds, the best of several runs, for data of `settings.crypto.data_size`, because a call that
computes cannot be interrupted; then the first and later uses of keys.
"""

from __future__ import annotations

import hashlib
import hmac
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from joserfc import jwt
from joserfc.jwk import OctKey
from mix_crypto.settings import CryptoSettings

from mixkit import codec
from mixkit.kernel import Kernel
from mixkit.state import State

SIZE = CryptoSettings().data_size


def best(function: Callable[[], Any], runs: int = 3) -> float:
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        function()
        times.append((time.perf_counter() - started) * 1000)
    return min(times)


def line(name: str, ours: float, theirs: float) -> None:
    print(f"{name:<34} ours {ours:10.3f} ms   theirs {theirs:10.3f} ms   ratio {ours / theirs:6.2f}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder) / "crypto.toml"
        profile.write_text('plugins = ["crypto"]\nengines = []\n')
        with Kernel(profile, environ={}) as kernel:
            measure(kernel)


def measure(kernel: Kernel) -> None:
    def ours(name: str, *args: Any, runs: int = 3) -> float:
        words = codec.encode(list(args))
        return best(
            lambda: kernel.ffis.dispatch(State(services=kernel), f"$crypto_{name}".encode(), words), runs
        )

    data, key = bytes(SIZE), bytes(32)
    signer = Ed25519PrivateKey.from_private_bytes(key)
    print(f"{SIZE // 2**20} MiB in one call; theirs: hashlib, hmac, cryptography")
    for name in ("md5", "sha1", "sha256", "sha512"):
        line(name, ours(name, data), best(lambda name=name: hashlib.new(name, data).hexdigest()))  # type: ignore[misc]
    line("hmacSha256", ours("hmacSha256", key, data), best(lambda: hmac.digest(key, data, "sha256")))
    line(
        "aesGcmEncrypt",
        ours("aesGcmEncrypt", key, data),
        best(lambda: AESGCM(key).encrypt(bytes(12), data, None)),
    )
    line("ed25519Sign", ours("ed25519Sign", key, data), best(lambda: signer.sign(data)))
    print("small data")
    line(
        "sha256 of 3 bytes",
        ours("sha256", "abc", runs=2000),
        best(lambda: hashlib.sha256(b"abc").hexdigest(), 2000),
    )
    for bits in (2048, 4096):
        private = rsa.generate_private_key(65537, bits)
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        theirs = best(lambda private=private: private.sign(b"x", padding.PKCS1v15(), SHA256()))  # type: ignore[misc]
        # Ours first: how long a key takes to be checked differs from key to key, not from time to time.
        new = ours("rsaSha256", pem, "x", runs=1)
        loaded = best(lambda pem=pem: load_pem_private_key(pem, None))  # type: ignore[misc]
        line(f"rsaSha256, {bits} bits, key is new", new, loaded + theirs)
        line(f"rsaSha256, {bits} bits, key was seen", ours("rsaSha256", pem, "x"), theirs)
    secret = "0" * 32
    known = OctKey.import_key(secret)
    header = {"alg": "HS256", "typ": "JWT"}
    token = jwt.encode(header, {"a": 1}, known, algorithms=["HS256"])
    hmac_alone = best(lambda: hmac.digest(secret.encode(), token.encode(), "sha256"), 500)
    print(f"JWT; theirs: joserfc with the key at hand; the HMAC alone takes {hmac_alone:.4f} ms")
    line(
        "jwtSign HS256",
        ours("jwtSign", {"a": 1}, secret, {"alg": "HS256"}, runs=500),
        best(lambda: jwt.encode(header, {"a": 1}, known, algorithms=["HS256"]), 500),
    )
    line(
        "jwtVerify HS256",
        ours("jwtVerify", token, secret, {"algs": ["HS256"]}, runs=500),
        best(lambda: jwt.decode(token, known, algorithms=["HS256"]), 500),
    )


if __name__ == "__main__":
    main()
