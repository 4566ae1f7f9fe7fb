"""Builds the hot loops of the index in C; everything else is in pyproject.toml."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "mix_db._native",
            ["mix_db/_native.c"],
            extra_compile_args=["-O3", "-std=c11", "-fvisibility=hidden"],
            # Without a compiler the twins in Python do the same, three times slower.
            optional=True,
        )
    ],
)
