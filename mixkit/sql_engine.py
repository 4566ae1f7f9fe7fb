"""The engine for SQL where no kernel is: of a process without a profile, or of a command that loads no other plugin."""

from __future__ import annotations

import functools
import os
from typing import cast

from mixkit.errors import NotFound
from mixkit.importing import load_object
from mixkit.plugins import offered
from mixkit.profile import Profile
from mixkit.settings import fill
from mixkit.sql import SqlEngine

__all__ = ["sql_engine", "sql_engine_of"]


@functools.cache
def sql_engine() -> SqlEngine:
    """That of the first installed plugin which offers one, the same one each time.

    Its settings are those of the environment: `MIXKIT_DUCKDB_THREADS`.

    Raises:
        NotFound: no installed plugin offers one.
        ProfileError: a setting in the environment is wrong.
        MixError: it cannot be made.
    """
    return _made(None)


def sql_engine_of(profile: Profile) -> SqlEngine:
    """That of the first plugin of a profile which offers one, with its settings there. Raises as `sql_engine`."""
    return _made(profile)


def _made(profile: Profile | None) -> SqlEngine:
    for plugin, engines in offered("mix_sql"):
        if profile is not None and plugin not in profile.plugins:
            continue
        settings = dict(offered("mix_settings")).get(plugin)
        layers = [] if profile is None else profile.settings.get(plugin, [])
        given = {} if profile is None else profile.overrides.get(plugin, {})
        for path in engines.values():
            made = load_object(path)
            if settings is None:
                return cast(SqlEngine, made())
            filled, _ = fill(plugin, load_object(settings), layers, os.environ, given)
            return cast(SqlEngine, made(filled))
    if profile is not None:
        raise NotFound(
            f"expected a plugin that runs SQL in profile {profile.name!r}, found none installed; name duckdb in its "
            "plugins, and pip install mix-duckdb"
        )
    raise NotFound("expected a plugin that runs SQL, found none installed; pip install mix-duckdb")
