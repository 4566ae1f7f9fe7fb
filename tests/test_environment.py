"""Environments: what is a request's, and what all requests share."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from mixkit import Kernel
from mixkit.environment import Env


def test_the_environment_of_a_request_has_the_static_part_of_its_base() -> None:
    base = Env(app="a", extra={"k": 1})
    request = base.for_request(user="u", headers={"x": "1"}, body=b"b")
    again = request.for_request(user="v", headers={}, body=None)
    assert request.base is base
    assert again.base is base
    assert request.static() == again.static() == base.static() == base
    assert request.to_value().keys() == base.to_value().keys() | {"user", "requestHeaders", "requestBody"}


def test_the_kernel_keeps_nothing_of_a_request(kernel: Kernel, guest: Callable[..., bytes]) -> None:
    import gc

    base, program = Env(app="a"), kernel.load(guest())
    for n in range(20):
        kernel.run_sync(
            program, "echo", n, env=base.for_request(user=f"user-{n}", headers={}, body=b"x" * 1000)
        )
    gc.collect()
    assert not [found for found in gc.get_objects() if isinstance(found, Env) and found.request_body]


def test_what_is_remembered_is_of_the_environment_itself() -> None:
    env = Env(app="a")
    words = env.static_words()
    assert msgspec.structs.replace(env, app="b").static_words() == Env(app="b").static_words() != words
    assert env.for_request(user="u", headers={}, body=None).static_words() is words
