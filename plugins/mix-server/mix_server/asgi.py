"""The application for a server that somebody else starts:

    gunicorn -k uvicorn_worker.UvicornWorker -w 4 --preload mix_server.asgi:app

`app` is made when it is first asked for, from the profile that `MIXKIT_PROFILE` names (`agent_server`), the
file that `MIXKIT_CONFIG` names and `MIXKIT_…` variables, so importing this module needs none of them.
Address and processes are that server's business: `host`, `port`, `workers`, `grace_period` say nothing here, and with
`tls_certs` and `tls_key` it does not start, since nothing would be encrypted by them.
Workers that start one by one must all take the same token, so set `MIXKIT_SERVER_TOKEN` (or `no_auth`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mix_server.app import App
    from mix_server.settings import ServerSettings

    app: App

__all__ = ["app"]


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = _make()
    globals()["app"] = made
    return made


def _make() -> App:
    from mix_server.app import create_app
    from mix_server.required import check_required
    from mix_server.server import Server
    from mixkit.cli import logs
    from mixkit.cli.session import DEFAULT_PROFILE, PROFILE_VARIABLE
    from mixkit.errors import ProfileError
    from mixkit.kernel import Kernel

    logs.configure(
        os.environ.get("MIXKIT_LOG_LEVEL", "warning"), os.environ.get("MIXKIT_LOG_FORMAT", "pretty")
    )
    kernel = Kernel(os.environ.get(PROFILE_VARIABLE) or DEFAULT_PROFILE)
    check_required(kernel, kernel.settings("server").required)
    settings: ServerSettings = kernel.settings("server")
    for name in ("tls_certs", "tls_key"):
        if getattr(settings, name) is not None:
            raise ProfileError(
                "expected none where another server has the connections: give it the certificate (gunicorn --certfile "
                f"and --keyfile), found {getattr(settings, name)!r}",
                f"settings.server.{name}",
            )
    return create_app(Server(kernel))
