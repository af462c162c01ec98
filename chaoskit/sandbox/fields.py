"""The fields of the served kinds as one table of data: a form per field. Checks nothing itself."""

from __future__ import annotations

from typing import Any, Final

STRING: Final = "string"
INT: Final = "integer"
BOOL: Final = "boolean"
PORT: Final = "port"
QUANTITY: Final = "quantity"
STRINGS: Final = "strings"
QUANTITIES: Final = "quantities"
ANY: Final = "any"
UNHONOURED: Final = "unhonoured"

Form = Any

_METADATA: Final[dict[str, Form]] = {
    "name": STRING,
    "generateName": STRING,
    "namespace": STRING,
    "selfLink": ANY,
    "uid": STRING,
    "resourceVersion": STRING,
    "generation": INT,
    "creationTimestamp": ANY,
    "deletionTimestamp": ANY,
    "deletionGracePeriodSeconds": INT,
    "labels": STRINGS,
    "annotations": STRINGS,
    "ownerReferences": [
        {
            "apiVersion": STRING,
            "kind": STRING,
            "name": STRING,
            "uid": STRING,
            "controller": BOOL,
            "blockOwnerDeletion": BOOL,
        }
    ],
    "finalizers": [STRING],
    "managedFields": ANY,
}
_TOP: Final[dict[str, Form]] = {"kind": STRING, "apiVersion": STRING, "metadata": _METADATA, "status": ANY}
_KEY_REF: Final = {"name": STRING, "key": STRING, "optional": BOOL}
_ENV: Final[dict[str, Form]] = {
    "name": STRING,
    "value": STRING,
    "valueFrom": {
        "configMapKeyRef": _KEY_REF,
        "secretKeyRef": _KEY_REF,
        "fieldRef": {"apiVersion": STRING, "fieldPath": STRING},
        "resourceFieldRef": {"containerName": STRING, "resource": STRING, "divisor": QUANTITY},
        "fileKeyRef": UNHONOURED,
    },
}
_ENV_FROM: Final = {
    "prefix": STRING,
    "configMapRef": {"name": STRING, "optional": BOOL},
    "secretRef": {"name": STRING, "optional": BOOL},
}
_HTTP_GET: Final[dict[str, Form]] = {
    "path": STRING,
    "port": PORT,
    "host": STRING,
    "scheme": STRING,
    "httpHeaders": [{"name": STRING, "value": STRING}],
}
_ACTIONS: Final[dict[str, Form]] = {
    "exec": {"command": [STRING]},
    "httpGet": _HTTP_GET,
    "tcpSocket": {"port": PORT, "host": STRING},
}
_PROBE: Final = _ACTIONS | {
    "grpc": UNHONOURED,
    "initialDelaySeconds": INT,
    "timeoutSeconds": INT,
    "periodSeconds": INT,
    "successThreshold": INT,
    "failureThreshold": INT,
    "terminationGracePeriodSeconds": INT,
}
_HOOK: Final = _ACTIONS | {"sleep": {"seconds": INT}}
_CONTAINER: Final[dict[str, Form]] = {
    "name": STRING,
    "image": STRING,
    "command": [STRING],
    "args": [STRING],
    "workingDir": STRING,
    "ports": [{"name": STRING, "containerPort": INT, "protocol": STRING, "hostPort": UNHONOURED, "hostIP": UNHONOURED}],
    "env": [_ENV],
    "envFrom": [_ENV_FROM],
    "resources": {"limits": QUANTITIES, "requests": QUANTITIES, "claims": UNHONOURED},
    "volumeMounts": [
        {
            "name": STRING,
            "mountPath": STRING,
            "subPath": STRING,
            "readOnly": BOOL,
            "subPathExpr": UNHONOURED,
            "mountPropagation": UNHONOURED,
            "recursiveReadOnly": UNHONOURED,
        }
    ],
    "volumeDevices": UNHONOURED,
    "livenessProbe": _PROBE,
    "readinessProbe": _PROBE,
    "startupProbe": _PROBE,
    "lifecycle": {"postStart": _HOOK, "preStop": _HOOK, "stopSignal": UNHONOURED},
    "terminationMessagePath": STRING,
    "terminationMessagePolicy": STRING,
    "imagePullPolicy": STRING,
    "restartPolicy": STRING,
    "restartPolicyRules": UNHONOURED,
    "resizePolicy": ANY,
    "securityContext": ANY,
    "stdin": UNHONOURED,
    "stdinOnce": UNHONOURED,
    "tty": UNHONOURED,
}
_ITEMS: Final = [{"key": STRING, "path": STRING, "mode": INT}]
_DOWNWARD: Final = {
    "items": [
        {
            "path": STRING,
            "mode": INT,
            "fieldRef": {"apiVersion": STRING, "fieldPath": STRING},
            "resourceFieldRef": {"containerName": STRING, "resource": STRING, "divisor": QUANTITY},
        }
    ]
}
_VOLUME: Final[dict[str, Form]] = {
    "name": STRING,
    "emptyDir": {"medium": STRING, "sizeLimit": QUANTITY},
    "configMap": {"name": STRING, "items": _ITEMS, "defaultMode": INT, "optional": BOOL},
    "secret": {"secretName": STRING, "items": _ITEMS, "defaultMode": INT, "optional": BOOL},
    "downwardAPI": _DOWNWARD | {"defaultMode": INT},
    "persistentVolumeClaim": {"claimName": STRING, "readOnly": BOOL},
    "projected": {
        "defaultMode": INT,
        "sources": [
            {
                "configMap": {"name": STRING, "items": _ITEMS, "optional": BOOL},
                "secret": {"name": STRING, "items": _ITEMS, "optional": BOOL},
                "downwardAPI": _DOWNWARD,
                "serviceAccountToken": {"path": STRING, "audience": STRING, "expirationSeconds": INT},
                "clusterTrustBundle": UNHONOURED,
                "podCertificate": UNHONOURED,
            }
        ],
    },
} | dict.fromkeys(
    (
        "hostPath",
        "ephemeral",
        "csi",
        "nfs",
        "iscsi",
        "fc",
        "image",
        "gitRepo",
        "flexVolume",
    ),
    UNHONOURED,
)
POD_SPEC: Final[dict[str, Form]] = {
    "containers": [_CONTAINER],
    "initContainers": [_CONTAINER],
    "volumes": [_VOLUME],
    "restartPolicy": STRING,
    "terminationGracePeriodSeconds": INT,
    "activeDeadlineSeconds": INT,
    "nodeName": STRING,
    "nodeSelector": STRINGS,
    "affinity": ANY,
    "tolerations": [{"key": STRING, "operator": STRING, "value": STRING, "effect": STRING, "tolerationSeconds": INT}],
    "topologySpreadConstraints": ANY,
    "schedulerName": STRING,
    "serviceAccountName": STRING,
    "serviceAccount": STRING,
    "automountServiceAccountToken": BOOL,
    "enableServiceLinks": BOOL,
    "securityContext": ANY,
    "dnsPolicy": STRING,
    "hostNetwork": BOOL,
    "hostname": STRING,
    "subdomain": STRING,
    "priority": INT,
    "priorityClassName": STRING,
    "preemptionPolicy": STRING,
    "imagePullSecrets": ANY,
    "readinessGates": [{"conditionType": STRING}],
    "os": ANY,
} | dict.fromkeys(
    (
        "dnsConfig",
        "ephemeralContainers",
        "hostAliases",
        "hostIPC",
        "hostPID",
        "hostUsers",
        "hostnameOverride",
        "overhead",
        "resourceClaims",
        "resources",
        "runtimeClassName",
        "schedulingGates",
        "setHostnameAsFQDN",
        "shareProcessNamespace",
        "workloadRef",
    ),
    UNHONOURED,
)
_SELECTOR: Final = {
    "matchLabels": STRINGS,
    "matchExpressions": [{"key": STRING, "operator": STRING, "values": [STRING]}],
}
_TEMPLATE: Final = {"metadata": _METADATA, "spec": POD_SPEC}
_WORKLOAD: Final = {"replicas": INT, "selector": _SELECTOR, "template": _TEMPLATE, "minReadySeconds": INT}
_DEPLOYMENT: Final[dict[str, Form]] = _WORKLOAD | {
    "strategy": {"type": STRING, "rollingUpdate": {"maxSurge": PORT, "maxUnavailable": PORT}},
    "revisionHistoryLimit": INT,
    "progressDeadlineSeconds": INT,
    "paused": BOOL,
}
_CLAIM: Final = {
    "accessModes": [STRING],
    "resources": {"limits": QUANTITIES, "requests": QUANTITIES},
    "storageClassName": STRING,
    "volumeName": STRING,
    "volumeMode": STRING,
} | dict.fromkeys(("selector", "dataSource", "dataSourceRef", "volumeAttributesClassName"), UNHONOURED)
_STATEFUL_SET: Final = _WORKLOAD | {
    "serviceName": STRING,
    "podManagementPolicy": STRING,
    "updateStrategy": {"type": STRING, "rollingUpdate": {"partition": INT, "maxUnavailable": UNHONOURED}},
    "revisionHistoryLimit": INT,
    "persistentVolumeClaimRetentionPolicy": {"whenDeleted": STRING, "whenScaled": STRING},
    "ordinals": {"start": INT},
    "volumeClaimTemplates": [_TOP | {"spec": _CLAIM}],
}
_DAEMON_SET: Final = {
    "selector": _SELECTOR,
    "template": _TEMPLATE,
    "minReadySeconds": INT,
    "updateStrategy": {"type": STRING, "rollingUpdate": {"maxUnavailable": PORT, "maxSurge": PORT}},
    "revisionHistoryLimit": INT,
}
_FAILURE_RULE: Final = {
    "action": STRING,
    "onExitCodes": {"containerName": STRING, "operator": STRING, "values": [INT]},
    "onPodConditions": [{"type": STRING, "status": STRING}],
}
_JOB: Final = {
    "parallelism": INT,
    "completions": INT,
    "completionMode": STRING,
    "backoffLimit": INT,
    "backoffLimitPerIndex": INT,
    "maxFailedIndexes": INT,
    "activeDeadlineSeconds": INT,
    "ttlSecondsAfterFinished": INT,
    "podFailurePolicy": {"rules": [_FAILURE_RULE]},
    "podReplacementPolicy": STRING,
    "suspend": BOOL,
    "manualSelector": BOOL,
    "selector": _SELECTOR,
    "template": _TEMPLATE,
    "managedBy": UNHONOURED,
    "successPolicy": UNHONOURED,
}
_BUDGET: Final = {
    "minAvailable": PORT,
    "maxUnavailable": PORT,
    "selector": _SELECTOR,
    "unhealthyPodEvictionPolicy": STRING,
}
_SERVICE: Final[dict[str, Form]] = {
    "type": STRING,
    "selector": STRINGS,
    "ports": [
        {
            "name": STRING,
            "port": INT,
            "targetPort": PORT,
            "nodePort": INT,
            "protocol": STRING,
            "appProtocol": STRING,
        }
    ],
    "clusterIP": STRING,
    "clusterIPs": [STRING],
    "ipFamilies": [STRING],
    "ipFamilyPolicy": STRING,
    "internalTrafficPolicy": STRING,
    "externalTrafficPolicy": STRING,
    "sessionAffinity": STRING,
    "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": INT}},
    "publishNotReadyAddresses": BOOL,
    "externalName": STRING,
    "allocateLoadBalancerNodePorts": BOOL,
} | dict.fromkeys(
    (
        "externalIPs",
        "healthCheckNodePort",
        "loadBalancerClass",
        "loadBalancerIP",
        "loadBalancerSourceRanges",
        "trafficDistribution",
    ),
    UNHONOURED,
)
_NODE: Final[dict[str, Form]] = {
    "unschedulable": BOOL,
    "taints": [{"key": STRING, "value": STRING, "effect": STRING, "timeAdded": ANY}],
    "podCIDR": STRING,
    "podCIDRs": [STRING],
    "providerID": STRING,
}
_ENDPOINT: Final = {
    "addresses": [STRING],
    "conditions": {"ready": BOOL, "serving": BOOL, "terminating": BOOL},
    "hostname": STRING,
    "nodeName": STRING,
    "zone": STRING,
    "targetRef": ANY,
    "hints": ANY,
    "deprecatedTopology": ANY,
}
_ENDPOINT_PORT: Final = {"name": STRING, "port": INT, "protocol": STRING, "appProtocol": STRING}
_LEASE: Final = {
    "holderIdentity": STRING,
    "leaseDurationSeconds": INT,
    "acquireTime": STRING,
    "renewTime": STRING,
    "leaseTransitions": INT,
    "strategy": STRING,
    "preferredHolder": STRING,
}

