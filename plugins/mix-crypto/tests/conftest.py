"""A kernel with nothing but mix-crypto, and calls that go the way of an agent's calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mixkit import codec
from mixkit.kernel import Kernel
from mixkit.limits import Budget, Limits
from mixkit.state import State

Call = Callable[..., Any]


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    profile = tmp_path_factory.mktemp("crypto") / "crypto.toml"
    profile.write_text('plugins = ["crypto"]\nengines = []\n[settings.crypto]\ndata_size = 100_000\n')
    with Kernel(profile, environ={}) as kernel:
        yield kernel


@pytest.fixture(scope="session")
def call(kernel: Kernel) -> Call:
    """`call("sha256", …)`: through the codec, dispatch and checks, in a run of its own."""

    def call(name: str, *args: Any) -> Any:
        state = State(services=kernel, budget=Budget(Limits()))
        words = codec.encode(list(args), token=state.token_to_handle)
        ffi, answer = kernel.ffis.dispatch(state, f"$crypto_{name}".encode(), words)
        assert not ffi.is_async
        return codec.decode(answer, token=state.token_from_handle)

    return call
