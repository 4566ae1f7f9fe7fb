"""Builds the C half of the engine; everything else is in pyproject.toml."""

from setuptools import Extension, setup

PARTS = (
    "native",
    "linked",
    "instance",
    "trap",
    "entry",
    "value",
    "host",
    "fiber",
    "begin",
    "state",
    "call",
    "memory",
    "region",
    "touched",
    "image",
)

setup(
    ext_modules=[
        Extension(
            "mix_wasmtime._native",
            [f"mix_wasmtime/_{part}.c" for part in PARTS],
            depends=["mix_wasmtime/_native.h", "mix_wasmtime/_instance.h"],
            libraries=["dl", "pthread"],
            extra_compile_args=["-O3", "-std=c11", "-fvisibility=hidden"],
        )
    ],
)