_RULES: Final = [
    {
        "verbs": [STRING],
        "apiGroups": [STRING],
        "resources": [STRING],
        "resourceNames": [STRING],
        "nonResourceURLs": [STRING],
    }
]
_BINDING: Final[dict[str, Form]] = {
    "subjects": [{"kind": STRING, "apiGroup": STRING, "name": STRING, "namespace": STRING}],
    "roleRef": {"apiGroup": STRING, "kind": STRING, "name": STRING},
}

KINDS_FIELDS: Final[dict[str, dict[str, Form]]] = {
    "namespaces": _TOP | {"spec": {"finalizers": [STRING]}},
    "nodes": _TOP | {"spec": _NODE},
    "leases": _TOP | {"spec": _LEASE},
    "pods": _TOP | {"spec": POD_SPEC},
    "services": _TOP | {"spec": _SERVICE},
    "endpointslices": _TOP | {"addressType": STRING, "endpoints": [_ENDPOINT], "ports": [_ENDPOINT_PORT]},
    "configmaps": _TOP | {"data": STRINGS, "binaryData": STRINGS, "immutable": BOOL},
    "secrets": _TOP | {"data": STRINGS, "stringData": STRINGS, "type": STRING, "immutable": BOOL},
    "events": _TOP
    | dict.fromkeys(("involvedObject", "source", "series", "related"), ANY)
    | dict.fromkeys(("firstTimestamp", "lastTimestamp", "eventTime"), ANY)
    | dict.fromkeys(("reason", "message", "type", "action", "reportingComponent", "reportingInstance"), STRING)
    | {"count": INT},
    "serviceaccounts": _TOP | {"secrets": ANY, "imagePullSecrets": ANY, "automountServiceAccountToken": BOOL},
    "deployments": _TOP | {"spec": _DEPLOYMENT},
    "replicasets": _TOP | {"spec": _WORKLOAD},
    "statefulsets": _TOP | {"spec": _STATEFUL_SET},
    "daemonsets": _TOP | {"spec": _DAEMON_SET},
    "controllerrevisions": _TOP | {"data": ANY, "revision": INT},
    "jobs": _TOP | {"spec": _JOB},
    "poddisruptionbudgets": _TOP | {"spec": _BUDGET},
    "persistentvolumeclaims": _TOP | {"spec": _CLAIM},
    "roles": _TOP | {"rules": _RULES},
    "rolebindings": _TOP | _BINDING,
    "clusterroles": _TOP | {"rules": _RULES, "aggregationRule": UNHONOURED},
    "clusterrolebindings": _TOP | _BINDING,
}

