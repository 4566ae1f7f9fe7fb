"""Guests in C on the kernel: what C programs expect of their libc is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from mix_wasm.build import build

from mixkit import Kernel
from mixkit.errors import LimitExceeded, RunError
from mixkit.limits import Limits
from mixkit.vm import wasm

GUEST = Path(__file__).parent / "guests" / "libc.c"


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(GUEST, tmp_path_factory.mktemp("libc") / "libc.wasm")


def test_a_generator_seeded_in_init_differs_between_runs(mixkit_kernel: Kernel, code: Path) -> None:
    assert len({mixkit_kernel.run_sync(code, "draw").value for _ in range(6)}) > 3
    assert mixkit_kernel.programs.snapshots.size > 0, "and the state after init is kept all the same"


def test_assert_works(mixkit_kernel: Kernel, code: Path) -> None:
    assert mixkit_kernel.run_sync(code, "checked", 12).value == 12
    with pytest.raises(RunError, match=r"thirteen is not served.*libc\.c"):
        mixkit_kernel.run_sync(code, "checked", 13)


def test_last_words_are_logged_and_stand_in_the_error(
    mixkit_kernel: Kernel, code: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "mix-vm")
    with pytest.raises(RunError, match=r"last on stderr: cannot go on: 42$"):
        mixkit_kernel.run_sync(code, "gives_up")
    lines = [record.getMessage() for record in caplog.records if record.name == "mix-vm"]
    assert sorted(lines) == ["cannot go on: 42", "not said to the end"]


@pytest.mark.parametrize("debug", [False, True])
def test_setjmp_and_longjmp(mixkit_kernel: Kernel, code: Path, tmp_path: Path, debug: bool) -> None:
    if debug:
        code = build(GUEST, tmp_path / "debug.wasm", debug=True)
    assert [mixkit_kernel.run_sync(code, "jumps", times).value for times in (0, 3, 5_000)] == [0, 3, 5_000]
    assert mixkit_kernel.programs.snapshots.size > 0, "the state after init is kept"


def test_only_guests_that_jump_have_exceptions(code: Path, tmp_path: Path) -> None:
    (tmp_path / "plain.c").write_text(
        '#include "mix.h"\nstatic mix_value same(mix_value params) { return params; }\nMIX_ENTRY("same", same)\n'
    )
    assert wasm.read(code.read_bytes()).has_tags
    assert not wasm.read(build(tmp_path / "plain.c").read_bytes()).has_tags


def test_the_stack_suffices_for_deep_recursion(mixkit_kernel: Kernel, code: Path) -> None:
    assert mixkit_kernel.run_sync(code, "recurses", 900).value == 901


def test_standard_streams_are_terminals_at_their_end(mixkit_kernel: Kernel, code: Path) -> None:
    assert mixkit_kernel.run_sync(code, "streams").value is True


def test_it_sleeps_within_the_deadline(mixkit_kernel: Kernel, code: Path) -> None:
    assert mixkit_kernel.run_sync(code, "sleeps", 20).value >= 0.02
    with pytest.raises(RunError) as caught:
        mixkit_kernel.run_sync(code, "sleeps", 600_000, limits=Limits(wall_time=0.2))
    assert isinstance(caught.value.__cause__, LimitExceeded)
