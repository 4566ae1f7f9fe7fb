"""The key ring: what it seals opens where it belongs and nowhere else, and no key is ever made in place of one."""

from __future__ import annotations

import base64
import os
import pickle
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixkit.errors import KeyRingError
from mixkit.kernel import Kernel
from mixkit.keyring import KEY_SIZE, KeyRing, Keys

ONE, TWO = bytes(range(32)), bytes(range(32, 64))
RING = KeyRing([ONE], "a test")
BOTH = KeyRing([TWO, ONE], "a test")


def text(*keys: bytes) -> str:
    return "\n".join(base64.b64encode(key).decode() for key in keys)


def key_file(path: Path, *keys: bytes) -> Path:
    path.write_text("# ours\n" + text(*keys) + "\n")
    path.chmod(0o600)
    return path


@given(st.binary(max_size=200), st.binary(max_size=50), st.text(max_size=10))
def test_what_is_sealed_opens(data: bytes, associated: bytes, purpose: str) -> None:
    sealed = RING.seal(purpose, data, associated)
    assert RING.open(purpose, sealed, associated) == data
    assert BOTH.open(purpose, sealed, associated) == data
    assert sealed != RING.seal(purpose, data, associated)


@given(st.data())
def test_nothing_else_opens(data: st.DataObject) -> None:
    sealed = bytearray(RING.seal("secrets", b"content", b"ada"))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(KeyRingError):
        RING.open("secrets", bytes(sealed), b"ada")
    with pytest.raises(KeyRingError):
        RING.open("secrets", bytes(sealed[: data.draw(st.integers(0, len(sealed) - 1))]), b"ada")


def test_purpose_and_what_it_belongs_to_must_be_the_same() -> None:
    sealed = RING.seal("secrets", b"content", b"ada")
    for purpose, associated in (("urls", b"ada"), ("secrets", b"bob"), ("secrets", b"")):
        with pytest.raises(KeyRingError, match="belongs somewhere else"):
            RING.open(purpose, sealed, associated)


def test_a_key_that_is_gone_is_named_by_its_id() -> None:
    sealed = RING.seal("secrets", b"content")
    with pytest.raises(KeyRingError, match=RING.id):
        KeyRing([TWO], "elsewhere").open("secrets", sealed)
    assert not BOTH.is_newest(sealed)
    assert BOTH.is_newest(BOTH.seal("secrets", BOTH.open("secrets", sealed)))


@given(st.binary(max_size=100), st.text(max_size=10))
def test_signatures(data: bytes, purpose: str) -> None:
    signature = RING.sign(purpose, data)
    assert RING.verify(purpose, data, signature) and BOTH.verify(purpose, data, signature)
    assert not RING.verify(purpose + "x", data, signature)
    assert not RING.verify(purpose, data + b"x", signature)
    assert not RING.verify(purpose, data, BOTH.sign(purpose, data))
    assert not RING.verify(purpose, data, b"") and not RING.verify(purpose, data, signature[:-1])


def test_it_shows_no_key() -> None:
    shown = repr(RING) + str(RING) + RING.id
    assert ONE.hex() not in shown and text(ONE) not in shown and repr(ONE) not in shown
    with pytest.raises(TypeError):
        pickle.dumps(RING)


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("", "at least one"),
        ("c2hvcnQ=", "as key 1"),
        (text(ONE) + " not-base64!", "as key 2"),
        (text(ONE)[:-4], "as key 1"),
        (text(ONE + ONE), "as key 1"),
        ("ключ", "as key 1"),
    ],
)
def test_words_that_are_no_keys(words: str, wrong: str) -> None:
    with pytest.raises(KeyRingError, match=wrong) as caught:
        Keys(words, None).ring()
    assert not words or words.split()[-1] not in str(caught.value)