NAMED_FORMS: Final[dict[str, Form]] = {
    "ObjectMeta": _METADATA,
    "OwnerReference": _METADATA["ownerReferences"][0],
    "PodSpec": POD_SPEC,
    "PodTemplateSpec": _TEMPLATE,
    "LabelSelector": _SELECTOR,
    "Container": _CONTAINER,
    "ContainerPort": _CONTAINER["ports"][0],
    "ResourceRequirements": _CONTAINER["resources"],
    "VolumeMount": _CONTAINER["volumeMounts"][0],
    "Lifecycle": _CONTAINER["lifecycle"],
    "LifecycleHandler": _HOOK,
    "EnvVar": _ENV,
    "EnvVarSource": _ENV["valueFrom"],
    "Probe": _PROBE,
    "ExecAction": _ACTIONS["exec"],
    "HTTPGetAction": _HTTP_GET,
    "TCPSocketAction": _ACTIONS["tcpSocket"],
    "Volume": _VOLUME,
    "Toleration": POD_SPEC["tolerations"][0],
    "DeploymentStrategy": _DEPLOYMENT["strategy"],
    "RollingUpdateDeployment": _DEPLOYMENT["strategy"]["rollingUpdate"],
    "ServicePort": _SERVICE["ports"][0],
    "Taint": _NODE["taints"][0],
    "Endpoint": _ENDPOINT,
    "EndpointPort": _ENDPOINT_PORT,
    "PolicyRule": _RULES[0],
    "Subject": _BINDING["subjects"][0],
    "RoleRef": _BINDING["roleRef"],
}
"""Forms by the name of their type in k8s.io/api."""
