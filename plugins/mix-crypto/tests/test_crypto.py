"""Hashes, HMACs, signatures and encryption: published vectors, properties, and what an attacker would try."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st
from mix_crypto import reference
from mix_crypto.ffis import ffis

from mixkit import codec
from mixkit.errors import FFIError
from mixkit.testing.strategies import identical, values
from mixkit.value import Token

Call = Callable[..., Any]
README = Path(__file__).parent.parent / "README.md"


def pem_of(key: Any) -> str:
    text: str = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return text


# -- digests ----------------------------------------------------------------------------------------

ABC = {  # RFC 1321, FIPS 180-4
    "md5": "900150983cd24fb0d6963f7d28e17f72",
    "sha1": "a9993e364706816aba3e25717850c26c9cd0d89d",
    "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    "sha512": "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
}


@pytest.mark.parametrize("name", ABC)
def test_digest_of_string_and_binary(call: Call, name: str) -> None:
    assert call(name, "abc") == call(name, b"abc") == ABC[name]


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_a_string_counts_as_its_utf8(call: Call, text: str) -> None:
    assert call("sha256", text) == hashlib.sha256(text.encode()).hexdigest()


@given(value=values(undef=False))
def test_sha256_generic_hashes_the_codec_bytes(call: Call, value: Any) -> None:
    assert call("sha256_generic", value) == hashlib.sha256(codec.encode(value)).hexdigest()


def test_sha256_generic_ignores_the_order_of_keys_but_not_the_kind(call: Call) -> None:
    assert call("sha256_generic", {"a": 1, "b": 2}) == call("sha256_generic", {"b": 2, "a": 1})
    assert len({call("sha256_generic", value) for value in (1, 1.0, True, "1", b"1", [1])}) == 6


def test_sha256_generic_refuses_a_token(call: Call) -> None:
    with pytest.raises(FFIError, match=r"cannot hash the value.*Token") as caught:
        call("sha256_generic", {"a": Token("hidden")})
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("sha256", [bytes(100_001)]),
        ("sha256", ["é" * 50_001]),
        ("sha256_generic", [bytes(100_000)]),
        ("hmacSha256", ["k", bytes(100_001)]),
        ("ed25519Sign", [bytes(32), bytes(100_001)]),
        ("aesGcmEncrypt", [bytes(32), bytes(60_000), bytes(60_000)]),
    ],
)
def test_data_is_bounded_by_the_setting(call: Call, name: str, args: list[Any]) -> None:
    with pytest.raises(FFIError, match=r"at most 100000 bytes, found .*settings\.crypto\.data_size"):
        call(name, *args)


# -- HMAC -------------------------------------------------------------------------------------------

HMACS = [  # RFC 4231 (cases 1, 2, 6), RFC 2202 (cases 1, 2)
    (
        "hmacSha256",
        b"\x0b" * 20,
        b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ),
    (
        "hmacSha256",
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        "hmacSha256",
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    ("hmacSha1", b"\x0b" * 20, b"Hi There", "b617318655057264e28bc0b6fb378c8ef146be00"),
    ("hmacSha1", b"Jefe", b"what do ya want for nothing?", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
]


@pytest.mark.parametrize(("name", "key", "data", "digest"), HMACS)
def test_hmac_vectors(call: Call, name: str, key: bytes, data: bytes, digest: str) -> None:
    assert call(name, key, data) == call(name, Token(key), data) == digest
    assert call(f"{name}Verify", key, data, digest) is True
    assert call(f"{name}Verify", key, data, digest.upper()) is True
    assert call(f"{name}Verify", key + b"!", data, digest) is False


@pytest.mark.parametrize("bad", ["", "zz", " {}", "{} ", "{}00", "0x{}", "é" * 64, "{:.63}"])
def test_hmac_verify_answers_false_to_anything_but_the_digest(call: Call, bad: str) -> None:
    digest = call("hmacSha256", "key", "data")
    assert call("hmacSha256Verify", "key", "data", bad.format(digest)) is False


@given(position=st.integers(0, 63), digit=st.sampled_from("0123456789abcdef"))
def test_hmac_verify_refuses_every_changed_digit(call: Call, position: int, digit: str) -> None:
    digest = call("hmacSha256", "key", "data")
    changed = digest[:position] + digit + digest[position + 1 :]
    assert call("hmacSha256Verify", "key", "data", changed) is (changed == digest)


@pytest.mark.parametrize("key", ["", b"", Token(b"")])
def test_an_empty_key_is_refused(call: Call, key: Any) -> None:
    with pytest.raises(FFIError, match="found an empty one"):
        call("hmacSha256", key, "data")


# -- signatures -------------------------------------------------------------------------------------

ED25519 = [  # RFC 8032, 7.1: TEST 1, 2, 3
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555"
        "fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("private", "public", "message", "signature"), ED25519)
def test_ed25519_vectors(call: Call, private: str, public: str, message: str, signature: str) -> None:
    key, data = bytes.fromhex(private), bytes.fromhex(message)
    assert call("ed25519Sign", key, data) == call("ed25519Sign", Token(key), data) == bytes.fromhex(signature)
    assert call("ed25519Verify", bytes.fromhex(public), data, bytes.fromhex(signature)) is True
    assert call("ed25519Verify", bytes.fromhex(public), data + b"!", bytes.fromhex(signature)) is False


def test_ed25519_with_pem(call: Call) -> None:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    signature = call("ed25519Sign", pem_of(key), "data")
    assert call("ed25519Verify", public, "data", signature) is True
    for wrong in (signature[:-1], b"", signature + b"\0", bytes(64)):
        assert call("ed25519Verify", public, "data", wrong) is False


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def test_rsa_sha256(call: Call, rsa_key: rsa.RSAPrivateKey) -> None:
    signature = call("rsaSha256", pem_of(rsa_key), "data")
    assert signature == call("rsaSha256", Token(pem_of(rsa_key)), b"data")
    rsa_key.public_key().verify(signature, b"data", padding.PKCS1v15(), SHA256())


def test_rsa_keys_of_unsafe_sizes_are_refused(call: Call) -> None:
    with pytest.raises(FFIError, match="RSA key of 2048 to 4096 bits, found 1024"):
        call("rsaSha256", pem_of(rsa.generate_private_key(65537, 1024)), "data")


def der(tag: int, content: bytes) -> bytes:
    size = len(content).to_bytes(4, "big")
    return bytes([tag, 0x84]) + size + content


def rsa_pem(numbers: list[int], label: str = "RSA PRIVATE KEY") -> bytes:
    integers = b"".join(der(2, number.to_bytes(number.bit_length() // 8 + 1, "big")) for number in numbers)
    text = base64.b64encode(der(0x30, integers)).decode()
    return f"-----BEGIN {label}-----\n{text}\n-----END {label}-----\n".encode()


@pytest.mark.parametrize("position", [1, 3, 4, 5])
@pytest.mark.parametrize("count", [8, 9, 10])
def test_rsa_keys_whose_check_would_take_long_are_refused(call: Call, position: int, count: int) -> None:
    """A hostile key can have a small modulus and factors whose primality takes minutes."""
    numbers = [0, 2**2047 + 1, 65537, 3, 3, 3, 3, 3, 3, 3][:count]
    numbers[position] = 2**8191 + 1
    with pytest.raises(FFIError, match="2048 to 4096 bits with two primes"):
        call("rsaSha256", rsa_pem(numbers), "data")


@given(content=st.binary(max_size=64), cut=st.integers(0, 1300))
def test_any_der_is_refused_in_peace(
    call: Call, rsa_key: rsa.RSAPrivateKey, content: bytes, cut: int
) -> None:
    whole = rsa_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    for broken in (content, whole[:cut], whole[:cut] + content):
        if broken != whole:
            text = base64.b64encode(broken).decode()
            with pytest.raises(FFIError, match="expected a"):
                call("rsaSha256", f"-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----", "data")


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_private_keys_in_both_forms(call: Call, rsa_key: rsa.RSAPrivateKey, form: PrivateFormat) -> None:
    text = rsa_key.private_bytes(Encoding.PEM, form, NoEncryption())
    first, again = call("rsaSha256", text, "data"), call("rsaSha256", b"comment\n" + text, "data")
    assert first == again
    elliptic = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, form, NoEncryption())
    assert call("jwtSign", {}, elliptic, {"alg": "ES256"}).count(".") == 2


def test_keys_with_a_password_and_of_old_kinds_are_refused(call: Call, rsa_key: rsa.RSAPrivateKey) -> None:
    locked = rsa_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pw"))
    with pytest.raises(FFIError, match="without a password"):
        call("rsaSha256", locked, "data")
    old = pem_of(dsa.generate_private_key(1024))
    with pytest.raises(FFIError, match="of kind RSA, EC or Ed25519"):
        call("rsaSha256", old, "data")


def test_keys_of_another_kind_are_refused(call: Call) -> None:
    elliptic = pem_of(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(FFIError, match="expected an RSA private key"):
        call("rsaSha256", elliptic, "data")
    with pytest.raises(FFIError, match="expected an Ed25519 private key"):
        call("ed25519Sign", elliptic, "data")


HIDDEN = "S3CR3T-never-shown"
BROKEN_KEYS = [
    HIDDEN,
    f"-----BEGIN PRIVATE KEY-----\n{HIDDEN}\n-----END PRIVATE KEY-----\n",
    f"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n{HIDDEN}\n-----END RSA PRIVATE KEY-----\n",
    f"-----BEGIN {HIDDEN}-----",
    HIDDEN + "x" * 70_000,
]


@pytest.mark.parametrize("wrap", [str, str.encode, Token])
@pytest.mark.parametrize("key", BROKEN_KEYS)
@pytest.mark.parametrize(
    ("name", "rest"),
    [("rsaSha256", ["d"]), ("ed25519Sign", ["d"]), ("ed25519Verify", ["d", b""]), ("aesGcmEncrypt", ["d"])],
)
def test_no_message_shows_a_key(
    call: Call,
    name: str,
    rest: list[Any],
    key: str,
    wrap: Callable[[str], Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(FFIError) as caught:
        call(name, wrap(key), *rest)
    assert HIDDEN not in str(caught.value)
    assert HIDDEN not in caplog.text


# -- encryption -------------------------------------------------------------------------------------


def test_aes_gcm_vector(call: Call) -> None:
    # "The Galois/Counter Mode of Operation" (McGrew, Viega), test case 14.
    sealed = bytes(12) + bytes.fromhex("cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919")
    assert call("aesGcmDecrypt", bytes(32), sealed).arg == bytes(16)


@given(plaintext=st.binary(), aad=st.binary())
def test_what_was_encrypted_decrypts(call: Call, plaintext: bytes, aad: bytes) -> None:
    key = call("randomKey32")
    sealed = call("aesGcmEncrypt", key, plaintext, aad)
    assert len(sealed) == 12 + len(plaintext) + 16
    answer = call("aesGcmDecrypt", Token(key), sealed, aad)
    assert answer.name == "ok" and identical(answer.arg, plaintext)


@given(data=st.data())
def test_decrypt_refuses_every_changed_bit(call: Call, data: st.DataObject) -> None:
    sealed = bytearray(call("aesGcmEncrypt", bytes(32), "some text", "aad"))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    assert call("aesGcmDecrypt", bytes(32), bytes(sealed), "aad").name == "error"


@pytest.mark.parametrize(
    ("key", "aad", "cut"),
    [(b"\1" * 32, "aad", None), (bytes(32), "", None), (bytes(32), "aad", 27), (bytes(32), "aad", 0)],
)
def test_decrypt_refuses_other_keys_aad_and_lengths(
    call: Call, key: bytes, aad: str, cut: int | None
) -> None:
    sealed = call("aesGcmEncrypt", bytes(32), "text", "aad")
    assert call("aesGcmDecrypt", key, sealed[:cut], aad).name == "error"


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33])
def test_only_keys_of_32_bytes(call: Call, size: int) -> None:
    with pytest.raises(FFIError, match="expected a key"):
        call("aesGcmEncrypt", bytes(size), "text")


def test_nonces_and_keys_do_not_repeat(call: Call) -> None:
    assert len({call("aesGcmEncrypt", bytes(32), "")[:12] for _ in range(200)}) == 200
    assert len({call("randomKey32") for _ in range(200)}) == 200


# -- the plugin -------------------------------------------------------------------------------------


def test_the_group_is_complete() -> None:
    assert {ffi.name for ffi in ffis} == {
        f"$crypto_{name}"
        for name in (
            *(
                "md5",
                "sha1",
                "sha256",
                "sha512",
                "sha256_generic",
                "hmacSha1",
                "hmacSha1Verify",
                "hmacSha256",
            ),
            *(
                "hmacSha256Verify",
                "rsaSha256",
                "ed25519Sign",
                "ed25519Verify",
                "randomKey32",
                "aesGcmEncrypt",
            ),
            *("aesGcmDecrypt", "jwtSign", "jwtVerify"),
        )
    }


def test_the_readme_has_the_table_of_the_code() -> None:
    text = README.read_text()
    assert reference.replaced(text) == text, "run: python -m mix_crypto.reference README.md"


def test_importing_the_plugin_is_cheap() -> None:
    code = "import sys, mix_crypto; print({'cryptography', 'joserfc', 'msgspec'} & {*sys.modules})"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "set()\n"
    )


def test_doctor_says_what_is_there(kernel: Any) -> None:
    found = [check for checks in kernel.manager.hook.mix_doctor(kernel=kernel) for check in checks]
    assert ("cryptography", "ok") in {(check.name, check.level) for check in found}
    assert all(check.remedy for check in found if check.level != "ok")
