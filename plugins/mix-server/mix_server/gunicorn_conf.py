"""For gunicorn on its own: `gunicorn -c python:mix_server.gunicorn_conf mix_server.asgi:app`.

Workers as those of `mixkit serve --workers`, and metrics that count for all of them.
"""

from __future__ import annotations

import shutil
from typing import Any

from mix_server.metrics import forget_process, shared_directory

worker_class = "mix_server.workers.Worker"

# NOTE: without a path it is one for all masters of a user, who would steer each other.
control_socket_disable = True

_directory = shared_directory()


def child_exit(arbiter: Any, worker: Any) -> None:
    """A worker has ended."""
    forget_process(worker.pid)


def on_exit(arbiter: Any) -> None:
    """The parent ends."""
    if _directory:
        shutil.rmtree(_directory, ignore_errors=True)
