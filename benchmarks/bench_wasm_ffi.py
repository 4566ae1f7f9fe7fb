"""What `$wasm_call` costs beside the engine's own call of the same code.

The call of an entry with 100 bytes, and of a function with two numbers: by way of dispatch, with grants, limits,
codec and everything that stops it, and on the bare instance; and a WASI program that ends at once, in an instance of
its own. All take turns in one run.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable

import wasmtime

from mixkit import codec
from mixkit.kernel import Kernel
from mixkit.limits import Budget, Limits
from mixkit.state import State
from mixkit.vm.guest import HOST_IMPORTS

ROUNDS = 15
CALLS = 5_000
MODULE = bytes(
    wasmtime.wat2wasm("""(module
      (memory (export "memory") 1)
      (func (export "mix_alloc") (param i32) (result i32) (i32.const 4096))
      (func (export "mix_entry_echo") (param i32 i32) (result i64)
        (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1))))
      (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))""")
)
PROGRAM = bytes(wasmtime.wat2wasm('(module (memory (export "memory") 1) (func (export "_start")))'))
PAYLOAD = bytes(range(100))


def microseconds(call: Callable[[], object]) -> float:
    """Time of one call, over many."""
    started = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - started) / CALLS * 1e6


def main() -> None:
    limits = Limits(host_calls=10**9, wall_time=600)
    with Kernel("wasi", environ={}) as kernel:
        state = State(services=kernel, budget=Budget(limits))

        def dispatch(name: str, *args: object) -> Callable[[], bytes]:
            words = codec.encode(list(args), token=state.token_to_handle)  # type: ignore[arg-type]
            encoded = name.encode()
            return lambda: kernel.ffis.dispatch(state, encoded, words)[1]

        def load(name: str, code: bytes) -> object:
            words = asyncio.run(dispatch(name, code)())  # type: ignore[arg-type]
            return codec.decode(words, token=state.token_from_handle).arg["module"]  # type: ignore[union-attr]

        module, program = load("$wasm_load", MODULE), load("$wasm_wasi_load", PROGRAM)
        compiled = kernel.compile(MODULE)
        instance = compiled.engine.instantiate(compiled.module, limits, HOST_IMPORTS)
        words = codec.encode(PAYLOAD)
        calls = {
            "engine, 100 bytes": lambda: instance.call_bytes("mix_entry_echo", words),
            "$wasm_call, 100 bytes": dispatch("$wasm_call", module, "echo", PAYLOAD),
            "engine, two numbers": lambda: instance.call("add", 2, 3),
            "$wasm_call, two numbers": dispatch("$wasm_call", module, "add", [2, 3]),
            "$wasm_wasi_call": dispatch("$wasm_wasi_call", program),
        }
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(ROUNDS):
            for name, call in calls.items():
                times[name].append(microseconds(call))
        instance.close()
        state.close()
    print(f"{'call':26} {'median µs':>10} {'best µs':>10}")
    for name, found in times.items():
        print(f"{name:26} {statistics.median(found):10.2f} {min(found):10.2f}")


if __name__ == "__main__":
    main()
