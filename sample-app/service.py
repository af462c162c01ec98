"""The sample application: two microservices in one file of standard-library Python (3.9 or newer).

    python service.py checkout      takes orders:              GET / answers a small JSON order
    python service.py storefront    sells, through checkout:   GET / answers a page, or 502 and why checkout failed

This file serves, tells its health honestly and stops gracefully. It never retries, never keeps an order and knows
nothing about who tests it. It speaks HTTP/1.1 over plain sockets: with `http.server` and `http.client` a visit to the
storefront takes three times the processor time, and six copies of this may share two cores with everything else.

Health: `/healthz` says whether the process answers at all (liveness). `/readyz` runs the code that serving runs, for
checkout its order, for storefront its page around a sample order: a release that cannot serve cannot look ready.
Checkout being down does not make a storefront unready, since taking it out of its Service would help nobody.

Every answer carries X-Pod, X-Node and X-Version. On SIGTERM new requests are still answered, each connection that was
kept alive is told `Connection: close`, and when nothing is open any more, at the latest after one second, the listener
closes and the process exits 0.

Environment (what a manifest sets):

    HOST, PORT, ADMIN_PORT           where to listen: 0.0.0.0, 8080 and 9090; `--host ADDRESS` wins over HOST
    CHECKOUT_URL                     storefront only: http://HOST:PORT of checkout
    POD_NAME, NODE_NAME, APP_VERSION who answers; from the downward API
    STARTUP_DELAY_S                  seconds before it listens: an application that is slow to start
    BROKEN                           a bad release, a comma-separated list of: requests (`/` answers 500), readiness
                                     (`/readyz` answers 503), start (exits 1)
    IGNORE_SIGTERM=1                 an application that only SIGKILL stops

The switch protocol, version 1
------------------------------
Any application may offer this on a port of its own, named by the pod annotation `chaoskit.dev/switch-port`. Each
switch makes one thing go wrong in this process until it is turned off or its time is up, so that whoever turned it on
may vanish without leaving damage behind. An application offers the switches it can honour; for others it answers 404.
Whoever reaches the port can break the application: keep it inside.

    PUT /switches/NAME               body {"run": ID, "ttlSeconds": 30, ...options}: on, for that many seconds (1..3600)
                                     200 its state | 400 a body that is not this | 409 another run holds it
                                     The run that holds a switch may PUT again: its time starts afresh.
    GET /switches/NAME               200 its state while on | 404 while off
    DELETE /switches/NAME?run=ID     200 off, also when it was off before | 400 no run | 409 another run holds it
    GET /switches                    200 {"switches": [state, ...]}, those that are on

    state    {"switch": NAME, "run": ID, "ttlSeconds": 30, "remainingSeconds": 12.3, ...options}
    errors   {"error": "subject: what was seen, what is expected"}

    NAME         option      what goes wrong
    liveness                 `/healthz` answers 500
    readiness                `/readyz` answers 503
    requests                 `/` answers 500, and so `/readyz` answers 503
    slow         delayMs     `/`, and so `/readyz`, is late by so many milliseconds (0..60000)
    crash        exitCode    the process exits with this code (0..255, 1 if not given) right after the 200; a switch
                             that is over at once, so GET answers 404 ever after
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NamedTuple

CHECKOUT_TIMEOUT_S = 1.0
DRAIN_S = 1.0  # after SIGTERM, the longest time to go on serving
IDLE_CONNECTION_S = 60.0
BACKLOG = 128
SPARE_THREADS = 8
LONGEST_LINE, MOST_HEADERS, LARGEST_BODY = 8192, 100, 65536


def say(line: str) -> None:
    print(line, flush=True)


# ---- HTTP/1.1, as much of it as these services need


class Request(NamedTuple):
    method: str
    path: str
    query: str
    body: bytes
    keep_alive: bool


class Answer(NamedTuple):
    status: int
    body: bytes
    content_type: str = "application/json"
    exit_code: int | None = None  # the process ends with this code once the answer is on its way


class Rejected(Exception):
    """A request that is not served: the status and the reason to answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


