"""Defaults, validation and admission, one entry per served kind."""

from __future__ import annotations

from typing import Final

from chaoskit.sandbox.kinds import KINDS
from chaoskit.sandbox.rules import (
    access,
    claims,
    cluster,
    configuration,
    disruption,
    job,
    pod,
    service,
    stateful,
    workload,
)
from chaoskit.sandbox.rules.rule import Admission, Rule

__all__ = ["RULES", "Admission", "Rule"]

RULES: Final[dict[str, Rule]] = {
    "namespaces": cluster.NAMESPACE,
    "nodes": cluster.NODE,
    "leases": cluster.LEASE,
    "pods": pod.POD,
    "services": service.SERVICE,
    "endpointslices": service.ENDPOINT_SLICE,
    "configmaps": configuration.CONFIG_MAP,
    "secrets": configuration.SECRET,
    "events": configuration.EVENT,
    "serviceaccounts": configuration.SERVICE_ACCOUNT,
    "deployments": workload.DEPLOYMENT,
    "replicasets": workload.REPLICA_SET,
    "statefulsets": stateful.STATEFUL_SET,
    "daemonsets": stateful.DAEMON_SET,
    "controllerrevisions": stateful.CONTROLLER_REVISION,
    "jobs": job.JOB,
    "poddisruptionbudgets": disruption.BUDGET,
    "persistentvolumeclaims": claims.CLAIM,
    "roles": access.ROLE,
    "rolebindings": access.ROLE_BINDING,
    "clusterroles": access.CLUSTER_ROLE,
    "clusterrolebindings": access.CLUSTER_ROLE_BINDING,
}
assert RULES.keys() == KINDS.keys()
