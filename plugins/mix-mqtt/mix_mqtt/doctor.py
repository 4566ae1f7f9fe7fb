"""What `mixkit doctor` says about messages."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from mix_mqtt.settings import MqttSettings
from mixkit import outgoing
from mixkit.contracts import Check

__all__ = ["checks"]


def checks(settings: MqttSettings) -> list[Check]:
    """The findings: where messages go, and whether certificates can be verified and shown."""
    if not settings.broker:
        return [
            Check(
                "mqtt broker",
                "ok",
                "none is set: messages go between the processes that serve the same workspaces on this machine",
            )
        ]
    return [_broker(settings), _certificates(settings)]


def _broker(settings: MqttSettings) -> Check:
    where = settings.target().netloc
    if settings.dangerous_mqtt_mode:
        return Check(
            "mqtt broker",
            "warning",
            f"{where}, dangerous_mqtt_mode: plain mqtt and every address are allowed",
            "unset settings.mqtt.dangerous_mqtt_mode unless this machine is for development",
        )
    return Check("mqtt broker", "ok", f"{where}, over TLS")


def _certificates(settings: MqttSettings) -> Check:
    files: tuple[tuple[str, str, str, Callable[[str], object]], ...] = (
        (
            "ca_file",
            settings.ca_file,
            "of certificate authorities",
            lambda path: ssl.create_default_context(cafile=path),
        ),
        (
            "client_certificate",
            settings.client_certificate,
            "with a certificate and its key",
            lambda path: ssl.create_default_context().load_cert_chain(path, password=lambda: ""),
        ),
    )
    for key, path, what, load in files:
        found = outgoing.file_finding("mqtt", key, path, what, load) if path else None
        if found is not None:
            return found
    return Check("mqtt certificates", "ok", "the broker's certificate is verified")
