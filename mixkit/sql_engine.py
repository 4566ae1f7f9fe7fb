"""The engine for SQL of a process that has no profile: that of the first installed plugin which offers one."""

from __future__ import annotations

import functools
import os
from typing import cast

from mixkit.errors import NotFound
from mixkit.plugins import offered
from mixkit.settings import fill, load_object
from mixkit.sql import SqlEngine

__all__ = ["sql_engine"]


@functools.cache
def sql_engine() -> SqlEngine:
    """The engine, the same one each time. Its settings are those of the environment: `MIXKIT_DUCKDB_THREADS`.

    Raises:
        NotFound: no installed plugin offers one.
        ProfileError: a setting in the environment is wrong.
        MixError: it cannot be made.
    """
    for plugin, engines in offered("mix_sql"):
        settings = dict(offered("mix_settings")).get(plugin)
        for path in engines.values():
            made = load_object(path)
            if settings is None:
                return cast(SqlEngine, made())
            filled, _ = fill(plugin, load_object(settings), [], os.environ, {})
            return cast(SqlEngine, made(filled))
    raise NotFound("expected a plugin that runs SQL, found none installed; pip install mix-duckdb")
