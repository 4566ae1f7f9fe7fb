"""Settings of the plugin, `[settings.mqtt]` in a profile."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec
from msgspec import Meta

from mixkit import outgoing
from mixkit.egress import EgressPolicy
from mixkit.errors import ProfileError
from mixkit.target import EgressDenied, Target, parse_url
from mixkit.topics import PREFIX

if TYPE_CHECKING:
    import ssl

__all__ = ["MqttSettings"]

MIB = 1024 * 1024
_LEVEL = re.compile(r"[A-Za-z0-9_-]{1,64}")


class MqttSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The broker, and how much of it agents get. Hashable: equal settings share what is made of them."""

    of_project: ClassVar = (
        "connect_timeout", "keepalive", "idle", "in_flight", "queue", "inbox", "inbox_bytes",
        "max_message_bytes", "subscriptions", "connections",
    )  # fmt: skip

    broker: Annotated[
        str,
        Meta(
            description="Where the broker is, mqtts://host[:port]; it must speak MQTT 5. "
            "If empty, messages go between the processes of a server, and no further."
        ),
    ] = ""
    user: Annotated[str, Meta(description="User name for the broker; none if empty.")] = ""
    password: Annotated[str, Meta(description="Password for the broker.")] = ""
    client_certificate: Annotated[
        str,
        Meta(
            extra={"names": "file"},
            description="PEM file of a certificate and its key to show to the broker; none if empty.",
        ),
    ] = ""
    ca_file: Annotated[
        str,
        Meta(
            extra={"names": "authorities"},
            description="PEM file of certificate authorities to trust besides the system's.",
        ),
    ] = ""
    dangerous_mqtt_mode: Annotated[
        bool, Meta(description="Allow plain mqtt, and every address: loopback, private, cloud metadata.")
    ] = False
    allow_private: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses at which the broker may be although they are not public, as 10.1.2.3:8883 or "
            "10.1.0.0/16. A metadata address opens only when named exactly."
        ),
    ] = ()
    prefix: Annotated[
        str,
        Meta(description="First level of what short topics as $app/x stand for; agents reach it only so."),
    ] = PREFIX
    connect_timeout: Annotated[
        float, Meta(gt=0, description="Seconds to resolve, connect and be accepted by the broker.")
    ] = 10.0
    keepalive: Annotated[
        int,
        Meta(
            ge=2, le=3600, description="Seconds of silence after which the broker is asked whether it lives."
        ),
    ] = 30
    idle: Annotated[
        float, Meta(gt=0, description="Seconds after which a connection that nobody uses is closed.")
    ] = 60.0
    in_flight: Annotated[
        int,
        Meta(ge=1, le=1000, description="Messages of a connection that wait for the broker's word at once."),
    ] = 20
    queue: Annotated[
        int,
        Meta(
            ge=1, le=100_000, description="Messages that wait to be sent on a connection; more are refused."
        ),
    ] = 1_000
    inbox: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description="Messages that wait for one subscriber; more are missed, and it is told.",
        ),
    ] = 1_000
    inbox_bytes: Annotated[int, Meta(ge=1024, description="Bytes of these messages.")] = 2 * MIB
    max_message_bytes: Annotated[
        int, Meta(ge=1, le=256 * MIB, description="Bytes of the payload of one message.")
    ] = MIB
    subscriptions: Annotated[int, Meta(ge=1, description="Subscriptions that one run has at once.")] = 20
    connections: Annotated[
        int, Meta(ge=1, description="Connections of one process: one for each app and set of granted topics.")
    ] = 64

    def __post_init__(self) -> None:
        if not _LEVEL.fullmatch(self.prefix):
            raise ProfileError(
                f"expected 1 to 64 letters, digits, _ and -, found {self.prefix!r:.100}",
                "settings.mqtt.prefix",
            )
        if self.password and not self.user:
            raise ProfileError("expected a user as well, found a password alone", "settings.mqtt.user")
        try:
            policy = self.policy()
        except ValueError as exc:
            raise ProfileError(str(exc), "settings.mqtt.allow_private") from None
        if self.broker:
            try:
                target = self.target()
                if target.path != "/":
                    raise EgressDenied(target.host, f"expected no path, found {target.path!r:.100}")
                policy.check_target(target)
            except EgressDenied as exc:
                raise ProfileError(
                    f"{exc.reason}; settings.mqtt.allow_private and dangerous_mqtt_mode open more",
                    "settings.mqtt.broker",
                ) from None

    def target(self) -> Target:
        """Where the broker is. `EgressDenied` for what is no URL; a URL carries no user and no password."""
        return parse_url(self.broker)

    def policy(self) -> EgressPolicy:
        """Where the broker may be."""
        return outgoing.policy("mqtt", self.dangerous_mqtt_mode, self.allow_private)

    def context(self) -> ssl.SSLContext:
        """What verifies the broker's certificate, and shows ours.

        Raises:
            ProfileError: a file cannot be read.
        """
        return _context(self.ca_file, self.client_certificate)


# PERF: reading the system's authorities takes 20 ms.
@functools.lru_cache(maxsize=4)
def _context(ca_file: str, client_certificate: str) -> ssl.SSLContext:
    context = outgoing.trusting("mqtt", ca_file)
    if client_certificate:
        import ssl

        try:
            # Without a function for the password, OpenSSL would ask at the terminal.
            context.load_cert_chain(client_certificate, password=lambda: "")
        except (OSError, ssl.SSLError) as exc:
            # As for `ca_file`: without the path.
            raise ProfileError(
                "cannot be read; `mixkit doctor` says why", "settings.mqtt.client_certificate"
            ) from exc
    return context
