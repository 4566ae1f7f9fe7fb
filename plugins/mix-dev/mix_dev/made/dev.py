"""`mixkit dev`."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import click

from mixkit.cli.choices import folder_argument, ws_option
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from mixkit.kernel import Kernel
    from mixkit.package import Package, WorkspaceStore

__all__ = ["dev"]

_LOOK: Final = 1.0
"""Seconds after which it is looked whether the server is there."""
_SAMPLES: Final = {"string": "…", "int": 1, "float": 1.5, "number": 1, "bool": True}
"""Values of types, for parameters in the line for curl."""


@click.command("dev")
@folder_argument()
@ws_option(default="dev", help="Workspace that the app is installed into.")
@click.option(
    "--ws-dir", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Directory of workspaces; that of mixkit.toml by default, or the folder workspaces in FOLDER.",
)  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), help="Port to serve on; 0 takes a free one.")
@click.option("--no-serve", is_flag=True, help="Start no server: one that serves DIR runs already.")
@click.option("--no-test", is_flag=True, help="Run no tests.")
@json_option
@pass_session
def dev(
    session: Session,
    folder: Path,
    ws: str,
    ws_dir: Path | None,
    port: int | None,
    no_serve: bool,
    no_test: bool,
) -> None:
    """Serve the app in FOLDER, which has a manifest.json, and install it anew with each change.

    After each change the app is compiled and installed with all powers that it asks for, and its tests are run. What is
    wrong is shown, and what was installed before stays. Ctrl-C ends it.
    """
    from mix_dev.made.served import Served
    from mix_dev.made.watch import Watch
    from mixkit.cli.workspaces import open_store

    if session.as_json:
        raise click.UsageError("this goes on until it is ended, and prints no document: leave out --json")
    folder = folder.resolve()
    workspaces = Path(ws_dir or session.project.ws_dir or folder / "workspaces").absolute()
    out = Output()
    signal.signal(signal.SIGTERM, _ends)
    with session.kernel() as kernel:
        store = open_store(kernel, workspaces, make=True)
        watch = Watch(folder, workspaces)
        app = _App(kernel, store, folder, ws, out, tests=not no_test)
        served = None if no_serve else Served(session, workspaces, port)
        try:
            package = app.update()
            if served is not None:
                served.wait()
            told = _tell(out, package, ws, served)
            while served is None or not served.ended:
                changed = watch.changed(_LOOK)
                if not changed:
                    continue
                out.note(f"changed: {', '.join(changed[:5])}{' …' if len(changed) > 5 else ''}")
                package = app.update() or package
                told = told or _tell(out, package, ws, served)
            raise click.ClickException("the server has ended")
        except KeyboardInterrupt:
            out.note("ended")
        finally:
            app.close()
            if served is not None:
                served.close()


def _ends(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class _App:
    """An app that is compiled, installed and tested."""

    def __init__(
        self, kernel: Kernel, store: WorkspaceStore, folder: Path, ws: str, out: Output, *, tests: bool
    ) -> None:
        from mix_dev.suite.runner import Runner

        self._kernel, self._store, self._folder, self._ws, self._out = kernel, store, folder, ws, out
        # NOTE: the kernel has the FFIs of tests from here on, which no server has: they are asked for by tests alone.
        self._runner = Runner(kernel) if tests else None

    def close(self) -> None:
        if self._runner is not None:
            self._runner.close()

    def update(self) -> Package | None:
        """Compile and install the app, and test it; None if something is wrong, which is told."""
        from mixkit.cli.install import install_package
        from mixkit.errors import MixError
        from mixkit.grants import ALL
        from mixkit.package import Package
        from mixkit.package.build import build

        began = time.perf_counter()
        try:
            data = build(self._folder, compiled=self._kernel.compiled, said=self._kernel.said)
            package = Package.open(data)
            self._kernel.ffis.check_grants(package.grants)
            made = self._ws not in self._store.list()
            workspace = self._store.create(self._ws) if made else self._store.workspace(self._ws)
            done = install_package(self._kernel, workspace, package, ALL, force=True)
        except (MixError, OSError) as exc:
            self._out.note(str(exc), "error")
            return None
        took = time.perf_counter() - began
        what = "installed" if done.changed else "is as it was"
        self._out.line(f"{', '.join(package.manifest.apps)} {what}, in {took * 1000:.0f} ms", "ok")
        self._test()
        return package

    def _test(self) -> None:
        from mix_lang.files import files_in
        from mix_lang.render import render_all

        from mix_dev.suite.module import TestModule
        from mixkit.errors import MixError

        if self._runner is None:
            return
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
                for outcome in self._runner.run(module, tests):
                    passed, failed = passed + outcome.passed, failed + (not outcome.passed)
                    for line in () if outcome.passed else [outcome.id, *outcome.explained()]:
                        self._out.note(line, "error" if line == outcome.id else None)
            except MixError as exc:
                self._out.note(str(exc), "error")
                failed += 1
        if passed or failed:
            took = (time.perf_counter() - began) * 1000
            text = f"tests: {passed} passed{f', {failed} failed' if failed else ''}, in {took:.0f} ms"
            self._out.line(text, "error" if failed else "ok")


def _tell(out: Output, package: Package | None, ws: str, served: Any) -> bool:
    """Say how each agent is asked. Whether there was something to say."""
    from mix_dev.made.served import TOKEN

    if package is None:
        return False
    url = served.url if served is not None else "http://127.0.0.1:8000"
    token = f"${TOKEN}" if served is None or os.environ.get(TOKEN) else served.token
    for app, spec in package.manifest.apps.items():
        for agent, about in spec.agents.items():
            declared = about.in_params if isinstance(about.in_params, dict) else {}
            given = {name: _SAMPLES.get(of) for name, of in declared.items() if not name.endswith("?")}
            params = json.dumps(given, ensure_ascii=False)
            out.line(f"curl -s {url}/v1/ws/{ws}/app/{app}/agent/{agent} \\")
            out.line(f"  -H \"Authorization: Bearer {token}\" --json '{params}'")
    return True
