"""Objects that the behaviour tests create."""

from __future__ import annotations

from typing import Any

Obj = dict[str, Any]

ADDRESS = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
ECHO = """
import http.server, os, signal, sys
class Echo(http.server.BaseHTTPRequestHandler):
    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0))) or self.path.encode()
        print(self.command, self.path, flush=True)
        self.send_response(207 if self.command == "POST" else 200)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-authorization", str(self.headers.get("Authorization")))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = answer
    def log_message(self, *args):
        pass
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("listening", flush=True)
http.server.ThreadingHTTPServer((os.environ["POD_IP"], 8080), Echo).serve_forever()
"""
PAUSE = (
    "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); print('up', flush=True); signal.pause()"
)


def pod_spec(script: str = PAUSE, **more: Any) -> Obj:
    container: Obj = {
        "name": "app",
        "image": "python:3.11-slim",
        "command": ["python", "-c", script],
        "env": [ADDRESS],
        "ports": [{"name": "http", "containerPort": 8080}],
    }
    container |= more.pop("container", {})
    return {"containers": [container], "terminationGracePeriodSeconds": 3} | more


def pod(name: str, script: str = PAUSE, labels: dict[str, str] | None = None, **more: Any) -> Obj:
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": pod_spec(script, **more)}


def deployment(name: str, replicas: int = 2, script: str = PAUSE, **more: Any) -> Obj:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod_spec(script)}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec | more}


def service(name: str, **more: Any) -> Obj:
    ports = [{"name": "http", "port": 8000, "targetPort": "http"}]
    return {"metadata": {"name": name}, "spec": {"selector": {"app": name}, "ports": ports} | more}
