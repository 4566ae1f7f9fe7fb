"""Cookies within one call: what a hop sets goes along to the later hops of its own origin, and ends with the call."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Final

from yarl import URL

from mixkit.header_fields import Fields
from mixkit.target import Target

if TYPE_CHECKING:
    from aiohttp import CookieJar

    from mix_http.message import Answer

__all__ = ["Cookies"]

Origin = tuple[str, str, int]

_LONGEST: Final = 4_096
"""Characters of a cookie, with all that is said of it: browsers keep no longer one, and some take long to read."""


class Cookies:
    """Kept by origin: one host never gets those of another, whatever `Domain` they name."""

    def __init__(self) -> None:
        self._jars: dict[Origin, CookieJar] = {}
        self._set: dict[Origin, Fields] = {}

    def take(self, target: Target, answer: Answer) -> None:
        """Keep what an answer sets."""
        fields = [field for field in answer.headers if field[0].lower() == "set-cookie"]
        if not fields:
            return
        from aiohttp import CookieJar

        # Of loopback and bare addresses too: the jar serves this origin only.
        jar = self._jars.setdefault(target.origin, CookieJar(unsafe=True))
        for _, value in fields:
            if len(value) > _LONGEST:
                continue
            cookie: SimpleCookie = SimpleCookie()
            try:
                cookie.load(value)
            except CookieError:
                continue
            jar.update_cookies(cookie, URL(target.url, encoded=True))
        self._set.setdefault(target.origin, []).extend(fields)

    def give(self, target: Target, fields: Fields) -> Fields:
        """The fields of a request with the cookies for it, behind those that the agent gave by itself."""
        jar = self._jars.get(target.origin)
        if jar is None:
            return fields
        own = [value for name, value in fields if name.lower() == "cookie"]
        kept = [
            f"{name}={morsel.coded_value}"
            for name, morsel in jar.filter_cookies(URL(target.url, encoded=True)).items()
            if not any(name == pair.partition("=")[0].strip() for text in own for pair in text.split(";"))
        ]
        if not kept:
            return fields
        others = [field for field in fields if field[0].lower() != "cookie"]
        return [*others, ("Cookie", "; ".join([*own, *kept]))]

    def shown(self, target: Target) -> Fields:
        """The `Set-Cookie` fields of the hops before the last, as far as they are of its origin."""
        return self._set.get(target.origin, [])
