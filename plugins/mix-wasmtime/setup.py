"""Builds the C half of the engine; everything else is in pyproject.toml."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "mix_wasmtime._native",
            ["mix_wasmtime/_native.c"],
            libraries=["dl", "pthread"],
            extra_compile_args=["-O3", "-std=c11", "-fvisibility=hidden"],
        )
    ],
)
