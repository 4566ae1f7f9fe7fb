"""TLS: a renewed certificate is taken by the next connection, and open ones go on; in one process and in several."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from mix_server.doctor import checks
from mix_server.tls import check_pair, renewing

from mixkit import Kernel
from mixkit.errors import ProfileError

MIXKIT = str(Path(sys.executable).with_name("mixkit"))
DEADLINE = 60.0


def issue(authority: trustme.CA, certs: Path, key: Path) -> None:
    """Write a new pair as renewers do, one file after the other."""
    made = authority.issue_cert("127.0.0.1")
    for path, pems in ((certs, made.cert_chain_pems), (key, [made.private_key_pem])):
        new = path.with_suffix(".new")
        new.write_bytes(b"".join(pem.bytes() for pem in pems))
        new.replace(path)


def connected(port: int, context: ssl.SSLContext) -> http.client.HTTPSConnection:
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=DEADLINE)
    connection.connect()
    return connection


def answered(connection: http.client.HTTPSConnection) -> bool:
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    return answer.status == 200 and bool(json.loads(answer.read()))


def serial(connection: http.client.HTTPSConnection) -> bytes:
    found = connection.sock.getpeercert(binary_form=True)
    assert isinstance(found, bytes)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("way", ["one process", "workers", "gunicorn"])
def test_a_renewed_certificate_is_taken_without_a_restart(tmp_path: Path, way: str) -> None:
    authority = trustme.CA()
    certs, key = tmp_path / "certs.pem", tmp_path / "key.pem"
    issue(authority, certs, key)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if way == "gunicorn":
        command = [
            sys.executable, "-m", "gunicorn", "-c", "python:mix_server.gunicorn_conf", "--preload", "-w", "2",
            "-b", "127.0.0.1:0", "--certfile", str(certs), "--keyfile", str(key), "mix_server.asgi:app",
        ]  # fmt: skip
    else:
        command = [
            MIXKIT, "serve", "--port", "0", "--workers", "2" if way == "workers" else "1",
            "--tls-certs", str(certs), "--tls-key", str(key),
        ]  # fmt: skip
    settings = {
        "MIXKIT_SERVER_NO_AUTH": "true",
        "MIXKIT_SERVER_WS_DIR": str(tmp_path / "ws"),
        "MIXKIT_LOG_LEVEL": "info",
    }
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, **settings}
    ) as child:
        try:
            assert child.stderr is not None
            said: list[str] = []
            while not (found := re.search(r"https://127\.0\.0\.1:(\d+)", "".join(said))):
                said.append(child.stderr.readline())
                assert said[-1], said
            port = int(found[1])
            threading.Thread(target=child.stderr.read, daemon=True).start()
            old = connected(port, context)
            assert answered(old)
            before = serial(old)

            # Half of a pair changes nothing.
            kept = certs.read_bytes()
            certs.write_bytes(b"nothing")
            time.sleep(1.2)
            with closing(connected(port, context)) as new:
                assert serial(new) == before
            certs.write_bytes(kept)

            issue(authority, certs, key)
            deadline = time.monotonic() + DEADLINE
            fresh = 0
            # Several in a row, of whichever worker.
            while fresh < 8:
                assert time.monotonic() < deadline, "the new certificate was not taken"
                with closing(connected(port, context)) as new:
                    fresh = fresh + 1 if serial(new) != before else 0
                    assert answered(new)
                # One that says nothing for two seconds is closed.
                assert answered(old)
                time.sleep(0.05)
            old.close()
        finally:
            child.send_signal(signal.SIGTERM)
        assert child.wait(DEADLINE) == 0


def test_what_is_no_pair_is_refused(tmp_path: Path) -> None:
    authority = trustme.CA()
    certs, key, other = tmp_path / "certs.pem", tmp_path / "key.pem", tmp_path / "other.pem"
    issue(authority, certs, other)
    issue(authority, certs, key)
    check_pair(None, None)
    check_pair(str(certs), str(key))
    for pair in (
        (str(certs), None), (None, str(key)), (str(certs), str(other)), (str(certs), str(tmp_path / "none")),
        (str(key), str(certs)),
    ):  # fmt: skip
        with pytest.raises(ProfileError, match="expected"):
            check_pair(*pair)
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    locked = load_pem_private_key(key.read_bytes(), None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    key.write_bytes(locked)
    with pytest.raises(ProfileError, match="without a password"):
        check_pair(str(certs), str(key))


def test_what_would_be_waited_for_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority = trustme.CA()
    certs, key = tmp_path / "certs.pem", tmp_path / "key.pem"
    issue(authority, certs, key)
    plain = key.read_bytes()
    config = SimpleNamespace(ssl_certfile=str(certs), ssl_keyfile=str(key), ssl_keyfile_password=None)
    made: list[ssl.SSLContext] = []

    def make() -> ssl.SSLContext:
        made.append(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        return made[-1]

    renewal = renewing(config, make).sni_callback.__self__  # type: ignore[union-attr]
    connection = SimpleNamespace(context=None)

    def chosen() -> ssl.SSLContext | None:
        renewal._due = 0.0
        renewal.choose(connection, None, None)
        return connection.context

    first = chosen()
    assert first is made[0]
    # A key with a password would be asked for on the terminal, and nobody served until it is given.
    private = load_pem_private_key(plain, None)
    locked = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
    key.write_bytes(locked)
    assert chosen() is first and "has a password" in caplog.text
    config.ssl_keyfile_password = "password"
    key.touch()
    assert chosen() is made[1]
    key.unlink()
    os.mkfifo(key)
    assert chosen() is made[1] and "is no plain file" in caplog.text
    with pytest.raises(ProfileError, match="is no plain file"):
        check_pair(str(certs), str(key))


def test_the_doctor_looks_at_it(tmp_path: Path) -> None:
    authority = trustme.CA()
    certs, key = tmp_path / "certs.pem", tmp_path / "key.pem"
    issue(authority, certs, key)

    def found(**settings: Any) -> tuple[str, str]:
        with Kernel("agent_server", overrides=settings, environ={}) as kernel:
            [check] = [each for each in checks(kernel) if each.name == "server TLS"]
        return check.level, check.message

    pair = {"settings.server.tls_certs": str(certs), "settings.server.tls_key": str(key)}
    assert found()[0] == "ok"
    status, message = found(**pair)
    assert (status, "until" in message) == ("ok", True)
    assert found(**{"settings.server.tls_certs": str(certs)})[0] == "error"
    old = authority.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    certs.write_bytes(b"".join(pem.bytes() for pem in old.cert_chain_pems))
    key.write_bytes(old.private_key_pem.bytes())
    status, message = found(**pair)
    assert (status, "ended" in message) == ("error", True)
