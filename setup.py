"""Builds what is in C and ships `profiles/` inside the wheel; everything else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
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


class BdistWheel(bdist_wheel):
    """Keeps the names of extras as they are written in pyproject.toml.

    setuptools writes `agent-server`. The pip that comes with Python 3.11 compares names without normalising them:
    asked for `mixkit[agent_server]`, it would install no plugin and only warn. Newer tools normalise both.
    """

    def egg2dist(self, egginfo_path: str, distinfo_path: str) -> None:
        super().egg2dist(egginfo_path, distinfo_path)
        path = Path(distinfo_path) / "METADATA"
        head, blank, body = path.read_text(encoding="utf-8").partition("\n\n")
        for name in self.distribution.extras_require:
            normal = name.replace("_", "-")
            head = head.replace(f"Provides-Extra: {normal}\n", f"Provides-Extra: {name}\n")
            head = head.replace(f'extra == "{normal}"', f'extra == "{name}"')
        path.write_text(head + blank + body, encoding="utf-8")


setup(
    ext_modules=[
        Extension(
            f"mixkit.{name}",
            [f"mixkit/{name}.c"],
            depends=["mixkit/_words.h"],
            extra_compile_args=["-O3", "-std=c11", "-fvisibility=hidden"],
        )
        for name in ("_codec", "_forms")
    ],
    cmdclass={"build_py": BuildPy, "bdist_wheel": BdistWheel},
)