Handler = Callable[[Request], Answer]
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict"}
REASONS.update({413: "Payload Too Large", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable"})


def json_answer(status: int, content: Mapping[str, Any]) -> Answer:
    return Answer(status, json.dumps(content).encode() + b"\n")


def attempt(work: Callable[[], Answer]) -> Answer:
    """What `work` answers; what it raises becomes an answer too. The border that no error crosses."""
    try:
        return work()
    except Rejected as error:
        return json_answer(error.status, {"error": str(error)})
    except Exception as error:  # noqa: BLE001 - a fault of one request must not end the server
        return json_answer(500, {"error": f"{type(error).__name__}: {error}"})


def read_line(stream: BinaryIO) -> bytes:
    line = stream.readline(LONGEST_LINE + 1)
    if len(line) > LONGEST_LINE:
        raise Rejected(400, f"a line of the request is longer than {LONGEST_LINE} bytes")
    return line


def read_headers(stream: BinaryIO) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for _ in range(MOST_HEADERS):
        line = read_line(stream)
        if line in (b"\r\n", b"\n"):
            return headers
        name, colon, value = line.partition(b":")
        if not colon:
            raise Rejected(400, "a header line has no colon")
        headers[name.lower()] = value.strip()
    raise Rejected(400, f"more than {MOST_HEADERS} headers")


def read_body(stream: BinaryIO, headers: Mapping[bytes, bytes]) -> bytes:
    if b"transfer-encoding" not in headers:
        return stream.read(parse_size(headers.get(b"content-length", b"0"), 10))
    body = b""
    while size := parse_size(read_line(stream).partition(b";")[0], 16):
        body += stream.read(parse_size(b"%d" % (len(body) + size), 10) - len(body))
        read_line(stream)
    read_headers(stream)  # trailers, or only the empty line
    return body


def parse_size(text: bytes, base: int) -> int:
    try:
        size = int(text, base)
    except ValueError:
        raise Rejected(400, f"{text[:20]!r}: not the length of a body") from None
    if not 0 <= size <= LARGEST_BODY:
        raise Rejected(413, f"a body of {size} bytes, expected at most {LARGEST_BODY}")
    return size


def read_request(stream: BinaryIO) -> Request | None:
    """The next request, or None where the client has no more."""
    line = read_line(stream)
    if not line:
        return None
    words = line.decode("latin-1").split()
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise Rejected(400, "the first line is not METHOD TARGET HTTP/1.1")
    method, target, version = words
    headers = read_headers(stream)
    path, _, query = target.partition("?")
    wish = headers.get(b"connection", b"").lower()
    keep_alive = b"keep-alive" in wish if version == "HTTP/1.0" else b"close" not in wish
    return Request(method, path, query, read_body(stream, headers), keep_alive)


class Server:
    """Answers requests at one address from its creation on, each open connection in a thread of its own.

    The thread that accepts a connection serves it, having seen to it that another one waits for the next: no queue
    and no hand-over, and in quiet times no thread is started at all.
    """

    def __init__(self, host: str, port: int, handle: Handler, headers: Mapping[str, str]) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        self.port: int = self._listener.getsockname()[1]
        self._handle = handle
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._open: set[socket.socket] = set()
        self._draining = False
        self._waiting = 0
        self._lock = threading.Lock()
        self._start_thread()

    def drain(self) -> None:
        """Serve on until nothing is open and nobody waits to be accepted, DRAIN_S at most; then close the listener."""
        self._draining = True
        deadline = time.monotonic() + DRAIN_S
        while time.monotonic() < deadline and (self._open or select.select([self._listener], [], [], 0)[0]):
            time.sleep(0.005)
        with contextlib.suppress(OSError):  # some systems have no shutdown of a listener
            self._listener.shutdown(socket.SHUT_RDWR)  # at once, where a close waits for the threads in accept
        self._listener.close()
        time.sleep(0.005)  # for a connection that was accepted while this looked away
        while time.monotonic() < deadline and self._open:
            time.sleep(0.005)

    def _start_thread(self) -> None:
        self._waiting += 1
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        enough = False
        while not enough:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self._listener.fileno() == -1:
                    return
                time.sleep(0.01)  # that client has gone, or no file descriptor is free: the next one may fare better
                continue
            self._open.add(connection)
            self._leave_one_waiting()
            self._serve(connection)
            enough = self._wait_again()

    def _leave_one_waiting(self) -> None:
        with self._lock:
            self._waiting -= 1
            if self._waiting == 0:
                self._start_thread()

    def _wait_again(self) -> bool:
        """Count this thread as waiting again; True when enough others are and it may end."""
        with self._lock:
            enough = self._waiting >= SPARE_THREADS
            self._waiting += not enough
            return enough

    def _serve(self, connection: socket.socket) -> None:
        # An OSError says that the client has gone, which is its right.
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
            connection.settimeout(IDLE_CONNECTION_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while self._serve_next(connection, stream):
                pass
        self._open.discard(connection)

    def _serve_next(self, connection: socket.socket, stream: BinaryIO) -> bool:
        """Answer one request; False when it was the last one of its connection."""
        try:
            request = read_request(stream)
        except Rejected as error:
            request = Request("", "", "", b"", keep_alive=False)
            answer = json_answer(error.status, {"error": str(error)})
        else:
            if request is None:
                return False
            answer = attempt(lambda: self._handle(request))
        keep_alive = request.keep_alive and not self._draining and answer.exit_code is None
        connection.sendall(self._render(answer, keep_alive, with_body=request.method != "HEAD"))
        if answer.exit_code is not None:
            os._exit(answer.exit_code)
        return keep_alive

    def _render(self, answer: Answer, keep_alive: bool, with_body: bool) -> bytes:
        head = (
            f"HTTP/1.1 {answer.status} {REASONS[answer.status]}\r\n{self._headers}"
            f"Content-Type: {answer.content_type}\r\nContent-Length: {len(answer.body)}\r\n"
            f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n\r\n"
        )
        return head.encode("latin-1", "replace") + (answer.body if with_body else b"")


# ---- The switches


class Option(NamedTuple):
    lowest: int
    highest: int
    default: int | None = None  # None: it must be given


OPTIONS: dict[str, dict[str, Option]] = {
    "liveness": {},
    "readiness": {},
    "requests": {},
    "slow": {"delayMs": Option(0, 60_000)},
    "crash": {"exitCode": Option(0, 255, default=1)},
}


class Switch(NamedTuple):
    name: str
    run: str
    ttl_s: float
    ends_at: float  # on the monotonic clock
    options: dict[str, int]

    def state(self) -> dict[str, Any]:
        remaining_s = round(max(0.0, self.ends_at - time.monotonic()), 3)
        times = {"ttlSeconds": self.ttl_s, "remainingSeconds": remaining_s}
        return {"switch": self.name, "run": self.run, **times, **self.options}


def parse_switch(name: str, body: bytes) -> Switch:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise Rejected(400, "body: not a JSON object, expected one with run and ttlSeconds")
    run = fields.pop("run", None)
    if not isinstance(run, str) or not 1 <= len(run) <= 128:
        raise Rejected(400, "run: missing or not a text of 1 to 128 characters, expected the id of the run")
    ttl_s = parse_number(fields, "ttlSeconds", 1, 3600, (int, float))
    options = {key: parse_option(fields, key, option) for key, option in OPTIONS[name].items()}
    if fields:
        known = ", ".join(("run", "ttlSeconds", *OPTIONS[name]))
        raise Rejected(400, f"{', '.join(sorted(fields))}: unknown, the switch {name} knows {known}")
    return Switch(name, run, ttl_s, time.monotonic() + ttl_s, options)


def parse_option(fields: dict[str, Any], name: str, option: Option) -> int:
    if name not in fields and option.default is not None:
        return option.default
    value: int = parse_number(fields, name, option.lowest, option.highest, (int,))
    return value


def parse_number(fields: dict[str, Any], name: str, lowest: int, highest: int, types: tuple[type, ...]) -> Any:
    value = fields.pop(name, None)
    if type(value) not in types or not lowest <= value <= highest:  # `type`, since a bool is an int to isinstance
        noun = "a number" if float in types else "a whole number"
        raise Rejected(400, f"{name}: {json.dumps(value)}, expected {noun} from {lowest} to {highest}")
    return value


class Switches:
    """Which switches are on, and the protocol to turn them. One that outlived its time is off; nothing has to happen."""

    def __init__(self) -> None:
        self._on: dict[str, Switch] = {}
        self._lock = threading.Lock()

    def find(self, name: str) -> Switch | None:
        switch = self._on.get(name)
        return switch if switch is not None and time.monotonic() < switch.ends_at else None

    def handle(self, request: Request) -> Answer:
        if request.path == "/switches" and request.method == "GET":
            found = [switch.state() for switch in map(self.find, OPTIONS) if switch is not None]
            return json_answer(200, {"switches": found})
        folder, _, name = request.path.rpartition("/")
        if folder != "/switches" or name not in OPTIONS:
            raise Rejected(404, f"{request.path}: unknown, expected /switches/NAME with one of {', '.join(OPTIONS)}")
        verbs = {"GET": self._get, "PUT": self._put, "DELETE": self._delete}
        if request.method not in verbs:
            raise Rejected(405, f"{request.method}: not for a switch, expected {', '.join(verbs)}")
        return verbs[request.method](name, request)

    def _get(self, name: str, _: Request) -> Answer:
        switch = self.find(name)
        if switch is None:
            raise Rejected(404, f"{name}: off")
        return json_answer(200, switch.state())

    def _put(self, name: str, request: Request) -> Answer:
        switch = parse_switch(name, request.body)
        answer = json_answer(200, switch.state())
        with self._lock:
            self._reject_strangers(name, switch.run)
            if name != "crash":
                self._on[name] = switch
        say(f"switch {name}: on for {switch.ttl_s} s by run {switch.run!r} {switch.options or ''}")
        return answer._replace(exit_code=switch.options["exitCode"]) if name == "crash" else answer

    def _delete(self, name: str, request: Request) -> Answer:
        run = urllib.parse.parse_qs(request.query).get("run", [""])[0]
        if not run:
            raise Rejected(400, "run: missing, expected ?run=ID of the run that turned the switch on")
        with self._lock:
            self._reject_strangers(name, run)
            was_on = self._on.pop(name, None)
        if was_on is not None:
            say(f"switch {name}: off by run {run!r}")
        return json_answer(200, {"switch": name, "on": False})

    def _reject_strangers(self, name: str, run: str) -> None:
        holder = self.find(name)
        if holder is not None and holder.run != run:
            raise Rejected(409, f"{name}: held by run {holder.run}, expected that run, or to find it off")


# ---- The two services


class Order(NamedTuple):
    number: int
    total_cents: int


class Service(NamedTuple):
    serve: Callable[[], Answer]
    rehearse: Callable[[], Answer]  # the code that serves, with nobody else involved


def checkout() -> Service:
    numbers = itertools.count(1)

    def take_order(number: int) -> Answer:
        return json_answer(200, {"order": number, "totalCents": 995 + number * 37 % 9000})

    return Service(lambda: take_order(next(numbers)), lambda: take_order(0))


def storefront(checkout_url: str) -> Service:
    place = urllib.parse.urlsplit(checkout_url)
    if place.scheme != "http" or place.hostname is None:
        raise ValueError("not http://HOST:PORT")
    address = (place.hostname, place.port or 80)  # .port raises ValueError for what is none

    def page(order: Order) -> Answer:
        text = f"<!doctype html>\n<title>Storefront</title>\n<h1>Thank you</h1>\n<p>Order {order.number}, "
        return Answer(200, f"{text}{order.total_cents / 100:.2f} euros.</p>\n".encode(), "text/html; charset=utf-8")

    def sell() -> Answer:
        try:
            return page(fetch_order(address))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Rejected(502, f"checkout at {checkout_url}: {type(error).__name__}: {error}") from error

    return Service(sell, lambda: page(Order(0, 0)))


def fetch_order(address: tuple[str, int]) -> Order:
    """An order over a connection of its own, so that each one is balanced anew; all within CHECKOUT_TIMEOUT_S."""
    deadline = time.monotonic() + CHECKOUT_TIMEOUT_S
    with socket.create_connection(address, CHECKOUT_TIMEOUT_S) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % address[0].encode())
        head, _, body = read_to_end(connection, deadline).partition(b"\r\n\r\n")
    first_line = head.partition(b"\r\n")[0].decode("latin-1")
    if first_line.split()[1:2] != ["200"]:
        raise ValueError(f"{first_line or 'closed without an answer'}: {body[:200].decode('utf-8', 'replace').strip()}")
    fields = json.loads(body)
    return Order(int(fields["order"]), int(fields["totalCents"]))


def read_to_end(connection: socket.socket, deadline: float) -> bytes:
    received = b""
    while len(received) <= LARGEST_BODY:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        part = connection.recv(LARGEST_BODY)
        if not part:
            return received
        received += part
    raise ValueError(f"more than {LARGEST_BODY} bytes")


def service_handler(service: Service, switches: Switches, broken: frozenset[str]) -> Handler:
    """`/`, `/healthz` and `/readyz` of a service, with whatever is made to go wrong."""

    def reject_if_failing(name: str, status: int) -> None:
        if name in broken:
            raise Rejected(status, f"{name}: broken in this release")
        if switches.find(name) is not None:
            raise Rejected(status, f"{name}: switched to fail")

    def troubled(work: Callable[[], Answer]) -> Answer:
        slow = switches.find("slow")
        if slow is not None:
            time.sleep(slow.options["delayMs"] / 1000)
        reject_if_failing("requests", 500)
        return work()

    def healthz() -> Answer:
        reject_if_failing("liveness", 500)
        return json_answer(200, {"status": "alive"})

    def readyz() -> Answer:
        reject_if_failing("readiness", 503)
        rehearsal = attempt(lambda: troubled(service.rehearse))
        return json_answer(200, {"status": "ready"}) if rehearsal.status == 200 else rehearsal._replace(status=503)

    routes = {"/": lambda: troubled(service.serve), "/healthz": healthz, "/readyz": readyz}

    def handle(request: Request) -> Answer:
        if request.path not in routes:
            raise Rejected(404, f"{request.path}: unknown, expected one of {', '.join(routes)}")
        if request.method not in ("GET", "HEAD"):
            raise Rejected(405, f"{request.method}: not for this path, expected GET")
        return routes[request.path]()

    return handle


# ---- The process


class Settings(NamedTuple):
    role: str
    service: Service
    host: str
    port: int
    admin_port: int
    startup_delay_s: float
    broken: frozenset[str]
    ignore_sigterm: bool
    headers: dict[str, str]


def parse_settings(arguments: list[str], env: Mapping[str, str]) -> Settings:
    role, *rest = arguments or [""]
    if role not in ("checkout", "storefront") or (rest and (rest[0] != "--host" or len(rest) != 2)):
        raise ValueError(
            "usage: python service.py checkout|storefront [--host ADDRESS]; this file begins with the rest"
        )
    broken = frozenset(filter(None, map(str.strip, env.get("BROKEN", "").split(","))))
    if not broken <= {"requests", "readiness", "start"}:
        raise ValueError(f"BROKEN: {env['BROKEN']}, expected a comma-separated list of requests, readiness, start")
    who = {"X-Pod": env.get("POD_NAME") or socket.gethostname(), "X-Node": env.get("NODE_NAME", "none")}
    return Settings(
        role=role,
        service=checkout() if role == "checkout" else parse_storefront(env.get("CHECKOUT_URL", "")),
        host=rest[1] if rest else env.get("HOST", "0.0.0.0"),
        port=parse_setting(env, "PORT", "8080", int, 65535),
        admin_port=parse_setting(env, "ADMIN_PORT", "9090", int, 65535),
        startup_delay_s=parse_setting(env, "STARTUP_DELAY_S", "0", float, 3600),
        broken=broken,
        ignore_sigterm=env.get("IGNORE_SIGTERM", "") not in ("", "0"),
        headers={**who, "X-Version": env.get("APP_VERSION", "none")},
    )


def parse_storefront(url: str) -> Service:
    try:
        return storefront(url)
    except ValueError as error:
        hint = "expected http://HOST:PORT (a pod has the environment variables only of Services older than itself)"
        raise ValueError(f"CHECKOUT_URL: {url!r}: {error}, {hint}") from error


def parse_setting(env: Mapping[str, str], name: str, default: str, number: Callable[[str], Any], highest: int) -> Any:
    text = env.get(name, default)
    with contextlib.suppress(ValueError):
        value = number(text)
        if 0 <= value <= highest:
            return value
    raise ValueError(f"{name}: {text!r}, expected a number from 0 to {highest}")


def requests_to_end(ignore_sigterm: bool) -> int:
    """A file descriptor that becomes readable when a signal asks this process to end.

    The interpreter writes to it the moment a signal arrives. Waiting for a lock would miss one that arrives just
    before the wait begins. The handlers do nothing, but the first process of a container gets only handled signals.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    if ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return reader


def asked_to_end(requests: int, within_s: float | None) -> bool:
    return bool(select.select([requests], [], [], within_s)[0])


def run(settings: Settings) -> int:
    end = requests_to_end(settings.ignore_sigterm)
    if "start" in settings.broken:
        say(f"{settings.role}: does not start, broken in this release")
        return 1
    if asked_to_end(end, settings.startup_delay_s):
        return 0
    switches = Switches()
    handle = service_handler(settings.service, switches, settings.broken)
    admin = Server(settings.host, settings.admin_port, switches.handle, settings.headers)
    server = Server(settings.host, settings.port, handle, settings.headers)
    say(f"{settings.role}: serves on {settings.host} port {server.port}, switches on port {admin.port}")
    asked_to_end(end, None)
    server.drain()
    say(f"{settings.role}: asked to end, has ended")
    return 0


def main() -> int:
    try:
        return run(parse_settings(sys.argv[1:], os.environ))
    except (ValueError, OSError) as error:
        print(f"service.py: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
