"""Agents of packages, run by an app that shows widgets: a text goes in, a text comes out, and nothing is raised.

A host of that kind calls from another language, on any thread, as often as it draws: so what it gets is one text, which
says by its first word whether the agent answered.
"""

from __future__ import annotations

import atexit
import json
import logging
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import msgspec

from mixkit import tagged_json
from mixkit.databases import Apps
from mixkit.environment import Env
from mixkit.errors import MAX_NAME, LimitExceeded, MixError, NotFound, RunError, StorageError, guest_text
from mixkit.forms import Packed, json_to_words
from mixkit.job import Agents, Target
from mixkit.kernel import Kernel
from mixkit.near import meant
from mixkit.outside import is_ours
from mixkit.package import Package
from mixkit.package.manifest import param_types
from mixkit.package.names import check_name
from mixkit.profile import Profile
from mixkit.shape import declared
from mixkit.state import State
from mixkit.storage import Place
from mixkit.vm.threads import in_own_thread

__all__ = ["WidgetHost", "execute_agent"]

_log = logging.getLogger("mixkit.widget")

_ENV: Final = Env(platform="Mobile")


class WidgetHost:
    """Runs agents of packages that are not installed. Thread-safe; it keeps compiled code, so keep it too.

    Args:
        profile: what the agents may do at most; `widget` has no network and no files.
        folder: keeps databases by name, for all packages; made if it is not there. Without it agents have none.
        trusted: public keys, one of which must have signed a package; None to take those that nobody signed.
        env: what agents see of their surroundings, as `timezone` and `user`; `hostEnvironment` is "Widget" in any case.
        overrides: dotted keys laid over the profile: `{"limits.wall_time": 3}`.

    Raises:
        ProfileError, PluginError: as `Kernel`.
    """

    def __init__(
        self,
        profile: str | Path | Profile = "widget",
        *,
        folder: Path | str | None = None,
        trusted: list[str] | None = None,
        env: Env = _ENV,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        self.kernel = Kernel(profile, overrides=overrides)
        self._folder = None if folder is None else Path(folder).absolute()
        self._trusted = trusted
        self._env = msgspec.structs.replace(env, host_environment="Widget")

    def execute_agent(
        self,
        package: Path | str | bytes,
        agent: str,
        params: str | bytes = "{}",
        *,
        database: str | None = None,
    ) -> str:
        """Run an agent of a package, and wait for what it answers.

        What it puts off until its answer is sent is run before this returns. What it asks of its caller, as to open a
        link, is dropped, since a widget that is drawn does nothing else.

        Args:
            package: path of a `.remix` file, or what is in one.
            agent: AGENT, or APP/AGENT.
            params: tagged JSON.
            database: name of the one that the agent has; the name of its app by default.

        Returns:
            `ok:` and the result in tagged JSON, or `error:` and `{"message", "code", "backtrace", "agent"}` in JSON,
            where `backtrace` has the guest's frames, innermost first. It raises nothing but what ends the process.
        """
        return _answered(agent, lambda: self._run(package, agent, params, database))

    def widgets(self, package: Path | str | bytes) -> str:
        """The widgets that a package offers.

        Returns:
            `ok:` and a list in JSON of `{"app", "name", "agent", "description", "sizes", "database", "tags"}`, as
            `execute_agent` takes them. `error:` as there.
        """

        def listed() -> str:
            return json.dumps(
                [
                    {
                        "app": app,
                        "name": name,
                        "agent": f"{app}/{widget.agent or name}",
                        "description": widget.description,
                        "sizes": widget.sizes,
                        "database": widget.database or app,
                        "tags": widget.tags,
                    }
                    for app, spec in self._open(package).manifest.apps.items()
                    for name, widget in spec.widgets.items()
                ]
            )

        return _answered("", listed)

    def close(self) -> None:
        """Let go of threads, instances and databases. Idempotent."""
        self.kernel.close()

    def __enter__(self) -> WidgetHost:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, source: Path | str | bytes, name: str, params: str | bytes, database: str | None) -> str:
        package = self._open(source)
        app, agent = _found(package, name)
        target = self._target(package, app, agent, self._place(app, database))
        limits = target.limits or self.kernel.limits
        result = self.kernel.run_sync(
            target.program, target.entry, _params(target, params, limits.params_size),
            env=target.env, limits=limits, grants=target.grants, agents=target.agents, place=target.place,
            apps=target.apps, answer=target.answer, as_json=True,
        )  # fmt: skip
        if result.postponed:
            import asyncio

            # In a thread of its own, because the caller may be on an event loop.
            later = self.kernel.run_postponed(result, limits.wall_time)
            in_own_thread(asyncio.run, later).result()
        value = result.value
        return value.decode() if isinstance(value, bytes) else tagged_json.dumps(value)

    def _open(self, source: Path | str | bytes) -> Package:
        package = _opened(source)
        if self._trusted is not None or package.signature is not None:
            package.verify(self._trusted)
        return package

    def _target(self, package: Package, app: str, agent: str, place: Place | None) -> Target:
        """What runs for an agent of a package; the agents that it may call are those of its app, with its powers."""
        spec = package.manifest.apps[app].agents[agent]
        params, result = param_types(spec)

        async def resolve(state: State, name: str) -> Target:
            import asyncio

            found, other = _found(package, name if "/" in name else f"{app}/{name}")
            if found != app:
                raise NotFound(
                    f"no agent {name!r:.200} in app {app!r}; agents of other apps are not called here"
                )
            return await asyncio.to_thread(self._target, package, app, other, place)

        most = self.kernel.limits
        return Target(
            self.kernel.load(package.archive.read(spec.code), f"{app}/{agent}"),
            spec.entry or agent,
            package.grants,
            msgspec.structs.replace(
                self._env, app=app, extra={**package.settings.get(app, {}), **self._env.extra}
            ),
            most.narrowed(msgspec.structs.replace(most, **package.manifest.limits)),
            place,
            Apps(_alone, partial(package.file, app)),
            declared(params),
            declared(result),
            Agents(resolve),
        )

    def _place(self, app: str, database: str | None) -> Place | None:
        if self._folder is None:
            if database is not None:
                raise NotFound(
                    f"no database {database!r:.80}: this host keeps none, since it was made without a folder"
                )
            return None
        home = self._folder / check_name("database", app if database is None else database)
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise StorageError(f"the folder {home} of a database cannot be made: {exc.strerror}") from None
        return Place("", app, home)


