"""What pytest gets from an installed mixkit: fixtures for the tests of plugins.

Which profile they use is said once, in the ini option `mixkit_profile`: a name, or a path that starts at
pytest's root folder. A test module may override the fixture `mixkit_profile`. Nothing heavy is imported
until a fixture is used: every pytest run of every project in the environment loads this module.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mixkit.kernel import Kernel
    from mixkit.state import State

DEFAULT_PROFILE = "test"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        "mixkit_profile",
        "profile of mixkit's fixtures: a name, or a path from the root folder",
        default=DEFAULT_PROFILE,
    )


@pytest.fixture(scope="session")
def mixkit_profile(pytestconfig: pytest.Config) -> str:
    """Name or absolute path of the profile that the other fixtures load."""
    name = str(pytestconfig.getini("mixkit_profile"))
    return str(pytestconfig.rootpath / name) if "/" in name or name.endswith(".toml") else name


@pytest.fixture
def mixkit_kernel(mixkit_profile: str) -> Iterator[Kernel]:
    """A kernel with the profile loaded; closed after the test."""
    from mixkit.kernel import Kernel

    with Kernel(mixkit_profile) as kernel:
        yield kernel


@pytest.fixture
def mixkit_state(mixkit_kernel: Kernel) -> Iterator[State]:
    """The state of a run of that kernel, as an FFI gets it: opened by all plugins, closed after the test."""
    from mixkit.limits import Budget
    from mixkit.state import State

    state = State(budget=Budget(mixkit_kernel.limits), services=mixkit_kernel, code="test")
    mixkit_kernel.open_state(state)
    try:
        yield state
    finally:
        mixkit_kernel.close_state(state)


@pytest.fixture
def mixkit_call(mixkit_kernel: Kernel) -> Callable[..., Any]:
    """`mixkit_call("$name", *arguments, env=…, limits=…, grants=…)` calls an FFI as an agent would.

    Arguments and answer cross the codec, grants and limits are enforced, and each call is a run of its own.
    """
    import asyncio

    from mixkit.ffi_call import call_ffi

    def call(name: str, *args: Any, **options: Any) -> Any:
        return asyncio.run(call_ffi(mixkit_kernel, name, args, **options))

    return call


@pytest.fixture(scope="session")
def mixkit_cli() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`mixkit_cli("ffi", "list", input=…, env=…)` runs the command line in a process of its own.

    Within a minute. `env` is added to the environment, of which nothing that starts with `MIXKIT_` is kept.
    """
    import os
    import sys

    def run(
        *args: str, input: str = "", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MIXKIT_")}
        return subprocess.run(
            [sys.executable, "-m", "mixkit", *args],
            input=input,
            env={**inherited, **(env or {})},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