def test_words_may_be_urlsafe_and_have_commas(tmp_path: Path) -> None:
    key = bytes([0xFB, 0xEF] * 16)
    words = base64.urlsafe_b64encode(key).decode() + "," + text(ONE)
    assert "-" in words
    assert Keys(words, None).ring().id == KeyRing([key], "").id


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = key_file(tmp_path / "keys", ONE)
    assert Keys(None, file).ring().id == RING.id
    file.chmod(0o640)
    with pytest.raises(KeyRingError, match=r"open to others, mode 0640.*chmod 600"):
        Keys(None, file).ring()


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(KeyRingError, match="No such file"):
        Keys(None, tmp_path / "nowhere").ring()
    with pytest.raises(KeyRingError, match="cannot read"):
        Keys(None, tmp_path).ring()
    file = key_file(tmp_path / "keys", ONE)
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(KeyRingError, match="as key 1"):
        Keys(None, file).ring()


def test_without_workspaces_and_without_a_key_there_is_none() -> None:
    with pytest.raises(KeyRingError, match="MIXKIT_SECRETS_KEY"):
        Keys(None, None).ring()


def test_the_first_use_makes_a_key_and_looking_does_not(tmp_path: Path) -> None:
    Keys(None, None, tmp_path).check()
    assert not list(tmp_path.iterdir())
    ring = Keys(None, None, tmp_path).ring()
    file = tmp_path / ".keyring" / "keys"
    assert file.stat().st_mode & 0o777 == 0o600
    again = Keys(None, None, tmp_path)
    again.check()
    assert again.ring().id == ring.id


def test_a_key_that_does_not_fit_is_refused_and_none_is_made(tmp_path: Path) -> None:
    ring = Keys(None, None, tmp_path).ring()
    file = tmp_path / ".keyring" / "keys"
    kept = file.read_text()
    file.unlink()
    for look in (Keys(None, None, tmp_path).check, Keys(None, None, tmp_path).ring):
        with pytest.raises(KeyRingError, match="No such file"):
            look()
    assert not file.exists()
    for other in (Keys(text(TWO), None, tmp_path), Keys(None, key_file(tmp_path / "other", TWO), tmp_path)):
        with pytest.raises(KeyRingError, match=ring.id[:16]):
            other.check()
    Keys(text(TWO) + " " + kept, None, tmp_path).check()


def test_after_renewing_the_old_key_may_go(tmp_path: Path) -> None:
    Keys(text(ONE), None, tmp_path).ring()
    Keys(text(TWO, ONE), None, tmp_path).renew()
    Keys(text(TWO), None, tmp_path).check()
    with pytest.raises(KeyRingError):
        Keys(text(ONE), None, tmp_path).check()


def test_many_who_begin_at_once_have_one_key(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from mixkit.keyring import Keys; "
        "sys.stdin.readline(); print(Keys(None, None, Path(sys.argv[1])).ring().id)"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert len({process.communicate()[0] for process in running}) == 1
    assert sorted(path.name for path in (tmp_path / ".keyring").iterdir()) == ["key-id", "keys"]


def test_the_kernel_has_one(tmp_path: Path) -> None:
    with Kernel("test", environ={"MIXKIT_SECRETS_KEY": text(ONE)}) as kernel:
        assert kernel.keyring.id == RING.id
    file = key_file(tmp_path / "keys", TWO)
    with Kernel("test", environ={"MIXKIT_KERNEL_KEY_FILE": str(file)}) as kernel:
        assert kernel.keyring.id == BOTH.id
    with Kernel("test", environ={}) as kernel:
        with pytest.raises(KeyRingError, match="no master key"):
            kernel.keyring  # noqa: B018 - it is made now
        kernel.keep_keys(tmp_path)
        assert len(kernel.keyring) == 1


def test_a_key_of_another_size_is_refused() -> None:
    with pytest.raises(KeyRingError, match=f"{KEY_SIZE} bytes"):
        KeyRing([secrets.token_bytes(16)], "a test")
    with pytest.raises(KeyRingError, match="at least one"):
        KeyRing([], "a test")
    assert os.environ.get("MIXKIT_SECRETS_KEY") is None
