"""Settings of the server, in a profile under `[settings.server]` or as `MIXKIT_SERVER_<KEY>`.

How long a run may take and how much memory it may have are the kernel's limits `wall_time` and `memory`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from mixkit.addresses import AllowedNetwork
from mixkit.errors import ProfileError

__all__ = ["MAX_WALL_TIME", "ServerSettings"]

MIB = 1024 * 1024

_ORIGIN: Final = re.compile(r"https?://(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")

MAX_WALL_TIME = 300.0
"""Seconds: a request may wait for its answer so long. What takes longer is no request."""


class ServerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the server does, apart from what the kernel's limits say. What is wrong is refused at start."""

    of_project: ClassVar = (
        "port", "workers", "body_limit", "file_limit", "values_limit", "params_limit", "body_timeout",
        "rate_limit", "rate_burst", "max_runs", "max_waiting", "max_wait", "query_timeout",
        "compile_timeout", "answer_limit", "max_streams", "stream_stall", "heartbeat", "grace_period",
        "postpone_timeout", "required", "env", "access_log",
    )  # fmt: skip

    ws_dir: Annotated[
        str, Meta(extra={"names": "folder"}, min_length=1, description="Directory that holds the workspaces.")
    ] = "workspaces"
    host: Annotated[str, Meta(min_length=1, description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 8000
    tls_certs: Annotated[
        str | None,
        Meta(
            extra={"names": "file"},
            description="PEM file of the certificate and its chain, for TLS. Read again when it changes.",
        ),
    ] = None
    tls_key: Annotated[
        str | None, Meta(extra={"names": "file"}, description="PEM file of the certificate's private key.")
    ] = None
    serve_files_from: Annotated[
        str | None,
        Meta(
            extra={"names": "folder"},
            description="Folder whose files everybody may read, where no other path is. No link is followed.",
        ),
    ] = None
    cors_origins: Annotated[
        list[str],
        Meta(description="Origins whose scripts may ask, as https://app.example.org; * is all of them."),
    ] = []
    workers: Annotated[int, Meta(ge=1, le=256, description="Processes that serve.")] = 1
    token: Annotated[
        str | None,
        Meta(description="What callers send as `Authorization: Bearer`; made at start if unset."),
    ] = None
    no_auth: Annotated[
        bool, Meta(description="Ask for no token. Only connections to a loopback address are served then.")
    ] = False
    auth: Annotated[
        Literal["tokens", "spcs"],
        Meta(
            description='Who says who asks: "tokens" that are sent along, or "spcs", the ingress of Snowflake\'s '
            "container services, by a header that is believed there only."
        ),
    ] = "tokens"
    spcs_token_file: Annotated[
        str,
        Meta(
            min_length=1,
            description="Where Snowflake keeps the token of a service; read anew each time that it is needed.",
        ),
    ] = "/snowflake/session/token"
    base_url: Annotated[
        str | None,
        Meta(
            description="Scheme and host under which browsers know the server, as https://agents.example.com."
        ),
    ] = None
    jwks_url: Annotated[
        str | None,
        Meta(
            description="Where the identity provider's keys are, by which tokens of users are verified; https."
        ),
    ] = None
    jwt_audience: Annotated[
        str | None, Meta(description="What the claim aud of users' tokens must have; needed with jwks_url.")
    ] = None
    jwt_issuer: Annotated[str | None, Meta(description="What the claim iss of users' tokens must be.")] = None
    server_key: Annotated[
        str | None,
        Meta(
            extra={"lines": True},
            description="Private key on P-256, PEM or that in base64, by which this server signs tokens; derived from "
            "the key ring without it.",
        ),
    ] = None
    workspace_creators: Annotated[
        list[str],
        Meta(
            description="Who may make workspaces beside the operator: subjects, as all-users or domain/HOST."
        ),
    ] = []
    body_limit: Annotated[
        int, Meta(ge=1024, description="Bytes of an uploaded package, and of records to save.")
    ] = 32 * MIB
    file_limit: Annotated[int, Meta(ge=1, description="Bytes of a file that is uploaded.")] = 1024 * MIB
    uploads_limit: Annotated[
        int, Meta(ge=1, description="Bytes of all files together that come in parts and are not whole yet.")
    ] = 16 * 1024 * MIB
    values_limit: Annotated[
        int, Meta(ge=1, description="Values, keys included, in a body of records, a query or parameters.")
    ] = 500_000
    transfer_limit: Annotated[int, Meta(ge=1024, description="Bytes of an export that is imported.")] = (
        1024 * MIB
    )
    transfer_timeout: Annotated[
        float, Meta(gt=0, description="Seconds in which an export must have come, or gone to another server.")
    ] = 3600.0
    params_limit: Annotated[int, Meta(ge=0, description="Bytes of parameters of an agent or a query.")] = MIB
    body_timeout: Annotated[float, Meta(gt=0, description="Seconds in which a body must arrive.")] = 30.0
    rate_limit: Annotated[
        float,
        Meta(
            ge=0,
            le=1e6,
            description="Requests a second of each caller but the operator; 0 is without a limit.",
        ),
    ] = 0.0
    rate_burst: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Requests that a caller may send at once, with rate_limit.")
    ] = 100
    max_runs: Annotated[int, Meta(ge=1, description="Runs that compute at once in each process.")] = 16
    max_waiting_runs: Annotated[
        int, Meta(ge=1, description="Runs in each process that wait for what they called, beside those.")
    ] = 5_000
    max_memory: Annotated[
        int,
        Meta(
            ge=16 * MIB,
            description="Bytes of all guests' memories in each process, beyond which no run is let in; those that are "
            "kept for the next runs count, `settings.kernel.idle_bytes`.",
        ),
    ] = 4096 * MIB
    max_waiting: Annotated[int, Meta(ge=0, description="Runs that wait for a turn in each process.")] = 256
    max_wait: Annotated[float, Meta(gt=0, description="Seconds that a run waits for a turn.")] = 30.0
    caller_share: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            description="Part that one caller, but the operator, may have of the runs that wait, of the streams, the "
            "transfers and the compilations in each process.",
        ),
    ] = 0.5
    query_timeout: Annotated[
        float, Meta(gt=0, le=300, description="Seconds of work of a query; a caller may ask for less.")
    ] = 30.0
    compile_timeout: Annotated[
        float, Meta(gt=0, le=300, description="Seconds in which a compiler must be done.")
    ] = 20.0
    remote_compile_server: Annotated[
        str | None, Meta(description="Base URL of the server that compiles instead of this one.")
    ] = None
    remote_compile_token: Annotated[str | None, Meta(description="What that server takes as a token.")] = None
    answer_limit: Annotated[
        int, Meta(ge=1024, description="Bytes of an answer from a database, unless it is streamed.")
    ] = 32 * MIB
    max_streams: Annotated[
        int,
        Meta(ge=0, description="Live queries, followed topics and streamed answers at once in each process."),
    ] = 256
    stream_stall: Annotated[
        float, Meta(gt=0, description="Seconds that a client may take nothing of a stream.")
    ] = 60.0
    live_memory: Annotated[
        int,
        Meta(
            ge=0,
            description="Bytes of events of live queries and topics in each process that clients have not taken yet; "
            "the newest is kept anyway.",
        ),
    ] = 64 * MIB
    heartbeat: Annotated[
        float,
        Meta(
            gt=0,
            le=30,
            description="Seconds between signs of life of a stream of events: proxies close what is silent, most "
            "of them after a minute.",
        ),
    ] = 15.0
    grace_period: Annotated[
        float, Meta(gt=0, le=3600, description="Seconds that runs get to finish when the server stops.")
    ] = 30.0
    postpone_timeout: Annotated[
        float,
        Meta(
            gt=0,
            le=3600,
            description="Seconds that idle actions may take, once the answer is sent, and runs, with their wait for a "
            "turn, whose callers do not wait for them.",
        ),
    ] = 60.0
    required: Annotated[
        list[str],
        Meta(
            description="Checks of `mixkit doctor`, by name, as `duckdb: duckdb confinement`, that must be ok: the "
            "server does not start otherwise."
        ),
    ] = []
    env: Annotated[dict[str, Any], Meta(description="Added to every agent's environment.")] = {}
    provider_networks: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses of identity providers that are not public, as 10.1.2.3:443 or 10.1.0.0/16, to which "
            "users may connect accounts; only https is spoken."
        ),
    ] = ()
    provider_plain: Annotated[
        bool,
        Meta(
            description="Speak plain http with identity providers too, and reach every address: for development."
        ),
    ] = False
    provider_ca_file: Annotated[
        str,
        Meta(
            extra={"names": "authorities"},
            description="PEM file of certificate authorities to trust of identity providers, besides the system's.",
        ),
    ] = ""
    provider_timeout: Annotated[
        float, Meta(gt=0, le=60, description="Seconds in which an identity provider must have answered.")
    ] = 10.0
    access_log: Annotated[
        bool, Meta(description="Log each request, without its query string, on `mixkit.server.access`.")
    ] = False

    def __post_init__(self) -> None:
        if self.remote_compile_token is not None and self.remote_compile_server is None:
            raise ValueError("remote_compile_token: expected remote_compile_server beside it, found none")
        if self.base_url is not None and not _ORIGIN.fullmatch(self.base_url):
            raise ValueError(
                "base_url: expected scheme and host and nothing behind them, as https://agents.example.com, "
                f"found {self.base_url!r}"
            )
        for network in self.provider_networks:
            try:
                AllowedNetwork.parse(network)
            except ValueError as exc:
                raise ProfileError(str(exc), "settings.server.provider_networks") from None
