"""What `mixkit doctor` says about messages."""

from __future__ import annotations

import ssl
from pathlib import Path

from mix_mqtt.settings import MqttSettings
from mixkit.contracts import Check

__all__ = ["checks"]


def checks(settings: MqttSettings) -> list[Check]:
    """The findings: where messages go, and whether certificates can be verified and shown."""
    if not settings.broker:
        return [
            Check(
                "mqtt broker",
                "ok",
                "none is set: messages stay inside each process, a worker hears its own alone",
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
    for name, path in (("ca_file", settings.ca_file), ("client_certificate", settings.client_certificate)):
        try:
            if path and name == "ca_file":
                ssl.create_default_context(cafile=path)
            elif path:
                ssl.create_default_context().load_cert_chain(path, password=lambda: "")
        except (OSError, ssl.SSLError) as exc:
            state = "unreadable" if Path(path).exists() else "missing"
            return Check(
                "mqtt certificates",
                "error",
                f"{name} {path} is {state}: {exc}",
                f"let settings.mqtt.{name} name a PEM file"
                + (" of certificate authorities" if name == "ca_file" else " with a certificate and its key"),
            )
    return Check("mqtt certificates", "ok", "the broker's certificate is verified")
