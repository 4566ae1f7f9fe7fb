"""MQTT for agents of mixkit, behind the one egress check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from mixkit.bus import Bus
    from mixkit.contracts import Check
    from mixkit.ffi import Registry
    from mixkit.topics import Carrier

__all__: list[str] = []


@hookimpl
def mix_ffis(registry: Registry) -> None:
    from mix_mqtt.ffis import group

    registry.add(group)


@hookimpl
def mix_settings() -> str:
    return "mix_mqtt.settings:MqttSettings"


@hookimpl
def mix_topics(kernel: Any) -> Carrier:
    from mixkit.topics import Carrier

    settings = kernel.settings("mqtt")

    def broker() -> Bus:
        from mix_mqtt.bus import BrokerBus

        return BrokerBus(settings)

    return Carrier(settings.prefix, broker if settings.broker else None)


@hookimpl
def mix_doctor(kernel: Any) -> list[Check]:
    from mix_mqtt.doctor import checks

    return checks(kernel.settings("mqtt"))
