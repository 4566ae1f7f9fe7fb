"""Running code: machines, the loop that drives them, Wasm guests, snapshots."""
