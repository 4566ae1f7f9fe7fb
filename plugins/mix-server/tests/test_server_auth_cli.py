"""`mixkit auth`, and what `mixkit doctor` says of third-party sign-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mix_server.settings import ServerSettings
from mix_server.sign_in import doctor

from mixkit import Kernel
from mixkit.errors import ProfileError

MIXKIT = str(Path(sys.executable).with_name("mixkit"))

Run = Callable[..., str]


@pytest.fixture
def mixkit(tmp_path: Path) -> Run:
    """Calls the command line with a directory of workspaces that has the workspace crm."""
    (tmp_path / "dir").mkdir()

    def call(*words: str, status: int = 0, given: str = "") -> str:
        done = subprocess.run(
            [MIXKIT, *words, "--ws-dir", str(tmp_path / "dir")],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            input=given,
            env={**os.environ, "MIXKIT_SERVER_PROVIDER_PLAIN": "true"},
        )
        assert done.returncode == status, done.stderr
        return done.stdout or done.stderr

    call("ws", "create", "crm")
    return call


def test_providers_from_the_command_line(mixkit: Run, idp: Any, tmp_path: Path) -> None:
    config = idp.config(client_secret=None)
    del config["client_secret"]
    file = tmp_path / "idp.json"
    file.write_text(json.dumps(config))
    ws = ("--ws", "crm")
    made = json.loads(mixkit("auth", "set", "idp", str(file), "--secret", *ws, "--json", given="s3cret\n"))
    assert made == {"name": "idp", "new": True, "has_secret": True, **config}
    where = f"{idp.url}/.well-known/openid-configuration"
    assert mixkit("auth", "list", *ws) == f"idp\toidc\tmixkit tests\t{where}\tkept\t0\n"
    shown = json.loads(mixkit("auth", "show", "idp", *ws, "--json"))
    assert shown == {key: value for key, value in made.items() if key != "new"}
    again = mixkit(
        "auth", "set", "idp", "-", *ws, "--json", given=json.dumps(config | {"scopes": ["openid"]})
    )
    assert json.loads(again)["new"] is False
    asked = json.loads(mixkit("auth", "test", "idp", *ws, "--json"))
    assert (asked["issuer"], asked["keys"]) == (idp.url, 1)
    assert "s3cret" not in mixkit("auth", "show", "idp", *ws)
    assert "client_secret" in mixkit(
        "auth", "set", "idp", "-", *ws, status=1, given=json.dumps(config | {"client_id": "other"})
    )
    assert "client_idd" in mixkit(
        "auth", "set", "idp", "-", *ws, status=2, given=json.dumps({"client_idd": 1})
    )
    assert "no provider 'idq'" in mixkit("auth", "show", "idq", *ws, status=1)
    idp.metadata = {"issuer": "https://other.example"}
    assert "expected the issuer" in mixkit("auth", "test", "idp", *ws, status=1)
    assert json.loads(mixkit("auth", "rm", "idp", *ws, "--json")) == {
        "removed": "idp",
        "ws": "crm",
        "accounts": 0,
    }
    assert "no provider 'idp'" in mixkit("auth", "rm", "idp", *ws, status=1)


def test_a_token_of_a_user_is_the_servers(mixkit: Run, tmp_path: Path) -> None:
    """Signed with the key of the server of that directory, for whom it says and as long as it says."""
    from joserfc import jwt
    from mix_server.access.server_key import ServerKey

    given = json.loads(mixkit("auth", "token", "Ada@Example.org", "--seconds", "90", "--json"))
    with Kernel("agent_server", environ={}) as kernel:
        kernel.keep_keys(tmp_path / "dir")
        key = ServerKey(None, lambda: kernel.keyring)
        claims = jwt.decode(given["token"], key._key, algorithms=["ES256"]).claims
    assert (claims["iss"], claims["sub"], claims["email"]) == ("mixkit", "ada@example.org", "ada@example.org")
    assert claims["exp"] - claims["iat"] == given["seconds"] == 90
    # The token alone, for a script.
    plain = mixkit("auth", "token", "ada@example.org")
    assert plain.count(".") == 2 and plain.count("\n") == 1
    assert "expected an address, as ada@example.org" in mixkit("auth", "token", "ada", status=2)
    assert "172800" in mixkit("auth", "token", "ada@example.org", "--seconds", "172801", status=2)
    noted = json.loads(mixkit("logs", "--kind", "sign-in", "--json"))
    assert {each["about"]["user"] for each in noted} == {"user/ada@example.org"}


def findings(profile: str = "agent_server", **settings: Any) -> dict[str, tuple[str, str]]:
    overrides = {f"settings.server.{name}": value for name, value in settings.items()}
    with Kernel(profile, overrides=overrides, environ={}) as kernel:
        return {check.name: (check.level, check.message) for check in doctor.checks(kernel)}


def test_doctor_says_what_is_in_force(tmp_path: Path) -> None:
    found = findings()
    assert found["identity providers"] == ("ok", "https to public addresses only")
    assert "base_url" in found["third-party sign-in"][1]
    found = findings(base_url="https://agents.example.com", provider_networks=["10.1.2.3:443"])
    assert "https://agents.example.com/v1/auth/" in found["third-party sign-in"][1]
    assert found["identity providers"][0] == "warning" and "10.1.2.3:443" in found["identity providers"][1]
    assert "provider_plain" in findings(provider_plain=True)["identity providers"][1]
    wrong = findings(provider_ca_file=str(tmp_path / "none.pem"))
    assert any("provider_ca_file" in message for _, message in wrong.values())
    bare = tmp_path / "bare.toml"
    bare.write_text('extends = "agent_server"\nplugins = ["server", "db", "wasmtime", "files"]\n')
    assert findings(str(bare))["third-party sign-in"][0] == "warning"


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "agents.example.com"},
        {"base_url": "https://agents.example.com/"},
        {"base_url": "https://a@b"},
        {"provider_networks": ["everything"]},
        {"provider_timeout": 0},
        {"provider_plain": "perhaps"},
    ],
)
def test_settings_that_are_wrong_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ProfileError):
        findings(**wrong)
    assert ServerSettings().provider_networks == ()
