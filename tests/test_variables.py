"""Environment variables that begin as ours do: what is misspelt is refused, what is somebody else's is left alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mixkit import Kernel
from mixkit.errors import ProfileError
from mixkit.variables import OURS, refuse_unknown

SECTIONS = {"http": ["timeout", "hosts"], "limits": ["wall_time"]}


def check(**environ: str) -> None:
    def installed() -> Iterator[str]:
        yield from ("http", "my-sql")

    refuse_unknown(environ, SECTIONS, installed)


def test_what_is_known_or_somebody_else_s_is_left_alone() -> None:
    check(**dict.fromkeys(OURS, "x"), MIXKIT_HTTP_TIMEOUT="1", MIXKIT_LIMITS_WALL_TIME="1", HTTP_TIMEUOT="1")
    # Of a plugin that the profile does not load, of a deployment, of Kubernetes.
    check(MIXKIT_MY_SQL_TIMEOUT="1", MIXKIT_RELEASE="7", MIXKIT_HTTPS_SERVICE_HOST="10.0.0.1", MIXKIT_DB="x")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("MIXKIT_HTTP_TIMEUOT", "did you mean 'MIXKIT_HTTP_TIMEOUT'"),
        ("MIXKIT_HTTP_XYZ", "lists them$"),
        ("MIXKIT_HTP_TIMEOUT", "did you mean 'MIXKIT_HTTP_TIMEOUT'"),
        ("MIXKIT_LIMIT_WALL_TIME", "did you mean 'MIXKIT_LIMITS_WALL_TIME'"),
        ("MIXKIT_PROFLIE", "did you mean 'MIXKIT_PROFILE'"),
        ("MIXKIT_LOG_LEVLE", "did you mean 'MIXKIT_LOG_LEVEL'"),
    ],
)
def test_what_is_misspelt_is_refused(name: str, message: str) -> None:
    with pytest.raises(ProfileError, match=f"^environment variable {name}: no such setting.*{message}"):
        check(**{name: "1"})


def test_the_kernel_looks_at_its_environment() -> None:
    with pytest.raises(ProfileError, match="did you mean 'MIXKIT_CRYPTO_JWT_SIZE'"):
        Kernel("test", environ={"MIXKIT_CRYPT_JWT_SIZE": "1"})
