"""Builds the C half of the engine; everything else is in pyproject.toml."""

from setuptools import Extension, setup

PARTS = (
    "native",
    "library",
    "linked",
    "instance",
    "trap",
    "entry",
    "value",
    "host",
    "state",
    "call",
    "memory",
    "region",
)

setup(
    ext_modules=[
        Extension(
            "mix_wasm2c._native",
            [f"mix_wasm2c/_{part}.c" for part in PARTS],
            depends=["mix_wasm2c/_native.h", "mix_wasm2c/_instance.h", "mix_wasm2c/mix_module.h"],
            libraries=["dl", "pthread"],
            extra_compile_args=["-O3", "-std=c11", "-fvisibility=hidden"],
        )
    ],
)
