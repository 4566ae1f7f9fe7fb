"""Ships the C library, which stands at the top level, inside the wheel; the rest is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).parent
COPY = Path("mix_wasm", "_sdk")


def copy_sdk(target: Path) -> None:
    """Copy `sdk/c` of the checkout, or the copy that an sdist carries, to `target`."""
    source = HERE / "../../sdk/c"
    if not source.is_dir():
        source = HERE / COPY
    if source.resolve() != target.resolve():
        shutil.copytree(source, target, dirs_exist_ok=True)


class BuildPy(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            copy_sdk(Path(self.build_lib) / COPY)


class Sdist(sdist):
    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        copy_sdk(Path(base_dir) / COPY)


setup(cmdclass={"build_py": BuildPy, "sdist": Sdist})
