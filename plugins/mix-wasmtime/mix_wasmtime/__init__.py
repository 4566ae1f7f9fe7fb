"""The Wasmtime engine for mixkit."""
