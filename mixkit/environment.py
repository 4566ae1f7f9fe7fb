"""The environment of a run: who asks, for which app, on what kind of host. Built once per run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

import msgspec

from mixkit import codec
from mixkit.value import Token

__all__ = ["Env", "HostEnvironment", "Platform"]

HostEnvironment = Literal["AgentServer", "Builder", "Server", "Web", "Widget"]
Platform = Literal["Web", "Desktop", "Mobile"]


class Env(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What an agent may know about its surroundings.

    `token` and `origin_secret` are credentials: FFIs may use them, an agent sees only opaque Tokens.
    `extra` is what `--env`, the settings of the app and the caller add; its keys win over none of the others.
    `base` is the environment that this one is for a request of (`for_request`); agents do not see it.
    """

    user: str | None = None
    workspace: str | None = None
    app: str | None = None
    surface: str | None = None
    org: str | None = None
    host_environment: HostEnvironment = "Server"
    timezone: str = "UTC"
    platform: Platform = "Web"
    os: str = "linux"
    urls: dict[str, str] = {}
    request_headers: Mapping[str, str] = {}
    request_body: bytes | None = None
    token: Token | None = None
    origin_secret: Token | None = None
    extra: dict[str, Any] = {}
    base: Env | None = None

    def for_request(self, *, user: str | None, headers: Mapping[str, str], body: bytes | None) -> Env:
        """This environment for one request. What `static` answers stays the same, so it is worked out once."""
        return msgspec.structs.replace(
            self, user=user, request_headers=headers, request_body=body, base=self.base or self
        )

    def static(self) -> Env:
        """The part that is the same for every run of an app: what `mix_init` sees, and a snapshot may keep."""
        return msgspec.structs.replace(
            self, user=None, request_headers={}, request_body=None, token=None, origin_secret=None, base=None
        )

    def static_words(self) -> bytes:
        """Codec words of `static`, worked out once for this environment and all that are for requests of it."""
        # Nothing of a request may outlive it: what is remembered of an environment goes with it.
        return (self.base or self)._static_words

    @cached_property
    def _static_words(self) -> bytes:
        return codec.encode(self.static().to_value())

    def to_value(self) -> dict[str, Any]:
        """As the Map that agents read, with the original's camelCase names; absent parts are left out."""
        value: dict[str, Any] = {
            **self.extra,
            "user": self.user,
            "workspace": self.workspace,
            "app": self.app,
            "surface": self.surface,
            "org": self.org,
            "hostEnvironment": self.host_environment,
            "timezone": self.timezone,
            "platform": self.platform,
            "os": self.os,
            "urls": self.urls or None,
            "requestHeaders": dict(self.request_headers) or None,
            "requestBody": self.request_body,
            "token": self.token,
            "originSecret": self.origin_secret,
        }
        return {key: item for key, item in value.items() if item is not None}
