"""One namespace of the cluster under test, over plain HTTPS: what a scenario does and asks. Knows no sandbox."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.behaviour import app
from tests.behaviour.access import Access, eventually
from tests.behaviour.trace import Trace, endpoints, hang_up, ready

Obj = dict[str, Any]
GROUPS = {
    "deployments": "apis/apps/v1",
    "replicasets": "apis/apps/v1",
    "statefulsets": "apis/apps/v1",
    "daemonsets": "apis/apps/v1",
    "controllerrevisions": "apis/apps/v1",
    "jobs": "apis/batch/v1",
    "poddisruptionbudgets": "apis/policy/v1",
    "endpointslices": "apis/discovery.k8s.io/v1",
}
PATCHES = {"json": "json-patch+json", "merge": "merge-patch+json", "strategic": "strategic-merge-patch+json"}


class Log:
    """A followed log: its lines with the time each arrived."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, str]] = []
        self.over = threading.Event()

    def at(self, word: str, within_s: float = 20.0) -> float:
        """When the first line that begins so arrived."""
        return eventually(
            lambda: next((at for at, line in self.lines if line.startswith(word)), None),
            within_s,
            f"{word!r} in the log",
        )

    def has(self, word: str) -> bool:
        return any(line.startswith(word) for _, line in self.lines)


