"""What uvicorn is told, in one process and in several."""

from __future__ import annotations

import logging
import math
from typing import Any

__all__ = ["quiet_uvicorn", "uvicorn_options"]


def uvicorn_options(grace_period: float, tls: tuple[str, str] | None = None) -> dict[str, Any]:
    """Options of uvicorn that are the same with and without workers.

    Args:
        grace_period: seconds in which runs may end when it stops.
        tls: files of the certificates and of their key, if there are some.
    """
    from mix_server.protocol import Protocol

    options: dict[str, Any] = {
        "loop": "uvloop",
        "http": Protocol,
        "ws": "none",
        "lifespan": "on",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        # Nobody asks for the client's address, and what a stranger's header says of it is not to be believed.
        "proxy_headers": False,
        "timeout_graceful_shutdown": math.ceil(grace_period),
    }
    if tls is not None:
        import ssl

        from mix_server.tls import renewing

        options |= {"ssl_certfile": tls[0], "ssl_keyfile": tls[1], "ssl_context_factory": renewing}
        options["ssl_version"] = ssl.PROTOCOL_TLS_SERVER
    return options


def quiet_uvicorn() -> None:
    """uvicorn tells of each start and stop of its parts; who wants to read that sets its logger's level."""
    logger = logging.getLogger("uvicorn")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)
