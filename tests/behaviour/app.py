"""The program that most pods of the behaviour suite run, and the manifests around it."""

from __future__ import annotations

from typing import Any

Obj = dict[str, Any]

IMAGE = "python:3.12-slim"
"""An image that the sandbox knows and a real cluster has or can pull; never `latest`, so that it need not be pulled."""
ADDRESS = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
APP = """
import http.server, os, signal, sys, threading, time
env = os.environ.get
state = {"ready": env("READY", "1") == "1", "live": env("LIVE", "1") == "1", "started": env("STARTED", "1") == "1", "hang": False}
def say(*words):
    print(*words, flush=True)
class App(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        words = self.path.strip("/").split("/")
        code, body = 200, env("HOSTNAME", "?")
        if words[0] == "exit":
            say("exit", words[1])
            os._exit(int(words[1]))
        elif words[0] == "set":
            state[words[1]] = words[2] == "1"
        elif words[0] in state:
            if words[0] == "live" and state["hang"]:
                time.sleep(30)
            code = 200 if state[words[0]] else 500 if words[0] == "live" else 503
        self.send_response(code)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
told = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: told.set())
time.sleep(float(env("SLOW_START", "0")))
server = Server((env("POD_IP") or "127.0.0.1", int(env("PORT", "8080"))), App)
threading.Thread(target=server.serve_forever, daemon=True).start()
say("up")
while not told.wait(0.1):  # a signal that another thread gets does not wake this one
    pass
say("TERM")
end = time.monotonic() + float(env("LINGER", "0"))
while time.monotonic() < end:
    say("beat")
    time.sleep(0.1)
say("bye")
os._exit(int(env("EXIT", "0")))
"""
"""Serves /ready, /live and /started as /set/NAME/0 or 1 says; on TERM lives on for LINGER seconds, then exits with EXIT."""


def probe(path: str = "/ready", **more: Any) -> Obj:
    """An HTTP probe each second; failing three times counts."""
    return {"httpGet": {"path": path, "port": 8080}, "periodSeconds": 1, "failureThreshold": 3} | more


def container(name: str = "app", *, env: dict[str, str] | None = None, code: str = APP, **more: Any) -> Obj:
    """A container that runs some Python, by default the program above."""
    variables: list[Obj] = [ADDRESS, *({"name": key, "value": value} for key, value in (env or {}).items())]
    fixed = {"name": name, "image": IMAGE, "command": ["python", "-u", "-c", code], "env": variables}
    return fixed | more


def serving(**env: str) -> Obj:
    """The program with its port and its readiness probe."""
    return container(env=env, ports=[{"name": "http", "containerPort": 8080}], readinessProbe=probe())


def touchy(**env: str) -> Obj:
    """The same, unready after one failed probe; slow answers are none, so that a busy machine makes nobody unready."""
    return serving(**env) | {"readinessProbe": probe(failureThreshold=1, timeoutSeconds=10)}


def spec(*containers: Obj, **more: Any) -> Obj:
    """A pod's spec. Its grace is 5 s, so that no test waits for the default of 30."""
    return {"containers": list(containers) or [container()], "terminationGracePeriodSeconds": 5} | more


def pod(name: str, *containers: Obj, labels: dict[str, str] | None = None, **more: Any) -> Obj:
    return {"metadata": {"name": name, "labels": labels or {"app": name}}, "spec": spec(*containers, **more)}


def template(name: str, pod_spec: Obj | None = None, **metadata: Any) -> Obj:
    return {"metadata": {"labels": {"app": name}} | metadata, "spec": pod_spec or spec(serving())}


def workload(name: str, pod_spec: Obj | None = None, **more: Any) -> Obj:
    """A Deployment, ReplicaSet, StatefulSet or DaemonSet: they differ in what `more` says."""
    body = {"selector": {"matchLabels": {"app": name}}, "template": template(name, pod_spec)}
    return {"metadata": {"name": name, "labels": {"app": name}}, "spec": body | more}


def job(name: str, code: str, *, restart: str = "Never", pod_spec: Obj | None = None, **more: Any) -> Obj:
    inner = pod_spec or spec(container(code=code), restartPolicy=restart)
    return {"metadata": {"name": name}, "spec": {"template": {"spec": inner}} | more}


def service(name: str, **more: Any) -> Obj:
    ports = [{"name": "http", "port": 8000, "targetPort": 8080}]
    return {"metadata": {"name": name}, "spec": {"selector": {"app": name}, "ports": ports} | more}


def budget(name: str, **more: Any) -> Obj:
    return {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": name}}} | more}


def exits(code: int, after_s: float = 0.0) -> str:
    """A program that ends by itself, and at once on TERM."""
    return (
        f"import signal, sys, time; signal.signal(15, lambda *_: sys.exit(0)); time.sleep({after_s}); sys.exit({code})"
    )
