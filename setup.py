"""Builds the C codec and ships `profiles/` inside the wheel; everything else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent


class BuildPy(build_py):
    """Copies the profiles, which stand at the top level for their readers, to `mixkit/_profiles`."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "mixkit" / "_profiles"
        target.mkdir(parents=True, exist_ok=True)
        for profile in sorted((HERE / "profiles").glob("*.toml")):
            shutil.copyfile(profile, target / profile.name)


setup(
    ext_modules=[
        Extension(
            "mixkit._codec",
            ["mixkit/_codec.c"],
            extra_compile_args=["-O3", "-std=c11", "-fvisibility=hidden"],
        )
    ],
    cmdclass={"build_py": BuildPy},
)
