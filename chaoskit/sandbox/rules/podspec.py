"""Defaults of a pod's spec, in a pod and in a workload's template alike. Changes private copies; refuses nothing.

Source: k8s.io/kubernetes pkg/apis/core/v1/defaults.go, restated.
"""

from __future__ import annotations

from typing import Any, Final

Spec = dict[str, Any]

CONTAINER_LISTS: Final = ("initContainers", "containers")
PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")


def set_defaults(spec: Spec) -> None:
    for name in CONTAINER_LISTS:
        for container in _dicts(spec.get(name)):
            _default_container(container)
    for volume in _dicts(spec.get("volumes")):
        _default_volume(volume)
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    _alias_service_account(spec)
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")


def _alias_service_account(spec: Spec) -> None:
    """`serviceAccount` is the old name of `serviceAccountName`; both are shown."""
    name = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if name:
        spec["serviceAccountName"] = spec["serviceAccount"] = name


def _default_container(container: Spec) -> None:
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("imagePullPolicy", _pull_policy(str(container.get("image", ""))))
    for port in _dicts(container.get("ports")):
        port.setdefault("protocol", "TCP")
    for variable in _dicts(container.get("env")):
        _default_field_ref(variable.get("valueFrom"))
    for name in PROBES:
        if isinstance(container.get(name), dict):
            _default_probe(container[name])
    for hook in _dicts(list(_mapping(container.get("lifecycle")).values())):
        _default_http_get(hook.get("httpGet"))
    resources = container["resources"]
    if isinstance(resources, dict) and isinstance(resources.get("limits"), dict):
        resources["requests"] = resources["limits"] | (resources.get("requests") or {})


def _pull_policy(image: str) -> str:
    """Always for `:latest` and for no tag, else IfNotPresent."""
    name, _, tag = image.rpartition("/")[2].partition(":")
    pinned = "@" in name or "@" in tag or tag not in ("", "latest")
    return "IfNotPresent" if pinned else "Always"


def _default_probe(probe: Spec) -> None:
    probe.setdefault("timeoutSeconds", 1)
    probe.setdefault("periodSeconds", 10)
    probe.setdefault("successThreshold", 1)
    probe.setdefault("failureThreshold", 3)
    for key in ("timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        if probe[key] == 0:
            probe[key] = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}[key]
    if probe.get("initialDelaySeconds") == 0:
        del probe["initialDelaySeconds"]
    _default_http_get(probe.get("httpGet"))


def _default_http_get(action: Any) -> None:
    if isinstance(action, dict):
        action.setdefault("path", "/")
        action.setdefault("scheme", "HTTP")


def _default_field_ref(source: Any) -> None:
    if isinstance(source, dict) and isinstance(source.get("fieldRef"), dict):
        source["fieldRef"].setdefault("apiVersion", "v1")


def _default_volume(volume: Spec) -> None:
    if set(volume) <= {"name"}:
        volume["emptyDir"] = {}
    for name in ("configMap", "secret", "projected", "downwardAPI"):
        if isinstance(volume.get(name), dict):
            volume[name].setdefault("defaultMode", 420)
    sources = [volume.get("downwardAPI")]
    sources += [source.get("downwardAPI") for source in _dicts(_mapping(volume.get("projected")).get("sources"))]
    for source in _dicts(sources):
        for item in _dicts(source.get("items")):
            _default_field_ref(item)


def _dicts(value: Any) -> list[Spec]:
    """The mappings of a list; wrong shapes are left for the validation to name."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _mapping(value: Any) -> Spec:
    return value if isinstance(value, dict) else {}
