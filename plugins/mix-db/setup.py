"""Builds the hot loops of the index, and the reading of rows, in C; everything else is in pyproject.toml."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            f"mix_db.{name}",
            [f"mix_db/{name}.c"],
            depends=["mix_db/_module.h", "mix_db/_packed.h"],
            extra_compile_args=["-O3", "-std=c11", "-fvisibility=hidden"],
            # Without a compiler the twins in Python do the same, several times slower.
            optional=True,
        )
        for name in ("_given", "_index", "_native", "_version", "_columns", "_files")
    ],
)
