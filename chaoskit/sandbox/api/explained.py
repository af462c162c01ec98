"""What the everyday fields mean, for `kubectl explain`: data, one line a field. Shapes are in fields.py; this adds words.

A line is `SCHEMA.FIELD [TYPE] text`; a type is given only where fields.py knows none (statuses). Written by hand after
kubernetes.io, Kubernetes API reference; what the sandbox does not act on is said by the table of fields, not here.
"""

from __future__ import annotations

from typing import Final

FIELDS: Final = """
*.apiVersion Group and version of this representation of the object.
*.kind The kind of object this is, in CamelCase.
*.metadata Name, labels, owners and everything else that all objects have.
*.spec What is wanted.
*.status What is observed. Written by the cluster, read by everybody.
ObjectMeta.name Unique within a namespace and a kind. Cannot be changed.
ObjectMeta.generateName A beginning from which the server makes a unique name when none is given.
ObjectMeta.namespace The namespace the object lives in. Cannot be changed.
ObjectMeta.uid Set by the server; unique over the life of the cluster.
ObjectMeta.resourceVersion The state of the cluster in which this version of the object was written. Opaque: compare for equality only.
ObjectMeta.generation Counts the changes of what is wanted.
ObjectMeta.creationTimestamp When the server created the object.
ObjectMeta.deletionTimestamp When the object is to be gone. Set by a graceful delete.
ObjectMeta.deletionGracePeriodSeconds Seconds given to end before deletionTimestamp.
ObjectMeta.labels Keys and values by which objects are selected.
ObjectMeta.annotations Keys and values for tools; nothing is selected by them.
ObjectMeta.ownerReferences Objects this one depends on. When all of them are gone it is collected.
ObjectMeta.finalizers Each must be removed before the object goes away.
ObjectMeta.managedFields Which manager owns which field.
ObjectMeta.selfLink No longer set.
OwnerReference.controller Whether this owner is the managing controller.
OwnerReference.blockOwnerDeletion Whether a foreground deletion of the owner waits for this object.
PodSpec.containers The containers of the pod; at least one. Cannot be added or removed later.
PodSpec.initContainers Run one after the other before the containers start. One with restartPolicy Always is a sidecar and goes on running.
PodSpec.volumes What containers of the pod can mount.
PodSpec.restartPolicy Always, OnFailure or Never. Default Always.
PodSpec.terminationGracePeriodSeconds Seconds from the stop signal to the kill. Default 30.
PodSpec.activeDeadlineSeconds Seconds the pod may run before it is failed.
PodSpec.nodeName The node the pod runs on; set by the scheduler.
PodSpec.nodeSelector Labels a node must have.
PodSpec.affinity Rules about the nodes and the pods it wants to be near to, or far from.
PodSpec.tolerations Taints the pod puts up with.
PodSpec.topologySpreadConstraints How evenly pods are to be spread over domains.
PodSpec.schedulerName Which scheduler places the pod.
PodSpec.serviceAccountName The service account the pod runs as.
PodSpec.serviceAccount The old name of serviceAccountName.
PodSpec.automountServiceAccountToken Whether a token is mounted.
PodSpec.enableServiceLinks Whether Services of the namespace become environment variables. Default true.
PodSpec.hostname The pod's host name; by default its name.
PodSpec.subdomain With the host name and a headless Service it makes a name in DNS.
PodSpec.hostNetwork Whether to share the node's network. Refused by the sandbox.
PodSpec.dnsPolicy How names are looked up. Default ClusterFirst.
PodSpec.priority The number behind the priority class.
PodSpec.priorityClassName How important the pod is.
PodSpec.preemptionPolicy Whether it may displace pods of lower priority.
PodSpec.readinessGates Conditions that must be True for the pod to be Ready.
PodSpec.securityContext Settings for all containers of the pod.
PodSpec.imagePullSecrets Secrets for pulling images.
Container.name Unique in the pod. Cannot be changed.
Container.image The image to run.
Container.command Replaces the image's entrypoint. Not run in a shell; $(NAME) is expanded.
Container.args Arguments of the entrypoint; $(NAME) is expanded.
Container.workingDir Where the process starts.
Container.ports Ports the container listens on. For information, and for Services that name a port.
Container.env Environment variables.
Container.envFrom Environment variables from all keys of ConfigMaps and Secrets.
Container.resources What the container needs and may use.
Container.volumeMounts Where volumes appear in the file system.
Container.livenessProbe Restarts the container when it fails.
Container.readinessProbe Takes the pod out of its Services when it fails.
Container.startupProbe Holds the other probes back until it succeeds once.
Container.lifecycle What to do after the start and before the stop.
Container.terminationMessagePath The file whose content becomes the message of a terminated container.
Container.terminationMessagePolicy File, or FallbackToLogsOnError.
Container.imagePullPolicy Always, IfNotPresent or Never.
Container.restartPolicy Of an init container: Always makes it a sidecar.
Container.securityContext Settings for this container.
ContainerPort.name A name that Services can refer to.
ContainerPort.containerPort The number, 1 to 65535.
ContainerPort.protocol TCP, UDP or SCTP. Default TCP.
EnvVar.name Name of the variable.
EnvVar.value Its value; $(NAME) is expanded.
EnvVar.valueFrom Where its value comes from.
EnvVarSource.configMapKeyRef A key of a ConfigMap.
EnvVarSource.secretKeyRef A key of a Secret.
EnvVarSource.fieldRef A field of the pod, such as status.podIP.
EnvVarSource.resourceFieldRef A request or limit of the container.
ResourceRequirements.limits The most that may be used.
ResourceRequirements.requests What is set aside; by default the limits.
VolumeMount.name Name of a volume of the pod.
VolumeMount.mountPath Path in the container.
VolumeMount.subPath A path inside the volume; what is mounted so does not follow changes.
VolumeMount.readOnly Whether writing is refused.
Probe.exec A command; exit code 0 is success.
Probe.httpGet A request; a status from 200 to 399 is success.
Probe.tcpSocket A connection; that it opens is success.
Probe.grpc A call of the gRPC health service.
Probe.initialDelaySeconds Seconds after the container started before the first probe.
Probe.periodSeconds Seconds between probes. Default 10.
Probe.timeoutSeconds Seconds after which a probe has failed. Default 1.
Probe.successThreshold Successes in a row to count as healthy again. Default 1.
Probe.failureThreshold Failures in a row to count as failed. Default 3.
Probe.terminationGracePeriodSeconds Grace given when this probe kills the container.
HTTPGetAction.path Path to ask for.
HTTPGetAction.port Port by number or name.
HTTPGetAction.host Host to ask; by default the pod's address.
HTTPGetAction.scheme HTTP or HTTPS.
HTTPGetAction.httpHeaders Headers to send.
TCPSocketAction.port Port by number or name.
TCPSocketAction.host Host to connect to; by default the pod's address.
ExecAction.command The command; not run in a shell.
Lifecycle.postStart Runs right after the container started.
Lifecycle.preStop Runs before the stop signal is sent; counts against the grace period.
LifecycleHandler.sleep Wait this long.
LifecycleHandler.exec Run a command in the container.
LifecycleHandler.httpGet Send a request to the container.
Volume.name Unique in the pod.
Volume.emptyDir An empty folder that lives as long as the pod.
Volume.configMap The keys of a ConfigMap as files; they follow its changes.
Volume.secret The keys of a Secret as files; they follow its changes.
Volume.downwardAPI Fields of the pod as files.
Volume.projected Several sources in one folder.
Volume.persistentVolumeClaim A claim whose storage outlives the pod.
Toleration.key The taint's key; empty matches all.
Toleration.operator Equal or Exists.
Toleration.value The taint's value, for Equal.
Toleration.effect The effect that is put up with; empty means all.
Toleration.tolerationSeconds Of NoExecute: how long the pod stays. Without it, for ever.
LabelSelector.matchLabels Labels with exactly these values.
LabelSelector.matchExpressions Requirements by In, NotIn, Exists or DoesNotExist.
PodTemplateSpec.metadata Labels and annotations of the pods.
PodTemplateSpec.spec The pods' spec.
PodStatus.phase string Pending, Running, Succeeded, Failed or Unknown: a summary of where the pod is in its life.
PodStatus.conditions object[] PodScheduled, Initialized, ContainersReady, Ready and others.
PodStatus.podIP string The pod's address.
PodStatus.podIPs object[] The pod's addresses.
PodStatus.hostIP string The address of its node.
PodStatus.startTime string When the node took the pod on.
PodStatus.reason string A word on why the pod is in this state.
PodStatus.message string A sentence on why the pod is in this state.
PodStatus.qosClass string Guaranteed, Burstable or BestEffort.
PodStatus.containerStatuses object[] State, restarts and readiness of each container.
PodStatus.initContainerStatuses object[] The same of the init containers.
PodStatus.observedGeneration integer The generation this status speaks of.
WorkloadSpec.replicas How many pods are wanted. Default 1.
WorkloadSpec.selector Which pods belong to this object; must match the labels of the template. Cannot be changed.
WorkloadSpec.template What its pods look like.
WorkloadSpec.minReadySeconds Seconds a pod must have been Ready to count as available.
WorkloadSpec.revisionHistoryLimit How many old revisions are kept for a rollback. Default 10.
DeploymentSpec.strategy How old pods are replaced by new ones.
DeploymentSpec.progressDeadlineSeconds Seconds without progress after which a rollout is reported as failed. Default 600.
DeploymentSpec.paused Whether changes of the template are held back.
DeploymentStrategy.type RollingUpdate or Recreate.
DeploymentStrategy.rollingUpdate Bounds of a rolling update.
RollingUpdateDeployment.maxSurge Pods above the wanted number during an update, a number or a percentage rounded up. Default 25%.
RollingUpdateDeployment.maxUnavailable Pods below the wanted number during an update, a number or a percentage rounded down. Default 25%.
DeploymentStatus.observedGeneration integer The generation this status speaks of.
DeploymentStatus.replicas integer Pods that are not terminating.
DeploymentStatus.updatedReplicas integer Pods of the current template.
DeploymentStatus.readyReplicas integer Pods that are Ready.
DeploymentStatus.availableReplicas integer Pods that have been Ready for minReadySeconds.
DeploymentStatus.unavailableReplicas integer Pods that are missing to the wanted number of available ones.
DeploymentStatus.terminatingReplicas integer Pods that are on their way out.
DeploymentStatus.conditions object[] Available and Progressing.
DeploymentStatus.collisionCount integer Hash collisions met when naming ReplicaSets.
StatefulSetSpec.serviceName The headless Service that gives the pods their names.
StatefulSetSpec.podManagementPolicy OrderedReady or Parallel.
StatefulSetSpec.updateStrategy RollingUpdate, from the highest ordinal down to the partition, or OnDelete.
StatefulSetSpec.ordinals Where numbering begins.
StatefulSetSpec.volumeClaimTemplates Claims made for each pod; they stay with its ordinal.
StatefulSetSpec.persistentVolumeClaimRetentionPolicy What becomes of the claims.
StatefulSetStatus.readyReplicas integer Pods that are Ready.
StatefulSetStatus.currentRevision string Revision of the pods that are not yet updated.
StatefulSetStatus.updateRevision string Revision of the pods that are.
DaemonSetSpec.updateStrategy RollingUpdate or OnDelete.
DaemonSetStatus.desiredNumberScheduled integer Nodes that should run a pod.
DaemonSetStatus.numberReady integer Nodes that run a Ready one.
JobSpec.parallelism How many pods run at a time at most.
JobSpec.completions How many must succeed.
JobSpec.completionMode NonIndexed or Indexed.
JobSpec.backoffLimit Failures after which the Job fails. Default 6.
JobSpec.activeDeadlineSeconds Seconds after which the Job is ended, whatever it has reached.
JobSpec.ttlSecondsAfterFinished Seconds after which a finished Job is collected.
JobSpec.podFailurePolicy Which failures count, and how.
JobSpec.suspend Whether no pods are to run.
JobSpec.podReplacementPolicy Whether a pod is replaced when it is terminating, or only once it has failed.
JobStatus.active integer Pods that are pending or running.
JobStatus.succeeded integer Pods that succeeded.
JobStatus.failed integer Pods that failed.
JobStatus.conditions object[] Complete, Failed, Suspended and others.
PodDisruptionBudgetSpec.minAvailable Pods that must stay available through an eviction, a number or a percentage.
PodDisruptionBudgetSpec.maxUnavailable Pods that may be missing after an eviction, a number or a percentage.
PodDisruptionBudgetSpec.selector The pods that are protected.
PodDisruptionBudgetSpec.unhealthyPodEvictionPolicy IfHealthyBudget or AlwaysAllow.
PodDisruptionBudgetStatus.disruptionsAllowed integer Evictions that would be granted now.
PodDisruptionBudgetStatus.currentHealthy integer Pods that are Ready.
PodDisruptionBudgetStatus.desiredHealthy integer Pods that must be.
PodDisruptionBudgetStatus.expectedPods integer Pods that are counted.
ServiceSpec.type ClusterIP, NodePort, LoadBalancer or ExternalName.
ServiceSpec.selector Labels of the pods that the Service leads to.
ServiceSpec.ports The ports it listens on.
ServiceSpec.clusterIP Its address, or None for a headless Service.
ServiceSpec.sessionAffinity None, or ClientIP to send a client to the same pod again.
ServiceSpec.internalTrafficPolicy Cluster, or Local to stay on the node.
ServiceSpec.externalTrafficPolicy The same for traffic from outside.
ServiceSpec.publishNotReadyAddresses Whether pods that are not ready are endpoints too.
ServicePort.name Needed when there are several.
ServicePort.port The port of the Service.
ServicePort.targetPort The port of the pods, by number or name; by default the same.
ServicePort.nodePort The port on every node, 30000 to 32767.
ServicePort.protocol TCP, UDP or SCTP.
NodeSpec.unschedulable Whether new pods stay away.
NodeSpec.taints What keeps pods away that do not tolerate it.
NodeSpec.podCIDR Addresses for the node's pods.
NodeStatus.conditions object[] Ready and others.
NodeStatus.allocatable object What pods can be given.
NodeStatus.capacity object What the node has.
NodeStatus.addresses object[] How the node is reached.
Taint.key Its name.
Taint.value Its value.
Taint.effect NoSchedule, PreferNoSchedule or NoExecute.
Taint.timeAdded When a NoExecute taint was added.
ConfigMap.data Texts by key.
ConfigMap.binaryData Bytes by key, in base64.
ConfigMap.immutable Whether the content can never change.
Secret.data Values by key, in base64.
Secret.stringData Values by key as text; for writing only.
Secret.type How the content is to be read. Default Opaque.
Secret.immutable Whether the content can never change.
NamespaceStatus.phase string Active or Terminating.
Role.rules What the role allows.
ClusterRole.rules What the role allows.
RoleBinding.subjects Who gets the role.
RoleBinding.roleRef The role, a Role of the namespace or a ClusterRole. Cannot be changed.
ClusterRoleBinding.subjects Who gets the role.
ClusterRoleBinding.roleRef The ClusterRole. Cannot be changed.
PolicyRule.verbs What may be done; * is everything.
PolicyRule.apiGroups Groups of the resources; "" is the core group.
PolicyRule.resources Resources, and subresources such as pods/log.
PolicyRule.resourceNames Only these objects. Without it, all.
PolicyRule.nonResourceURLs Paths that are no resources; of a ClusterRole only.
Subject.kind User, Group or ServiceAccount.
Subject.name Its name.
Subject.namespace Of a ServiceAccount.
EndpointSlice.addressType IPv4.
EndpointSlice.endpoints Addresses with their conditions.
EndpointSlice.ports Ports that every endpoint listens on.
Endpoint.addresses Addresses of one endpoint.
Endpoint.conditions ready: takes new connections; serving: would; terminating: is on its way out.
LeaseSpec.holderIdentity Who holds it.
LeaseSpec.renewTime When the holder was last heard of.
LeaseSpec.leaseDurationSeconds How long others wait without a renewal.
PersistentVolumeClaimSpec.accessModes How it is to be mounted.
PersistentVolumeClaimSpec.resources How much storage is asked for.
PersistentVolumeClaimSpec.storageClassName From which class of storage.
PersistentVolumeClaimStatus.phase string Pending, Bound or Lost.
"""

KINDS: Final = """
Pod Containers that run together on one node, with one address.
Deployment Keeps a number of equal pods running and replaces them step by step when their template changes.
ReplicaSet Keeps a number of equal pods running. Usually made by a Deployment.
StatefulSet Pods with a stable name and storage, made and replaced in order.
DaemonSet One pod on every node that is eligible.
Job Runs pods until enough of them have succeeded.
PodDisruptionBudget How many pods of an application evictions have to leave.
Service One address for a set of pods.
EndpointSlice The addresses behind a Service.
ConfigMap Configuration that pods read.
Secret Configuration that is not for everybody's eyes.
Namespace A scope for names.
Node A machine that runs pods.
Event Something that happened to an object.
ServiceAccount An identity for processes.
Lease A sign of life.
ControllerRevision A stored revision of a StatefulSet or DaemonSet.
PersistentVolumeClaim A request for storage.
Role What may be done with the objects of a namespace.
ClusterRole What may be done in the whole cluster.
RoleBinding Gives a role to somebody, in one namespace.
ClusterRoleBinding Gives a role to somebody, in the whole cluster.
"""