@dataclass(frozen=True, slots=True)
class Space:
    """`real` is whether the cluster is no sandbox of ours; `noted` collects measured seconds for the table."""

    access: Access
    http: httpx.Client
    namespace: str
    real: bool
    stack: contextlib.ExitStack
    noted: dict[str, float] = field(default_factory=dict)

    def path(self, resource: str, name: str = "", sub: str = "") -> str:
        inside = f"/namespaces/{self.namespace}" if resource not in ("nodes", "namespaces") else ""
        return (
            f"/{GROUPS.get(resource, 'api/v1')}{inside}/{resource}"
            + (f"/{name}" if name else "")
            + (f"/{sub}" if sub else "")
        )

    # Requests; each answers the object, or with try_ the response

    def create(self, resource: str, obj: Obj, **query: str) -> Obj:
        return _body(self.http.post(self.path(resource), json=obj, params=query))

    def get(self, resource: str, name: str, sub: str = "") -> Obj:
        return _body(self.http.get(self.path(resource, name, sub)))

    def find(self, resource: str, name: str) -> Obj | None:
        answer = self.http.get(self.path(resource, name))
        return None if answer.status_code == 404 else _body(answer)

    def items(self, resource: str, **query: str) -> list[Obj]:
        found: list[Obj] = _body(self.http.get(self.path(resource), params=query))["items"]
        return found

    def try_patch(self, resource: str, name: str, body: Any, style: str = "merge", sub: str = "") -> httpx.Response:
        headers = {"content-type": f"application/{PATCHES[style]}"}
        return self.http.patch(self.path(resource, name, sub), content=json.dumps(body), headers=headers)

    def patch(self, resource: str, name: str, body: Any, style: str = "merge", sub: str = "") -> Obj:
        return _body(self.try_patch(resource, name, body, style, sub))

    def try_delete(self, resource: str, name: str, **options: Any) -> httpx.Response:
        return self.http.request("DELETE", self.path(resource, name), json=options or None)

    def delete(self, resource: str, name: str, **options: Any) -> Obj:
        return _body(self.try_delete(resource, name, **options))

    def evict(self, pod: str, *, dry_run: bool = False) -> httpx.Response:
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": self.namespace}}
        return self.http.post(
            self.path("pods", pod, "eviction"), json=body, params={"dryRun": "All"} if dry_run else {}
        )

    def scale(self, resource: str, name: str, replicas: int) -> Obj:
        return self.patch(resource, name, {"spec": {"replicas": replicas}}, sub="scale")

    # Watching

    def trace(self, *resources: str) -> Trace:
        """Watch these from now on, until the test is over."""
        return self.stack.enter_context(Trace(self.http, {resource: self.path(resource) for resource in resources}))

    def follow(self, pod: str, container: str = "app") -> Log:
        """Follow a container's log until it ends or the test does."""
        log = Log()
        request = self.http.build_request(
            "GET", self.path("pods", pod, "log"), params={"follow": "true", "container": container}, timeout=None
        )
        answer = self.http.send(request, stream=True)
        assert answer.status_code == 200, answer.read()

        def read() -> None:
            with contextlib.suppress(httpx.HTTPError, httpx.StreamError, OSError):
                for line in answer.iter_lines():
                    log.lines.append((time.monotonic(), line))
            answer.close()
            log.over.set()

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        self.stack.callback(thread.join, 5)
        self.stack.callback(hang_up, answer)
        return log

    def log(self, pod: str, container: str = "app", **query: str) -> str:
        answer = self.http.get(self.path("pods", pod, "log"), params={"container": container} | query)
        assert answer.status_code == 200, answer.text
        return answer.text

    def events(self, name: str, reason: str) -> list[Obj]:
        """Events about one object, waiting for the first of that reason: they come after the fact."""

        def look() -> list[Obj]:
            found = self.items("events", fieldSelector=f"involvedObject.name={name}")
            return [event for event in found if event["reason"] == reason]

        return eventually(look, 15, f"event {reason} of {name}")

    # Pods

    def start(self, pod: Obj, until: str = "ready", within_s: float = 60.0) -> Obj:
        """Create a pod and wait until it is `ready`, `running`, or `up`: its program handles TERM, before that TERM is lost on it."""
        self.create("pods", pod)
        if until == "up":
            self.until_pod(pod["metadata"]["name"], _running, within_s)
            eventually(lambda: self.log(pod["metadata"]["name"]).startswith("up"), 20, "the program listens")
        return self.until_pod(
            pod["metadata"]["name"], lambda found: ready(found) if until == "ready" else _running(found), within_s
        )

    def until_pod(self, name: str, look: Any, within_s: float = 60.0) -> Obj:
        def once() -> Obj | None:
            found = self.find("pods", name)
            return found if found is not None and look(found) else None

        return eventually(once, within_s, f"pod {name}: {json.dumps((self.find('pods', name) or {}).get('status'))}")

    def until(self, resource: str, name: str, look: Any, within_s: float = 60.0) -> Obj:
        def once() -> Obj | None:
            found = self.find(resource, name)
            return found if found is not None and look(found) else None

        return eventually(
            once, within_s, f"{resource}/{name}: {json.dumps((self.find(resource, name) or {}).get('status'))}"
        )

    def pods(self, **labels: str) -> list[Obj]:
        """Pods with these labels that nobody is deleting, by name."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        found = [
            pod for pod in self.items("pods", labelSelector=selector) if "deletionTimestamp" not in pod["metadata"]
        ]
        return sorted(found, key=lambda pod: str(pod["metadata"]["name"]))

    def until_ready(self, count: int, within_s: float = 90.0, **labels: str) -> list[Obj]:
        """Wait until so many pods with these labels are ready, and no other is left."""

        def look() -> list[Obj] | None:
            found = self.pods(**labels)
            return found if len(found) == count and all(ready(pod) for pod in found) else None

        if count == 0:
            eventually(lambda: not self.pods(**labels), within_s, f"no pods {labels}")
            return []
        return eventually(look, within_s, f"{count} ready pods {labels}")

    def ask(self, pod: str, path: str) -> httpx.Response:
        """A request to the pod's own server, through the API server."""
        return self.http.get(self.path("pods", f"{pod}:8080", f"proxy{path}"))

    def tell(self, pod: str, **states: bool) -> float:
        """Change what the program answers to probes; answers when."""
        for name, value in states.items():
            answer = self.ask(pod, f"/set/{name}/{int(value)}")
            assert answer.status_code == 200, answer.text
        return time.monotonic()

    def execute(self, pod: str, *command: str, container: str = "app") -> str:
        """Run a command in a container; answers what it printed."""
        from kubernetes import client
        from kubernetes.stream import stream

        with self.access.api_client() as api:
            core: Any = client.CoreV1Api(api)
            said: str = stream(
                core.connect_get_namespaced_pod_exec, pod, self.namespace, command=list(command), container=container,
                stdout=True, stderr=True, stdin=False, tty=False,
            )  # fmt: skip
        return said

    def read(self, pod: str, path: str) -> str:
        """A file of a container. Paths are arguments: in the text of a program the sandbox, which mounts nothing, cannot lead them anywhere."""
        return self.execute(pod, "python", "-c", "import sys; print(open(sys.argv[1]).read())", path)

    def write(self, pod: str, path: str, text: str, container: str = "app") -> None:
        self.execute(
            pod,
            "python",
            "-c",
            "import sys; open(sys.argv[1], 'w').write(sys.argv[2])",
            path,
            text,
            container=container,
        )

    # Services

    def slice_of(self, service: str) -> dict[str, tuple[bool, bool, bool]]:
        """Pod name -> ready, serving, terminating over the slices of a Service that its controller keeps."""
        found: dict[str, tuple[bool, bool, bool]] = {}
        for one in self.items("endpointslices", labelSelector=f"kubernetes.io/service-name={service}"):
            found |= endpoints(one)
        return found

    def until_slice(self, service: str, look: Any, within_s: float = 30.0) -> dict[str, tuple[bool, bool, bool]]:
        def once() -> tuple[dict[str, tuple[bool, bool, bool]]] | None:
            found = self.slice_of(service)
            return (found,) if look(found) else None

        return eventually(once, within_s, f"endpoints of {service}: {self.slice_of(service)}")[0]

    def visitor(self) -> str:
        """A pod inside the cluster from which Services are asked."""
        idle = app.container(code="import signal; signal.signal(15, lambda *_: exit(0)); signal.pause()")
        self.start(app.pod("visitor", idle), "running")
        return "visitor"

    def knock(self, address: str, port: int, times: int = 1, every_s: float = 0.0) -> list[str]:
        """What fresh connections from the visitor get: the name of the pod that answered, else the error's name."""
        said = self.execute("visitor", "python", "-c", _KNOCK, address, str(port), str(times), str(every_s))
        return said.split()

    def until_knock(self, address: str, port: int, look: Any, within_s: float = 30.0) -> list[str]:
        def once() -> list[str] | None:
            found = self.knock(address, port)
            return found if look(found[0]) else None

        return eventually(once, within_s, f"{address}:{port} answers {self.knock(address, port)}")

    @contextlib.contextmanager
    def measured(self, what: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.note(what, time.monotonic() - start)

    def note(self, what: str, seconds: float) -> float:
        """Remember a measured time for the table; answers it."""
        self.noted[what] = round(seconds, 2)
        return seconds


_KNOCK = """
import http.client, sys, time
address, port, times, every = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
for _ in range(times):
    try:
        link = http.client.HTTPConnection(address, port, timeout=1)
        link.request("GET", "/")
        print(link.getresponse().read().decode(), flush=True)
        link.close()
    except Exception as error:
        print(type(error).__name__, flush=True)
    time.sleep(every)
"""


def _body(answer: httpx.Response) -> Obj:
    assert answer.is_success, f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text}"
    found: Obj = answer.json()
    return found


def _running(pod: Obj) -> bool:
    status = pod["status"]
    return status.get("phase") == "Running" and all(
        "running" in c["state"] for c in status.get("containerStatuses", [{"state": {}}])
    )
