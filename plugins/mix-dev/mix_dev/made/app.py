"""An app that somebody works on: it is compiled, installed and tested, again and again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mix_lang.files import files_in
from mix_lang.render import render_all

from mix_dev.suite.module import TestModule
from mix_dev.suite.runner import Runner
from mixkit.cli.install import install_package
from mixkit.cli.runnable import Runnable, described, of_package
from mixkit.errors import MixError
from mixkit.grants import ALL
from mixkit.package import Package
from mixkit.package.build import build

if TYPE_CHECKING:
    from mixkit.cli.output import Output
    from mixkit.kernel import Kernel
    from mixkit.package import WorkspaceStore

__all__ = ["App"]


class App:
    """A folder that makes a package, and the workspace that it is installed into.

    Args:
        kernel: is changed: it gets the FFIs of tests, which no server has.
        tests: whether they are run.

    Attributes:
        agents: what was installed last; empty as long as nothing was.
    """

    def __init__(
        self, kernel: Kernel, store: WorkspaceStore, folder: Path, ws: str, out: Output, *, tests: bool
    ) -> None:
        self.agents: Mapping[str, Runnable] = {}
        self._kernel, self._store, self._folder, self._ws, self._out = kernel, store, folder, ws, out
        self._runner = Runner(kernel) if tests else None

    def close(self) -> None:
        if self._runner is not None:
            self._runner.close()

    def update(self) -> None:
        """Compile and install the app, and test it. What is wrong is told, and leaves what was installed before."""
        began = time.perf_counter()
        try:
            with self._out.working("building"):
                package = Package.open(
                    build(self._folder, compiled=self._kernel.compiled, said=self._kernel.said)
                )
            self._kernel.ffis.check_grants(package.grants)
            made = self._ws not in self._store.list()
            workspace = self._store.create(self._ws) if made else self._store.workspace(self._ws)
            done = install_package(self._kernel, workspace, package, ALL, force=True)
            found = of_package(package)
            self.agents = {name: described(self._kernel, agent) for name, agent in found.items()}
        except (MixError, OSError) as exc:
            self._out.note(str(exc), "error")
            if self.agents:
                self._out.note("what was installed before is served on")
            return
        what = "installed" if done.changed else "is as it was"
        self._out.line(f"{', '.join(package.manifest.apps)} {what}, in {_took(began)}", "ok")
        if self._runner is not None:
            self._runner.agents.know(self._folder, found)
            self._test(self._runner)

    def _test(self, runner: Runner) -> None:
        passed, failed, began = 0, 0, time.perf_counter()
        for path in files_in(str(self._folder)):
            module = TestModule.read(path)
            if module is None:
                continue
            if module.trouble or module.diagnostics:
                self._out.note(module.trouble or render_all(module.diagnostics).rstrip(), None)
                failed += 1
                continue
            tests = [(f"{Path(path).name}::{test.name}", test) for _, test in module.tests()]
            try:
                for outcome in runner.run(module, tests):
                    passed, failed = passed + outcome.passed, failed + (not outcome.passed)
                    for line in () if outcome.passed else [outcome.id, *outcome.explained()]:
                        self._out.note(line, "error" if line == outcome.id else None)
            except MixError as exc:
                self._out.note(str(exc), "error")
                failed += 1
        if passed or failed:
            text = f"tests: {passed} passed{f', {failed} failed' if failed else ''}, in {_took(began)}"
            self._out.line(text, "error" if failed else "ok")


def _took(began: float) -> str:
    return f"{(time.perf_counter() - began) * 1000:.0f} ms"
