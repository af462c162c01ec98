"""Validation of a pod's spec, in a pod and in a workload's template alike. Names causes; changes nothing.

Source: k8s.io/kubernetes pkg/apis/core/validation/validation.go, restated for the fields that the sandbox honours.
"""

from __future__ import annotations

from typing import Any, Final

from chaoskit.sandbox.errors import Cause, bad_value, duplicate, field_forbidden, required, unsupported
from chaoskit.sandbox.metadata import LABEL_RULE, is_label
from chaoskit.sandbox.quantity import is_quantity
from chaoskit.sandbox.rules.podspec import CONTAINER_LISTS, PROBES

Spec = dict[str, Any]

_PROBE_ACTIONS: Final = ("exec", "httpGet", "tcpSocket", "grpc")
_HOOK_ACTIONS: Final = ("exec", "httpGet", "tcpSocket", "sleep")
_PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
_HOST_NETWORK: Final = "the sandbox gives every pod an address of its own; host networking is not supported"


def validate_spec(spec: Any, where: str) -> list[Cause]:
    """All causes for which a pod spec at path `where` would be refused."""
    if not isinstance(spec, dict):
        return [required(where)]
    if not isinstance(spec.get("containers"), list):
        return [required(f"{where}.containers")]
    causes = _validate_volumes(spec, where)
    names: set[str] = set()
    for name in CONTAINER_LISTS:
        for index, container in enumerate(spec.get(name) or ()):
            causes += _validate_container(container, f"{where}.{name}[{index}]", names, _volume_names(spec))
    causes += _one_of(spec, "restartPolicy", ("Always", "Never", "OnFailure"), where)
    causes += _at_least(spec, "activeDeadlineSeconds", 1, where)
    if spec.get("hostNetwork"):
        causes.append(field_forbidden(f"{where}.hostNetwork", _HOST_NETWORK))
    return causes + _validate_tolerations(spec.get("tolerations") or (), where)


def _volume_names(spec: Spec) -> set[str]:
    return {str(volume.get("name")) for volume in spec.get("volumes") or () if isinstance(volume, dict)}


def _validate_volumes(spec: Spec, where: str) -> list[Cause]:
    causes: list[Cause] = []
    seen: set[str] = set()
    for index, volume in enumerate(spec.get("volumes") or ()):
        at = f"{where}.volumes[{index}]"
        if not isinstance(volume, dict):
            causes.append(bad_value(at, volume, "must be a mapping"))
            continue
        causes += _unique_label(volume.get("name"), f"{at}.name", seen)
        sources = set(volume) - {"name"}
        if len(sources) > 1:
            causes.append(field_forbidden(f"{at}.{sorted(sources)[1]}", "may not specify more than 1 volume type"))
    return causes


def _unique_label(name: Any, at: str, seen: set[str]) -> list[Cause]:
    if not isinstance(name, str) or not name:
        return [required(at)]
    if not is_label(name):
        return [bad_value(at, name, LABEL_RULE)]
    if name in seen:
        return [duplicate(at, name)]
    seen.add(name)
    return []


def _validate_container(container: Any, at: str, names: set[str], volumes: set[str]) -> list[Cause]:
    if not isinstance(container, dict):
        return [bad_value(at, container, "must be a mapping")]
    causes = _unique_label(container.get("name"), f"{at}.name", names)
    if not isinstance(container.get("image"), str) or not container["image"].strip():
        causes.append(required(f"{at}.image"))
    for key in ("command", "args"):
        causes += _strings(container.get(key), f"{at}.{key}")
    causes += _one_of(container, "imagePullPolicy", _PULL_POLICIES, at)
    causes += _validate_ports(container.get("ports") or (), f"{at}.ports")
    causes += _validate_env(container.get("env") or (), f"{at}.env")
    causes += _validate_mounts(container.get("volumeMounts") or (), f"{at}.volumeMounts", volumes)
    causes += _validate_resources(container.get("resources") or {}, f"{at}.resources")
    for name in PROBES:
        if name in container:
            causes += _validate_probe(container[name], f"{at}.{name}", name)
    return causes + _validate_lifecycle(container.get("lifecycle") or {}, f"{at}.lifecycle")


def _strings(value: Any, at: str) -> list[Cause]:
    if value is None:
        return []
    if not isinstance(value, list):
        return [bad_value(at, value, "must be a list of strings")]
    return [
        bad_value(f"{at}[{index}]", item, "must be a string")
        for index, item in enumerate(value)
        if not isinstance(item, str)
    ]


def _validate_ports(ports: Any, at: str) -> list[Cause]:
    causes: list[Cause] = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        causes += _port_number(port.get("containerPort"), f"{at}[{index}].containerPort")
        causes += _one_of(port, "protocol", ("SCTP", "TCP", "UDP"), f"{at}[{index}]")
        name = port.get("name")
        if name is not None and name in seen:
            causes.append(duplicate(f"{at}[{index}].name", name))
        seen.add(str(name))
    return causes


def _port_number(value: Any, at: str) -> list[Cause]:
    if value is None:
        return [required(at)]
    if not isinstance(value, int) or not 1 <= value <= 65535:
        return [bad_value(at, value, "must be between 1 and 65535, inclusive")]
    return []


