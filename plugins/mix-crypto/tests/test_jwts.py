"""JWTs: the examples of RFC 7515, every algorithm, and the attacks that broke other libraries."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey, RSAKey

from mixkit.errors import FFIError
from mixkit.value import Ref, Token

Call = Callable[..., Any]
SECRET = "0123456789abcdef0123456789abcdef"
ALGORITHMS = ["HS256", "RS256", "PS256", "ES256", "EdDSA", "Ed25519"]


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def hs256(header: Any, claims: Any, key: bytes) -> str:
    """A token made by hand, so that it can be wrong."""
    parts = [b64(p if isinstance(p, bytes) else json.dumps(p).encode()) for p in (header, claims)]
    text = ".".join(parts)
    return f"{text}.{b64(hmac.digest(key, text.encode(), 'sha256'))}"


RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
NATIVE: dict[str, Any] = {"RS256": RSA, "PS256": RSA, "ES256": EC, "EdDSA": ED, "Ed25519": ED}


def private(alg: str) -> Any:
    if alg == "HS256":
        return SECRET
    return NATIVE[alg].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public(
    alg: str, form: tuple[Encoding, PublicFormat] = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
) -> Any:
    return SECRET if alg == "HS256" else NATIVE[alg].public_key().public_bytes(*form).decode("latin-1")


def jwk(alg: str, /, **more: Any) -> dict[str, Any]:
    if alg == "HS256":
        return {"kty": "oct", "k": b64(SECRET.encode()), **more}
    cls: Any = {"RS256": RSAKey, "PS256": RSAKey, "ES256": ECKey, "EdDSA": OKPKey, "Ed25519": OKPKey}[alg]
    return {**cls.import_key(NATIVE[alg].public_key()).as_dict(), **more}


@pytest.fixture(scope="session")
def refused(call: Call) -> Callable[..., str]:
    """Verifies, expects an error, answers its message."""

    def refused(token: str, key: Any, *algs: str, **options: Any) -> str:
        answer = call("jwtVerify", token, key, {"algs": list(algs), **options})
        assert answer.name == "error", answer
        message: str = answer.arg
        return message

    return refused


# -- what works -------------------------------------------------------------------------------------

A1_KEY = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
A1 = (  # RFC 7515, A.1
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)
A3_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
A3 = (  # RFC 7515, A.3
    "eyJhbGciOiJFUzI1NiJ9"
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
A_CLAIMS = {"iss": "joe", "exp": 1300819380, "http://example.com/is_root": True}


@pytest.mark.parametrize(
    ("token", "key", "alg"),
    [(A1, unb64(A1_KEY), "HS256"), (A1, {"kty": "oct", "k": A1_KEY}, "HS256"), (A3, A3_KEY, "ES256")],
)
def test_the_examples_of_rfc_7515(
    call: Call, refused: Any, monkeypatch: pytest.MonkeyPatch, token: str, key: Any, alg: str
) -> None:
    assert "expired" in refused(token, key, alg)
    monkeypatch.setattr(time, "time", lambda: 1300819379.0)
    assert call("jwtVerify", token, key, {"algs": [alg], "issuer": "joe"}).arg == A_CLAIMS


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_every_algorithm_signs_and_verifies(call: Call, alg: str) -> None:
    claims = {"sub": "åse", "n": 1, "list": [None, True, 1.5], "exp": int(time.time()) + 60}
    token = call("jwtSign", claims, private(alg), {"alg": alg, "headers": {"kid": "k1"}})
    assert json.loads(unb64(token.split(".")[0])) == {"typ": "JWT", "alg": alg, "kid": "k1"}
    for key in (public(alg), Token(public(alg)), jwk(alg), {"keys": [jwk(alg, kid="k1")]}):
        answer = call("jwtVerify", token, key, {"algs": [alg]})
        assert (answer.name, answer.arg) == ("ok", claims)


@pytest.mark.parametrize("alg", ["EdDSA", "Ed25519"])
@pytest.mark.parametrize("said", ["EdDSA", "Ed25519"])
def test_the_two_names_of_ed25519_are_one_for_a_key(call: Call, refused: Any, alg: str, said: str) -> None:
    """RFC 9864: issuers change the name in their tokens and their key sets at different times."""
    token = call("jwtSign", {"sub": "a"}, private(alg), {"alg": alg, "headers": {"kid": "k"}})
    keys = {"keys": [jwk(alg, kid="k", alg=said)]}
    assert call("jwtVerify", token, keys, {"algs": ["EdDSA", "Ed25519"]}).arg == {"sub": "a"}
    assert "for which there is no key" in refused(token, {"keys": [jwk(alg, kid="k", alg="RS256")]}, alg)


@given(
    claims=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])), st.integers(-(2**63), 2**63 - 1)
    )
)
def test_claims_come_back_as_they_were(call: Call, claims: dict[str, int]) -> None:
    claims = {f"x{name}": value for name, value in claims.items()}
    token = call("jwtSign", claims, SECRET, {"alg": "HS256"})
    assert call("jwtVerify", token, SECRET, {"algs": ["HS256"]}).arg == claims


# -- the signature ----------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None, 1, ["HS256"], {}])
def test_none_and_nonsense_as_algorithm(refused: Any, alg: Any) -> None:
    for signature in ("", "AAAA"):
        text = f"{b64(json.dumps({'alg': alg}).encode())}.{b64(b'{}')}.{signature}"
        for key in (SECRET, public("RS256"), {"keys": [jwk("ES256")]}):
            refused(text, key, *ALGORITHMS)


def test_none_cannot_be_asked_for(call: Call) -> None:
    with pytest.raises(FFIError, match="algs"):
        call("jwtVerify", "a.b.c", SECRET, {"algs": ["none"]})
    with pytest.raises(FFIError, match="alg"):
        call("jwtSign", {}, SECRET, {"alg": "none"})
    with pytest.raises(FFIError, match="at least one"):
        call("jwtVerify", "a.b.c", SECRET, {"algs": []})
    with pytest.raises(FFIError, match="algs"):
        call("jwtVerify", "a.b.c", SECRET, {})


def certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(RSA.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return builder.sign(RSA, SHA256()).public_bytes(Encoding.PEM)


PUBLIC_FORMS: dict[str, bytes] = {
    "pem": public("RS256").encode(),
    "pem after spaces": b" \n\t" + public("RS256").encode(),
    "pem after text": b"x" * 40 + b"\n" + public("RS256").encode(),
    "pkcs1": public("RS256", (Encoding.PEM, PublicFormat.PKCS1)).encode(),
    "der": public("RS256", (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).encode("latin-1"),
    "der pkcs1": public("RS256", (Encoding.DER, PublicFormat.PKCS1)).encode("latin-1"),
    "ssh": public("RS256", (Encoding.OpenSSH, PublicFormat.OpenSSH)).encode(),
    "ssh ec": public("ES256", (Encoding.OpenSSH, PublicFormat.OpenSSH)).encode(),
    "ec der": public("ES256", (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).encode("latin-1"),
    "certificate": certificate(),
}


@pytest.mark.parametrize("form", PUBLIC_FORMS)
def test_a_public_key_is_never_a_secret(call: Call, refused: Any, form: str) -> None:
    """Algorithm confusion: the attacker signs with HS256 and the public key, which everybody knows."""
    key = PUBLIC_FORMS[form]
    forged = hs256({"alg": "HS256"}, {"admin": True}, key)
    for given_as in (
        key,
        Token(key),
        {"kty": "oct", "k": b64(key)},
        {"keys": [{"kty": "oct", "k": b64(key)}]},
    ):
        refused(forged, given_as, "HS256")
        refused(forged, given_as, "HS256", "RS256", "ES256")
    with pytest.raises(FFIError):
        call("jwtSign", {}, key, {"alg": "HS256"})


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_only_listed_algorithms(call: Call, refused: Any, alg: str) -> None:
    token = call("jwtSign", {}, private(alg), {"alg": alg})
    others = [other for other in ALGORITHMS if other != alg]
    assert "algorithm other than" in refused(token, public(alg), *others)


@pytest.mark.parametrize("alg", ALGORITHMS)
@pytest.mark.parametrize("other", ALGORITHMS)
def test_the_key_decides_what_signs_with_it(call: Call, refused: Any, alg: str, other: str) -> None:
    if alg == other or {alg, other} in ({"RS256", "PS256"}, {"EdDSA", "Ed25519"}):
        return
    with pytest.raises(FFIError, match="needs a key of kind"):
        call("jwtSign", {}, private(other), {"alg": alg})
    token = call("jwtSign", {}, private(alg), {"alg": alg})
    assert "for which there is no key" in refused(token, public(other), *ALGORITHMS)


@given(data=st.data())
@pytest.mark.parametrize("alg", ALGORITHMS)
def test_every_changed_character_is_refused(call: Call, refused: Any, alg: str, data: st.DataObject) -> None:
    token = call("jwtSign", {"a": 1}, private(alg), {"alg": alg})
    at = data.draw(st.integers(0, len(token) - 1))
    new = data.draw(st.sampled_from("ABCDwxyz0189-_.=+/ \n"))
    if token[at] != new:
        refused(token[:at] + new + token[at + 1 :], public(alg), alg)
    refused(token + new, public(alg), alg)


def test_a_signature_of_es256_has_one_form(refused: Any) -> None:
    head = f"{b64(json.dumps({'alg': 'ES256'}).encode())}.{b64(b'{}')}"
    der = EC.sign(head.encode(), ec.ECDSA(SHA256()))
    for signature in (der, bytes(64), b"\0" * 31 + b"\1" + bytes(32), b"\xff" * 64, b""):
        refused(f"{head}.{b64(signature)}", public("ES256"), "ES256")


@pytest.mark.parametrize(
    "extra",
    [
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"crit": None},
        {"crit": "x"},
    ],
)
def test_critical_headers_are_refused(refused: Any, extra: dict[str, Any]) -> None:
    refused(hs256({"alg": "HS256", **extra}, {}, SECRET.encode()), SECRET, "HS256")


def test_keys_inside_a_token_are_ignored(call: Call, refused: Any) -> None:
    attacker = b"a" * 32
    header = {"alg": "HS256", "jwk": {"kty": "oct", "k": b64(attacker)}, "jku": "https://evil.example/k"}
    refused(hs256(header, {}, attacker), SECRET, "HS256")
    assert call("jwtVerify", hs256(header, {}, SECRET.encode()), SECRET, {"algs": ["HS256"]}).name == "ok"


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "a.b.c.d.e",
        f"{b64(b'null')}..",
        f"{b64(b'[]')}..",
        f"{b64(b'1')}..",
        f"{b64(b'alg')}..",
        f"{b64(b'[' * 20_000)}..",
        f"{b64(b'{' + bytes([34]) + b'alg' + bytes([34]) + b':' + b'[' * 9_000)}..",
        hs256({"alg": "HS256"}, b"[" * 20_000, SECRET.encode()),
        hs256({"alg": "HS256"}, b"\xff", SECRET.encode()),
        hs256({"alg": "HS256"}, b"1", SECRET.encode()),
        hs256({"alg": "HS256"}, b"[]", SECRET.encode()),
        hs256({"alg": "HS256"}, b"", SECRET.encode()),
        hs256({"alg": "HS256"}, b'{"a": ' + b"9" * 5_000 + b"}", SECRET.encode()),
        hs256({"alg": "HS256"}, {"a": 2**63}, SECRET.encode()),
        hs256({"alg": "HS256"}, b'{"a": NaN}', SECRET.encode()),
        hs256({"alg": "HS256"}, b'{"a": "\\ud800"}', SECRET.encode()),
        hs256({"alg": "HS256", "kid": 1}, {}, SECRET.encode()),
        "\0" * 100,
        "é.é.é",
    ],
)
def test_malformed_tokens(refused: Any, token: str) -> None:
    refused(token, SECRET, "HS256")


@given(token=st.text("abcdefgeyJ0.=_-é\0", max_size=80))
def test_any_text_is_refused_in_peace(refused: Any, token: str) -> None:
    refused(token, {"keys": [jwk("HS256"), jwk("RS256")]}, *ALGORITHMS)


def test_the_size_is_bounded(call: Call, refused: Any) -> None:
    assert "at most 65536 bytes" in refused("a" * 65_537, SECRET, "HS256")
    with pytest.raises(FFIError, match=r"65536 bytes.*settings\.crypto\.jwt_size"):
        call("jwtSign", {"a": "x" * 60_000}, SECRET, {"alg": "HS256"})


# -- claims -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"exp": -1}, "expired"),
        ({"exp": 0}, "expired"),
        ({"exp": -30.5}, "expired"),
        ({"nbf": 60}, "not yet valid"),
        ({"iat": 60}, "future"),
    ],
)
def test_times(call: Call, refused: Any, claims: dict[str, float], message: str) -> None:
    token = call("jwtSign", {k: time.time() + v for k, v in claims.items()}, SECRET, {"alg": "HS256"})
    assert message in refused(token, SECRET, "HS256")
    assert call("jwtVerify", token, SECRET, {"algs": ["HS256"], "leeway": 120}).name == "ok"


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["9999999999", True, None, [], {}, [9999999999]])
def test_times_that_are_no_numbers(call: Call, refused: Any, name: str, value: Any) -> None:
    refused(hs256({"alg": "HS256"}, {name: value}, SECRET.encode()), SECRET, "HS256")
    with pytest.raises(FFIError, match="seconds since 1970"):
        call("jwtSign", {name: value}, SECRET, {"alg": "HS256"})


@pytest.mark.parametrize("leeway", [-1, 601, 2**62])
def test_leeway_is_bounded(call: Call, leeway: int) -> None:
    with pytest.raises(FFIError, match="leeway is 0 to 600"):
        call("jwtVerify", "a.b.c", SECRET, {"algs": ["HS256"], "leeway": leeway})


@pytest.mark.parametrize(
    ("claim", "option", "fine"),
    [
        ("api", "api", True),
        (["x", "api"], "api", True),
        ("api", ["y", "api"], True),
        (["x", "api"], ["y", "api"], True),
        ("api", None, False),
        ("api", "other", False),
        ("api", "ap", False),
        (["x"], ["y"], False),
        ([], "api", False),
        ("", "api", False),
        (None, "api", False),
        ({"api": 1}, "api", False),
        ([["api"]], "api", False),
        (1, "api", False),
        ("api", [], False),
    ],
)
def test_audience(call: Call, claim: Any, option: Any, fine: bool) -> None:
    token = hs256({"alg": "HS256"}, {"aud": claim}, SECRET.encode())
    answer = call("jwtVerify", token, SECRET, {"algs": ["HS256"], "audience": option})
    assert (answer.name == "ok") is fine, answer


def test_a_wanted_audience_or_issuer_must_be_there(call: Call, refused: Any) -> None:
    token = call("jwtSign", {}, SECRET, {"alg": "HS256"})
    refused(token, SECRET, "HS256", audience="api")
    refused(token, SECRET, "HS256", issuer="me")
    token = call("jwtSign", {"iss": "you"}, SECRET, {"alg": "HS256"})
    refused(token, SECRET, "HS256", issuer=["me"])
    assert call("jwtVerify", token, SECRET, {"algs": ["HS256"], "issuer": ["me", "you"]}).name == "ok"


@pytest.mark.parametrize(
    "value", [b"x", Token("hidden"), Ref("r"), float("nan"), float("inf"), {"deep": [b"x"]}]
)
def test_claims_are_plain_json(call: Call, value: Any) -> None:
    with pytest.raises(FFIError, match="plain JSON") as caught:
        call("jwtSign", {"a": value}, SECRET, {"alg": "HS256"})
    assert "hidden" not in str(caught.value)
    with pytest.raises(FFIError, match="plain JSON"):
        call("jwtSign", {}, SECRET, {"alg": "HS256", "headers": {"a": value}})


@pytest.mark.parametrize("name", ["alg", "crit", "b64"])
def test_headers_that_change_the_meaning_cannot_be_set(call: Call, name: str) -> None:
    with pytest.raises(FFIError, match="cannot be set"):
        call("jwtSign", {}, SECRET, {"alg": "HS256", "headers": {name: "none"}})


# -- keys -------------------------------------------------------------------------------------------


def test_a_set_is_searched_by_kid(call: Call, refused: Any) -> None:
    keys = [jwk(alg, kid=f"key-{alg}") for alg in ALGORITHMS if alg != "PS256"]
    keys += [
        {"kty": "future", "kid": "key-RS256"},
        {"kty": "EC", "crv": "P-999"},
        jwk("RS256", kid="e", use="enc"),
    ]
    for alg in ("HS256", "RS256", "ES256", "EdDSA"):
        good = call("jwtSign", {}, private(alg), {"alg": alg, "headers": {"kid": f"key-{alg}"}})
        assert call("jwtVerify", good, {"keys": keys}, {"algs": ALGORITHMS}).name == "ok"
        for kid in ("key-none", "", "e", f"key-{'RS256' if alg != 'RS256' else 'ES256'}"):
            other = call("jwtSign", {}, private(alg), {"alg": alg, "headers": {"kid": kid}})
            assert "have its kid" in refused(other, {"keys": keys}, *ALGORITHMS)


UNUSABLE = {
    "a short RSA key": {"kty": "RSA", "n": b64(b"\xf1" * 128), "e": "AQAB"},
    "a long RSA key": {"kty": "RSA", "n": b64(b"\xf1" * 1024), "e": "AQAB"},
    "an RSA key without e": {"kty": "RSA", "n": b64(b"\xf1" * 256)},
    "a short secret": {"kty": "oct", "k": b64(b"x" * 16)},
    "a kid that is a number": {**jwk("RS256"), "kid": 7},
    "an EC key off its curve": {"kty": "EC", "crv": "P-256", "x": b64(b"\1" * 32), "y": b64(b"\2" * 32)},
    "a kty that is a list": {"kty": ["RSA"]},
}


@pytest.mark.parametrize("other", UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_key_of_a_set_is_passed_over(call: Call, refused: Any, other: dict[str, Any]) -> None:
    good = jwk("ES256", kid="now")
    token = call("jwtSign", {}, private("ES256"), {"alg": "ES256", "headers": {"kid": "now"}})
    for keys in ([good, other], [other, good]):
        assert call("jwtVerify", token, {"keys": keys}, {"algs": ["ES256"]}).name == "ok"
    assert "key" in refused(token, {"keys": [other]}, "ES256")


def test_a_set_without_any_usable_key_says_why(refused: Any) -> None:
    token = hs256({"alg": "HS256"}, {}, SECRET.encode())
    said = refused(token, {"keys": [UNUSABLE["a short secret"]]}, "HS256")
    assert "no key of the set is usable" in said and "at least 32 bytes" in said


def test_without_kid_only_one_key_may_fit(call: Call, refused: Any) -> None:
    token = call("jwtSign", {}, private("ES256"), {"alg": "ES256"})
    assert (
        call("jwtVerify", token, {"keys": [jwk("ES256", kid="a"), jwk("RS256")]}, {"algs": ["ES256"]}).name
        == "ok"
    )
    refused(token, {"keys": [jwk("ES256", kid="a"), jwk("ES256", kid="b")]}, "ES256")
    refused(token, {"keys": []}, "ES256")


def test_a_jwk_says_what_it_is_for(call: Call, refused: Any) -> None:
    token = call("jwtSign", {}, private("RS256"), {"alg": "RS256"})
    assert call("jwtVerify", token, jwk("RS256", alg="RS256", use="sig"), {"algs": ["RS256"]}).name == "ok"
    refused(token, jwk("RS256", alg="PS256"), "RS256", "PS256")
    refused(token, jwk("RS256", use="enc"), "RS256")


@pytest.mark.parametrize(
    "key",
    [
        {},
        {"kty": "none"},
        {"kty": "oct"},
        {"kty": "oct", "k": 1},
        {"kty": "oct", "k": "???"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "RSA", "n": "A" * 70_000, "e": "AQAB"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": "P-256", "x": b64(b"\1" * 32), "y": b64(b"\1" * 32)},
        {"kty": "OKP", "crv": "X25519", "x": b64(bytes(32))},
        {"kty": "OKP", "crv": "Ed25519", "x": b64(bytes(31))},
        {"kty": ["RSA"]},
        {"keys": "x"},
        {"keys": [1]},
        {"keys": [{"kty": "oct", "k": "AA"}] * 101},
        "short",
        b"",
        "-----BEGIN PUBLIC KEY-----\nS3CR3T\n-----END PUBLIC KEY-----",
    ],
)
def test_malformed_keys(call: Call, refused: Any, key: Any) -> None:
    token = call("jwtSign", {}, SECRET, {"alg": "HS256"})
    assert "S3CR3T" not in refused(token, key, *ALGORITHMS)


def test_weak_keys(call: Call) -> None:
    with pytest.raises(FFIError, match="at least 32 bytes, found 31"):
        call("jwtSign", {}, SECRET[:-1], {"alg": "HS256"})
    weak = rsa.generate_private_key(65537, 1024)
    pem = weak.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(FFIError, match="2048 to 4096 bits, found 1024"):
        call("jwtSign", {}, pem, {"alg": "RS256"})
    curve = ec.generate_private_key(ec.SECP384R1())
    pem = curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(FFIError, match="on P-256, found one on secp384r1"):
        call("jwtSign", {}, pem, {"alg": "ES256"})


def test_a_public_key_does_not_sign(call: Call) -> None:
    for alg in ("RS256", "ES256", "EdDSA"):
        with pytest.raises(FFIError):
            call("jwtSign", {}, public(alg), {"alg": alg})
        with pytest.raises(FFIError, match=r"cannot sign|a private RSA key as JWK"):
            call("jwtSign", {}, jwk(alg), {"alg": alg})


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_a_private_jwk_signs_and_verifies(call: Call, alg: str) -> None:
    cls: Any = {"RS256": RSAKey, "ES256": ECKey, "EdDSA": OKPKey}[alg]
    key = cls.import_key(NATIVE[alg]).as_dict(private=True)
    token = call("jwtSign", {}, key, {"alg": alg})
    assert call("jwtVerify", token, key, {"algs": [alg]}).name == "ok"


def test_a_private_jwk_whose_check_would_take_long_is_refused(call: Call) -> None:
    key = RSAKey.import_key(RSA).as_dict(private=True)
    for wrong in ({**key, "p": b64(b"\xff" * 1024)}, {**key, "n": b64(b"\xff" * 1024)}):
        with pytest.raises(FFIError, match="of a JWK has at most"):
            call("jwtSign", {}, wrong, {"alg": "RS256"})
    del key["p"]
    with pytest.raises(FFIError, match="has the members d, dp, dq, p, q, qi"):
        call("jwtSign", {}, key, {"alg": "RS256"})


def test_the_key_of_a_token_stays_hidden(call: Call, refused: Any, caplog: pytest.LogCaptureFixture) -> None:
    token = call("jwtSign", {}, Token(SECRET), {"alg": "HS256"})
    other = hashlib.sha256(b"other").hexdigest()
    assert other not in refused(token, Token(other), "HS256")
    assert SECRET not in caplog.text and other not in caplog.text