def execute_agent(package: Path | str | bytes, agent: str, params: str | bytes = "{}") -> str:
    """Run an agent of a package with the profile `widget`, and wait for what it answers.

    It has no database. All calls share one host, made by the first and kept until the process ends; whoever wants
    another profile, databases, or packages of signers that it trusts, makes a `WidgetHost`.

    Args, returns: as `WidgetHost.execute_agent`.
    """
    return _answered(agent, lambda: _host()._run(package, agent, params, None))


_making = threading.Lock()
_made: list[WidgetHost] = []


def _host() -> WidgetHost:
    """The one that all share."""
    with _making:
        if not _made:
            host = WidgetHost()
            atexit.register(host.close)
            _made.append(host)
        return _made[0]


def _answered(agent: str, run: Callable[[], str]) -> str:
    """What a host is told of a run, whatever became of it."""
    try:
        return f"ok:{run()}"
    except RunError as exc:
        said = exc.to_dict()
    except MixError as exc:
        said = {"message": str(exc), "code": exc.code, "backtrace": []}
    except BaseException as exc:
        if is_ours(exc):
            raise
        _log.error("agent %.200r of a package could not be run", agent, exc_info=exc)
        said = {
            "message": "a fault of mixkit, of a plugin or of the call; the log says which",
            "code": "internal",
            "backtrace": [],
        }
    # ASCII, so that no name or message is cut or refused on its way into another language.
    return f"error:{json.dumps(said | {'agent': guest_text(str(agent), MAX_NAME)})}"


def _opened(source: Path | str | bytes) -> Package:
    if isinstance(source, bytes):
        return Package.open(source)
    try:
        return Package.open(source)
    except MixError:
        raise
    except FileNotFoundError:
        raise NotFound(f"no such file {str(source)!r:.400}") from None
    except (OSError, ValueError) as exc:
        raise NotFound(f"the file {str(source)!r:.400} cannot be read: {exc}") from None


def _found(package: Package, name: str) -> tuple[str, str]:
    """App and agent that are meant by AGENT or APP/AGENT.

    Raises:
        NotFound: lists those that there are.
    """
    there = [(app, agent) for app, spec in package.manifest.apps.items() for agent in spec.agents]
    fitting = [(app, agent) for app, agent in there if name in (agent, f"{app}/{agent}")]
    if len(fitting) == 1:
        return fitting[0]
    names = [f"{app}/{agent}" for app, agent in fitting or there]
    listed = f"there is {', '.join(names)[:400] or 'none'}"
    if fitting:
        raise NotFound(f"{name!r:.200} is more than one agent of the package; {listed}")
    near = names if "/" in name else [agent for _, agent in there]
    raise NotFound(f"no agent {name!r:.200} in the package; {listed}{meant(name, near)}")


def _params(target: Target, text: str | bytes, most: int) -> Any:
    """The parameters in a text, as the package declares them."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > most:
        raise LimitExceeded("params_size", most, "bytes", f"the text of the parameters has {len(data)}")
    params = Packed(json_to_words(data))
    if target.check is None or target.check.fits(params.words):
        return params
    return target.check(params.value())


def _alone(name: str) -> Place:
    raise NotFound(f"no app {name!r:.80}: an agent of a widget has no other apps")
