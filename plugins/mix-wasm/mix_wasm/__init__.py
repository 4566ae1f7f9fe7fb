"""Makes, builds and inspects Wasm guests of mixkit."""
