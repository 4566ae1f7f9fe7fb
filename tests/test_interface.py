"""The guest interface: code that cannot be linked or entered is refused when it is loaded, by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mixkit import Kernel
from mixkit.errors import EngineError, GrantError, NotFound
from mixkit.vm import interface

Guest = Callable[..., bytes]
MANY = "".join(f'(import "mix" "f{n}" (func))' for n in range(20))


def importing(text: str) -> bytes:
    """A guest that imports what the text says."""
    from wasmtime import wat2wasm

    return bytes(
        wat2wasm(
            f"""(module {text} (memory (export "memory") 1)
            (func (export "mix_alloc") (param i32) (result i32) (i32.const 0))
            (func (export "mix_entry_x") (param i32 i32) (result i64) (i64.const 0)))"""
        )
    )


@pytest.mark.parametrize(
    ("imports", "message"),
    [
        ('(import "mix" "fii" (func))', "import mix.fii: no host function of that name; did you mean 'ffi'?"),
        (
            '(import "mix" "ffi" (func (param i32)))',
            "import mix.ffi: expected (i32, i32, i32, i32) -> (i32), found (i32) -> ()",
        ),
        (
            '(import "mix" "zzzzz" (func))',
            "import mix.zzzzz: no host function of that name; that module has ffi, take",
        ),
        (
            '(import "host" "f" (func))',
            "import host.f: no host function of that name; guests import from mix, wasi_snapshot",
        ),
        ('(import "host" "g" (global i32))', "import host.g: no host function"),
        ('(import "host" "t" (table 1 funcref))', "import host.t: no host function"),
        (
            '(import "wasi_snapshot_preview1" "fd_rite" (func))',
            "wasi_snapshot_preview1.fd_rite: no host function of that name; did you mean 'fd_write'?",
        ),
        ('(import "mix" "a" (func)) (import "mix" "b" (func))', "import mix.b"),
        (MANY, "and 12 more"),
    ],
)
def test_code_that_cannot_be_linked_is_refused_when_it_is_loaded(
    kernel: Kernel, imports: str, message: str
) -> None:
    with pytest.raises(EngineError, match=r"^no guest of mixkit: import ") as caught:
        kernel.load(importing(imports))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '(func (export "mix_init") (param i64))',
            "export mix_init: expected (i32, i32) -> (), found (i64) -> ()",
        ),
        (
            '(func (export "_initialize") (param i32))',
            "export _initialize: expected () -> (), found (i32) -> ()",
        ),
        ('(func (export "mix_entry_y"))', "export mix_entry_y: expected (i32, i32) -> (i64), found () -> ()"),
        (
            '(global (export "mix_entry_y") i32 (i32.const 0))',
            "export mix_entry_y: expected (i32, i32) -> (i64), found",
        ),
    ],
)
def test_exports_of_the_wrong_type_are_refused_when_it_is_loaded(
    kernel: Kernel, guest: Guest, text: str, message: str
) -> None:
    with pytest.raises(EngineError) as caught:
        kernel.load(guest(text))
    assert message in str(caught.value)


def test_a_guest_has_no_problems(kernel: Kernel, guest: Guest) -> None:
    program = kernel.load(guest())
    assert interface.problems(program.module) == []


def test_code_is_checked_before_it_is_installed(kernel: Kernel, guest: Guest) -> None:
    kernel.check_code("echo", guest())
    with pytest.raises(NotFound, match="has no entry 'ecko'"):
        kernel.check_code("ecko", guest())
    with pytest.raises(EngineError, match=r"import mix\.fii"):
        kernel.check_code("x", importing('(import "mix" "fii" (func))'))
    call = '(func (export "mix_call") (param i32 i32 i32 i32) (result i64) (i64.const 0))'
    asks = r"{\"version\": 1, \"entries\": {\"e\": {}}, \"grants\": {\"options\": {\"http.host\": []}}}"
    with pytest.raises(GrantError, match=r"option 'http\.host'"):
        kernel.check_code("e", guest(f'{call} (@custom "mix.manifest" "{asks}")'))