def validate_port_reference(value: Any, at: str) -> list[Cause]:
    """A port given by number or by name."""
    if isinstance(value, str) and not value.isdigit():
        named = 0 < len(value) <= 15 and is_label(value)
        return (
            []
            if named
            else [bad_value(at, value, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")]
        )
    return _port_number(value, at)


def _validate_env(env: Any, at: str) -> list[Cause]:
    causes = []
    for index, variable in enumerate(env):
        name = variable.get("name")
        if not isinstance(name, str) or not name or "=" in name:
            causes.append(
                required(f"{at}[{index}].name")
                if not name
                else bad_value(f"{at}[{index}].name", name, "must not contain '='")
            )
        value = variable.get("value")
        if value is not None and not isinstance(value, str):
            causes.append(bad_value(f"{at}[{index}].value", value, "must be a string"))
        if value and variable.get("valueFrom") is not None:
            causes.append(bad_value(f"{at}[{index}].valueFrom", "", "may not be specified when `value` is not empty"))
    return causes


def _validate_mounts(mounts: Any, at: str, volumes: set[str]) -> list[Cause]:
    causes: list[Cause] = []
    seen: set[str] = set()
    for index, mount in enumerate(mounts):
        name, path = mount.get("name"), mount.get("mountPath")
        if not name:
            causes.append(required(f"{at}[{index}].name"))
        elif name not in volumes:
            causes.append(Cause(f"{at}[{index}].name", "FieldValueNotFound", f'Not found: "{name}"'))
        if not path:
            causes.append(required(f"{at}[{index}].mountPath"))
        elif path in seen:
            causes.append(bad_value(f"{at}[{index}].mountPath", path, "must be unique"))
        seen.add(str(path))
    return causes


def _validate_resources(resources: Any, at: str) -> list[Cause]:
    causes = []
    for side in ("limits", "requests"):
        for name, amount in (resources.get(side) or {}).items():
            if not is_quantity(amount):
                causes.append(bad_value(f"{at}.{side}.{name}", amount, "must be a quantity, such as 500m or 64Mi"))
    return causes


def _validate_probe(probe: Any, at: str, name: str) -> list[Cause]:
    causes = _one_action(probe, _PROBE_ACTIONS, at)
    for key in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        causes += _at_least(probe, key, 0, at)
    if name != "readinessProbe" and probe.get("successThreshold") != 1:
        causes.append(bad_value(f"{at}.successThreshold", probe.get("successThreshold"), "must be 1"))
    if name == "readinessProbe" and "terminationGracePeriodSeconds" in probe:
        causes.append(
            bad_value(
                f"{at}.terminationGracePeriodSeconds",
                probe["terminationGracePeriodSeconds"],
                "must not be set for readinessProbes",
            )
        )
    return causes


def _validate_lifecycle(lifecycle: Spec, at: str) -> list[Cause]:
    causes: list[Cause] = []
    for hook in ("postStart", "preStop"):
        if hook in lifecycle:
            causes += _one_action(lifecycle[hook], _HOOK_ACTIONS, f"{at}.{hook}")
    return causes


def _one_action(handler: Any, actions: tuple[str, ...], at: str) -> list[Cause]:
    chosen = [action for action in actions if action in handler]
    if not chosen:
        return [required(at, "must specify a handler type")]
    if len(chosen) > 1:
        return [field_forbidden(f"{at}.{chosen[1]}", "may not specify more than 1 handler type")]
    action = handler[chosen[0]]
    if chosen[0] in ("httpGet", "tcpSocket"):
        return validate_port_reference(action.get("port"), f"{at}.{chosen[0]}.port")
    if chosen[0] == "exec":
        return [] if action.get("command") else [required(f"{at}.exec.command")]
    return []


def _validate_tolerations(tolerations: Any, where: str) -> list[Cause]:
    causes: list[Cause] = []
    for index, toleration in enumerate(tolerations):
        at = f"{where}.tolerations[{index}]"
        causes += _one_of(toleration, "operator", ("Equal", "Exists", ""), at)
        causes += _one_of(toleration, "effect", ("NoExecute", "NoSchedule", "PreferNoSchedule", ""), at)
        if toleration.get("tolerationSeconds") is not None and toleration.get("effect") != "NoExecute":
            causes.append(
                bad_value(
                    f"{at}.effect",
                    toleration.get("effect", ""),
                    "effect must be 'NoExecute' when `tolerationSeconds` is set",
                )
            )
    return causes


def _one_of(mapping: Spec, key: str, choices: tuple[str, ...], at: str) -> list[Cause]:
    value = mapping.get(key)
    return [] if value is None or value in choices else [unsupported(f"{at}.{key}", value, [c for c in choices if c])]


def _at_least(mapping: Spec, key: str, least: int, at: str) -> list[Cause]:
    value = mapping.get(key)
    if value is None:
        return []
    if not isinstance(value, int) or isinstance(value, bool):
        return [bad_value(f"{at}.{key}", value, "must be a whole number")]
    return [] if value >= least else [bad_value(f"{at}.{key}", value, f"must be greater than or equal to {least}")]
