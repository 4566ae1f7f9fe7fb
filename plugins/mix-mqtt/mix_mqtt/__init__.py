"""MQTT for agents of mixkit, behind the one egress check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from mixkit.contracts import Check
    from mixkit.ffi import Registry

__all__: list[str] = []


@hookimpl
def mix_ffis(registry: Registry) -> None:
    from mix_mqtt.ffis import group

    registry.add(group)


@hookimpl
def mix_settings() -> str:
    return "mix_mqtt.settings:MqttSettings"


@hookimpl
def mix_doctor(kernel: Any) -> list[Check]:
    from mix_mqtt.doctor import checks

    return checks(kernel.settings("mqtt"))
