"""Loading plugins: found by entry point, imported only if the profile names them, registered all or none."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

import pluggy

from mixkit import hookspecs
from mixkit.distributions import EntryPoint, installed
from mixkit.errors import PluginError, ProfileError
from mixkit.offers import pip_name
from mixkit.outside import is_ours
from mixkit.profile import load_profile, profile_names

__all__ = ["call_each", "each", "load_plugins", "offered"]


def load_plugins(names: Iterable[str], builtin: Iterable[tuple[str, Any]] = ()) -> pluggy.PluginManager:
    """A plugin manager with the named plugins, in that order, after the built-in ones.

    Raises:
        PluginError: a plugin is not installed (says the pip command), does not import, has a misspelt hook or a
            hook with wrong arguments. Then nothing has been registered anywhere: the manager is thrown away.
    """
    manager = pluggy.PluginManager("mixkit")
    manager.add_hookspecs(hookspecs)
    for name, module in builtin:
        manager.register(module, name)
    points, names = installed(), list(names)
    missing = [name for name in names if name not in points]
    if missing:
        raise _missing(missing, names, points)
    for name in names:
        if manager.has_plugin(name):
            raise PluginError("is named twice in the profile", name)
        _register(manager, name, _import(name, points))
    for name, extend in each(manager, "mix_add_hookspecs"):
        try:
            extend(manager=manager)
        except BaseException as exc:
            raise _failed("mix_add_hookspecs failed", name, exc) from exc
    try:
        # A plugin's own hooks are known only now; what is still unknown is misspelt.
        manager.check_pending()
    except pluggy.PluginValidationError as exc:
        raise PluginError(_first_line(exc), manager.get_name(exc.plugin) or "?") from None
    return manager


def _missing(missing: list[str], wanted: list[str], points: Iterable[str]) -> PluginError:
    """The error that names all that is not installed, one line that adds it, and profiles that do without."""
    first, *others = missing
    also = f", nor {'is' if len(others) == 1 else 'are'} {', '.join(others)}" if others else ""
    loading = _profiles_of(lambda plugins: plugins and not set(plugins) - set(points))
    without = f", or choose a profile that does without: -p {loading[0]}" if loading else ""
    return PluginError(
        f"is not installed{also}; add what is missing, from where mixkit came, with "
        f"`pip install {_requirement(missing, wanted)}`{without}",
        first,
    )


def _requirement(missing: list[str], wanted: list[str]) -> str:
    """What pip is to install: the extra that brings just what the profile wants, or the plugins one by one."""
    same = _profiles_of(lambda plugins: set(plugins) == set(wanted))
    if len(missing) == 1 or not same:
        return " ".join(map(pip_name, missing))
    return f"'mixkit[{same[0]}]'"


def _profiles_of(fits: Callable[[tuple[str, ...]], object]) -> list[str]:
    """The profiles that are shipped, of which each is an extra too, whose plugins are such; those with most first."""
    found = {}
    for name in profile_names({}):
        try:
            plugins = load_profile(name, environ={}).plugins
        except ProfileError:
            continue
        if fits(plugins):
            found[name] = len(plugins)
    return sorted(found, key=lambda name: -found[name])


def _import(name: str, points: dict[str, list[EntryPoint]]) -> ModuleType:
    brought = points[name]
    if len(brought) > 1:
        owners = " and ".join(f"{point.distribution} ({point.value})" for point in brought)
        raise PluginError(f"is brought by {owners}; uninstall all but one of them", name)
    point = brought[0]
    try:
        module = point.load()
    except BaseException as exc:
        raise _failed(f"cannot import {point.value!r}", name, exc) from exc
    if not inspect.ismodule(module):
        raise PluginError(f"its entry point {point.value!r} is not a module", name)
    return module


def _register(manager: pluggy.PluginManager, name: str, module: ModuleType) -> None:
    try:
        manager.register(module, name)
    except pluggy.PluginValidationError as exc:
        raise PluginError(_first_line(exc), name) from None
    except ValueError as exc:
        raise PluginError(f"cannot be registered: {exc}", name) from None
    callers = manager.get_hookcallers(module)
    if not callers:
        raise PluginError(f"module {module.__name__} has no function marked @mixkit.hookimpl", name)
    for impl in (impl for caller in callers for impl in caller.get_hookimpls() if impl.plugin is module):
        for parameter in inspect.signature(impl.function).parameters.values():
            # pluggy passes by position, to parameters that it knows by name, and leaves others out in silence.
            if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
                raise PluginError(
                    f"{impl.function.__name__}: its parameter {str(parameter)!r} would never be filled; a hook takes "
                    "plain parameters, named as the hook's",
                    name,
                )


def _failed(what: str, plugin: str, exc: BaseException) -> PluginError:
    """The error that names the plugin, whatever it raised; Ctrl+C and cancellation go on as they are."""
    if is_ours(exc):
        raise exc
    return PluginError(f"{what}: {type(exc).__name__}: {exc}", plugin)


def _first_line(exc: Exception) -> str:
    return "; ".join(line.strip() for line in str(exc).splitlines() if line.strip())


def offered(hook: str) -> Iterator[tuple[str, Any]]:
    """What installed plugins answer to a hook without arguments, where there is no profile that names them.

    Raises:
        PluginError: a plugin cannot be asked.
    """
    points = installed()
    for name in sorted(points):
        try:
            answer = getattr(_import(name, points), hook, lambda: None)()
        except PluginError:
            raise
        except BaseException as exc:
            raise _failed(f"{hook} failed", name, exc) from exc
        if answer is not None:
            yield name, answer


def each(manager: pluggy.PluginManager, hook: str) -> Iterator[tuple[str, Any]]:
    """(plugin name, function taking all of the hook's arguments by name), in the order of the profile."""
    caller = getattr(manager.hook, hook)
    order = {name: index for index, (name, _) in enumerate(manager.list_name_plugin())}
    for impl in sorted(caller.get_hookimpls(), key=lambda impl: order.get(impl.plugin_name, 0)):

        def call(impl: Any = impl, **kwargs: Any) -> Any:
            return impl.function(*(kwargs[name] for name in impl.argnames))

        yield impl.plugin_name, call


def call_each(manager: pluggy.PluginManager, hook: str, **kwargs: Any) -> Iterator[tuple[str, Any]]:
    """Call a hook plugin by plugin, so that a failure says whose it was.

    Yields:
        (plugin name, what its implementation answered).

    Raises:
        PluginError: an implementation raised; the cause is attached.
    """
    for name, call in each(manager, hook):
        try:
            answer = call(**kwargs)
        except PluginError:
            raise
        except BaseException as exc:
            raise _failed(f"{hook} failed", name, exc) from exc
        yield name, answer
