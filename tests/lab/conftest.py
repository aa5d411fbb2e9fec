"""Fixtures for tests against real systemd PCs (see the script "lab" beside this file).

    def test_x(lab): ...            lab.pc is aurgi-pc, booted; its ten services are as after the boot
    def test_y(daemon): ...         services_api runs in it as fn's user service, with the lab's registry
    def test_r(shared_daemon): ...  the same, but others have used it before: for tests that only read
    def test_z(make_daemon): ...    the same, with files, arguments or environment of your own

The daemon comes from $SERVICES_API, by default the build with address and undefined behaviour sanitizer in
build-san; what a sanitizer says fails the test. LAB_KEEP=1 leaves the lab up for a look: then use it with
LAB_NAME=labtest tests/lab/lab ...
"""

import contextlib
import ctypes
import http.client
import json
import os
import re
import shlex
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
import yaml
from websockets.client import ClientConnection
from websockets.frames import Opcode
from websockets.uri import parse_uri

HERE = Path(__file__).resolve().parent
SOURCE_ROOT = HERE.parent.parent
# A lab of its own, so that one that a person plays with is not disturbed, and one for each worker of
# pytest-xdist: they inherit the name from the process that started them.
LAB_NAME = os.environ.get("LAB_NAME", "labtest") + os.environ.get("PYTEST_XDIST_WORKER", "")
os.environ["LAB_NAME"] = LAB_NAME
REGISTRY = HERE / "registry.yaml"
API_PORT = 8485
FN_UID = 1000
PROGRAM = "/opt/services_monitor/services_api"

SANITIZER_ENV = {
    "ASAN_OPTIONS": "halt_on_error=1:detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}
SANITIZER_REPORT = re.compile(
    r"ERROR: (Address|Leak|Thread)Sanitizer|WARNING: ThreadSanitizer|runtime error:"
)

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def wait_until(check, timeout=10.0, interval=0.02, what=""):
    """Calls check() until it returns something true, which is returned."""
    deadline = time.monotonic() + timeout
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or check}; last: {value!r}")
        time.sleep(interval)


def lab_command(*args, check=True, timeout=120, **kwargs):
    command = [str(HERE / "lab"), *args]
    done = subprocess.run(command, check=False, timeout=timeout, text=True, capture_output=True, **kwargs)
    if check and done.returncode != 0:
        raise AssertionError(f"{shlex.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def in_network(pc, make):
    """What make() returns, called in a short-lived thread that is in the PC's network; this process stays out."""
    result = []

    def body():
        try:
            with open(f"/run/netns/{LAB_NAME}-{pc.name}") as netns:
                if _libc.setns(netns.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            result.append(make())
        except Exception as error:  # pylint: disable=broad-except
            result.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if isinstance(result[0], Exception):
        raise result[0]
    return result[0]


class Response:
    def __init__(self, reply, body):
        self.status = reply.status
        self.headers = reply.headers
        self.body = body

    @property
    def text(self):
        return self.body.decode()

    def json(self):
        return json.loads(self.body)


class Pc:
    """One PC of the lab."""

    def __init__(self, name):
        self.name = name
        self.has_program = False

    # -- commands inside ---------------------------------------------------------------------------------

    def run(self, *command, check=True, timeout=30, **kwargs):
        """As fn, with the user bus. One string goes through bash, several are an argv."""
        return self._run("user", command, check, timeout, kwargs)

    def root(self, *command, check=True, timeout=30, **kwargs):
        """As root, inside."""
        return self._run("exec", command, check, timeout, kwargs)

    def _run(self, how, command, check, timeout, kwargs):
        argv = ["bash", "-c", command[0]] if len(command) == 1 else [str(word) for word in command]
        return lab_command(how, self.name, *argv, check=check, timeout=timeout, **kwargs)

    def systemctl(self, *args, check=True):
        """What `systemctl --user ...` prints."""
        return self.run("systemctl", "--user", "--no-pager", *args, check=check).stdout.strip()

    def show(self, unit, *properties):
        """The unit's properties as a dict of strings."""
        text = self.systemctl("show", unit, *[f"-p{name}" for name in properties])
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def kill(self, unit, sig="KILL"):
        """Sends a signal to the unit's main process."""
        self.systemctl("kill", "--kill-whom=main", f"--signal={sig}", unit)

    def mode(self, port, mode=None):
        """How the sample service on that port behaves from now on (see labsvc.c); None: as it was."""
        path = self.path(f"/run/user/{FN_UID}/labsvc-{port}.mode")
        if mode is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(mode + "\n")

    def journal(self, unit, *args):
        return self.run("journalctl", "--user", "-q", "--no-pager", "-u", unit, *args).stdout

    # -- files inside ------------------------------------------------------------------------------------

    def leader(self):
        """The pid, seen from here, of the PC's PID 1."""
        return int(lab_command("leader", self.name).stdout)

    def path(self, inside):
        """A path inside, as seen from here."""
        return Path(f"/proc/{self.leader()}/root{inside}")

    def write(self, inside, text, mode=0o644):
        """Writes a file that belongs to fn."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        home = self.path("/home/fn")
        while path != home and home in path.parents:
            os.chown(path, FN_UID, FN_UID)
            path = path.parent

    def push(self, source, inside):
        lab_command("push", self.name, str(source), inside)

    # -- network -----------------------------------------------------------------------------------------

    def connect(self, port, host="127.0.0.1", uid=FN_UID, timeout=10.0):
        """A connected socket *inside the PC's network*, owned by that uid.

        A socket stays in the network namespace and keeps the owner that its thread had when it was made.
        """

        def body():
            _libc.setfsuid(uid)  # of this thread alone
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.settimeout(timeout)
            try:
                sock.connect((host, port))
            except BaseException:
                sock.close()
                raise
            return sock

        return in_network(self, body)

    def http(self, path, port=API_PORT, method="GET", body=None, headers=None, host="127.0.0.1", uid=FN_UID):
        """One HTTP request from inside the PC, on a connection of its own."""
        connection = http.client.HTTPConnection(host, port)
        connection.sock = self.connect(port, host, uid)
        try:
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            return Response(reply, reply.read())
        finally:
            connection.close()

    def restore(self):
        lab_command("restore", self.name)


class Stream:
    """A WebSocket client. It reads only while a method of it runs, so a test decides how slow it is."""

    def __init__(self, sock, path, port, headers=None):
        self.sock = sock
        self.messages = []  # (time.monotonic() of arrival, message), all since the start
        self._next = 0
        self._fragments = b""
        self._connection = ClientConnection(parse_uri(f"ws://127.0.0.1:{port}{path}"), max_size=None)
        request = self._connection.connect()
        for name, value in (headers or {}).items():
            request.headers.pop(name, None)
            request.headers[name] = value
        self._connection.send_request(request)
        self.response = None
        self.close_code = None
        self._flush()
        wait_until(lambda: self._pump(1.0) or self.response, 10, 0, "WebSocket handshake")
        if self._connection.handshake_exc:
            raise self._connection.handshake_exc

    def _flush(self):
        for data in self._connection.data_to_send():
            if data:
                self.sock.sendall(data)

    def _pump(self, timeout):
        """Takes in what arrives within the timeout."""
        self.sock.settimeout(max(timeout, 0.001))
        try:
            data = self.sock.recv(1 << 16)
        except (TimeoutError, socket.timeout):
            return
        except ConnectionResetError:
            data = b""
        now = time.monotonic()
        if data:
            self._connection.receive_data(data)
        else:
            self._connection.receive_eof()
            self.close_code = self._connection.close_code or 1006
        for event in self._connection.events_received():
            if self.response is None:
                self.response = event
            elif event.opcode in (Opcode.TEXT, Opcode.CONT):
                self._fragments += event.data
                if event.fin:
                    self.messages.append((now, json.loads(self._fragments)))
                    self._fragments = b""
            elif event.opcode is Opcode.CLOSE:
                self.close_code = self._connection.close_code
        with contextlib.suppress(OSError):
            self._flush()  # pongs

    def next(self, timeout=15.0):
        """The next message that was not yet returned."""
        return self.wait_for(lambda message: True, timeout)

    def wait_for(self, match, timeout=15.0):
        """The next message for which match(message) is true; those before it are passed over."""
        deadline = time.monotonic() + timeout
        while True:
            while self._next < len(self.messages):
                message = self.messages[self._next][1]
                self._next += 1
                if match(message):
                    return message
            left = deadline - time.monotonic()
            if left <= 0 or self.close_code is not None:
                raise AssertionError(
                    f"no such message within {timeout} s (closed: {self.close_code}); "
                    f"{len(self.messages)} in all, the last: {self.messages[-1:]}"
                )
            self._pump(left)

    def wait_row(self, app_id, timeout=15.0, pc_id=None, **fields):
        """The first row of that app, in snapshot or delta, that has these fields."""
        found = []

        def match(message):
            for row in message.get("services", []):
                if row["app_id"] == app_id and pc_id in (None, row["pc_id"]):
                    if all(row.get(name) == value for name, value in fields.items()):
                        found.append(row)
                        return True
            return False

        self.wait_for(match, timeout)
        return found[0]

    def read_for(self, seconds):
        """Reads for that long; returns the messages that came and were not yet returned."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and self.close_code is None:
            self._pump(left)
        news = [message for _, message in self.messages[self._next :]]
        self._next = len(self.messages)
        return news

    def close(self):
        self.sock.close()


class Daemon:
    """services_api as fn's transient user service on one PC."""

    unit = "services_api.service"

    def __init__(self, pc, args=(), env=None, properties=()):
        self.pc = pc
        self.args = list(args)
        self.env = {**SANITIZER_ENV, **(env or {})}
        self.properties = list(properties)
        self.since = "now"
        self.streams = []
        if not pc.has_program:
            pc.push(daemon_program(), PROGRAM)
            pc.has_program = True

    # -- its files ---------------------------------------------------------------------------------------

    def forget(self):
        """Fresh: no registry, no history, no config, no token."""
        self.pc.run(
            "rm -rf ~/.local/share/services_api ~/.local/state/services_api ~/.config/services_api"
        )

    def config(self, **values):
        self.pc.write("/home/fn/.config/services_api/config.yaml", yaml.safe_dump(values))

    def registry(self, source):
        """Imports a registry: a path, YAML text, or a dict."""
        if isinstance(source, Path):
            source = source.read_text()
        elif isinstance(source, dict):
            source = yaml.safe_dump(source, sort_keys=False)
        self.cli("import", "-", input=source)

    def sql(self, query):
        """What a person with the sqlite3 shell would see: rows as dicts."""
        path = "/home/fn/.local/state/services_api/services_api.db"
        out = self.pc.run("sqlite3", "-readonly", "-cmd", ".timeout 5000", "-json", path, query).stdout
        return json.loads(out) if out.strip() else []

    # -- its life ----------------------------------------------------------------------------------------

    def start(self, check=True):
        """Returns when the daemon has said READY=1. With check=False the caller looks at what came of it."""
        self.pc.systemctl("reset-failed", self.unit, check=False)
        self.since = self.pc.run("date", "+%Y-%m-%d %H:%M:%S.%6N").stdout.strip()
        command = ["systemd-run", "--user", "--quiet", "--unit=services_api", "--property=Type=notify"]
        command += [f"--property={value}" for value in self.properties]
        command += [f"--setenv={name}={value}" for name, value in self.env.items()]
        done = self.pc.run(*command, PROGRAM, "serve", *self.args, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"the daemon did not start: {done.stderr}\n{self.journal()}")
        return done

    def stop(self):
        for stream in self.streams:
            stream.close()
        self.streams.clear()
        self.pc.systemctl("stop", self.unit, check=False)

    def restart(self):
        self.stop()
        self.start()

    def kill(self, sig="KILL"):
        self.pc.kill(self.unit, sig)

    def active(self):
        return self.pc.systemctl("is-active", self.unit, check=False) == "active"

    def pid(self):
        """Its pid inside the PC."""
        return int(self.pc.show(self.unit, "MainPID")["MainPID"])

    def journal(self):
        """What it logged since its last start()."""
        return self.pc.journal(self.unit, "-o", "cat", "--since", self.since)

    # -- its interfaces ----------------------------------------------------------------------------------

    def http(self, path, **kwargs):
        return self.pc.http(path, **kwargs)

    def get(self, path, **kwargs):
        """GET, must be 200, the JSON."""
        reply = self.pc.http(path, **kwargs)
        assert reply.status == 200, (path, reply.status, reply.text)
        return reply.json()

    def rows(self):
        """{(app_id, pc_id): row}"""
        return {(row["app_id"], row["pc_id"]): row for row in self.get("/api/services")}

    def row(self, app_id, pc_id=None):
        return self.rows()[(app_id, pc_id or self.pc.name)]

    def wait_row(self, app_id, timeout=10.0, pc_id=None, **fields):
        """Waits until GET /api/services shows these fields."""
        last = {}

        def check():
            last.update(self.row(app_id, pc_id))
            return all(last.get(name) == value for name, value in fields.items())

        try:
            wait_until(check, timeout, 0.05)
        except AssertionError:
            raise AssertionError(f"{app_id}: no {fields} within {timeout} s; it is {last}") from None
        return last

    def stream(self, path="/api/ws/services", headers=None, uid=FN_UID):
        stream = Stream(self.pc.connect(API_PORT, uid=uid), path, API_PORT, headers)
        self.streams.append(stream)
        return stream

    def cli(self, *args, check=True, input=None, timeout=30):
        """Runs `services_api ARGS` as fn."""
        env = [f"{name}={value}" for name, value in self.env.items()]
        done = self.pc.run("env", *env, PROGRAM, *args, check=check, input=input, timeout=timeout)
        assert not SANITIZER_REPORT.search(done.stderr), done.stderr
        return done


@contextlib.contextmanager
def running_daemon(pc, registry=REGISTRY, config=None, args=(), env=None, properties=(), start=True):
    """A fresh daemon on a PC whose services are as after the boot; gone and checked at the end."""
    daemon = Daemon(pc, args, env, properties)
    daemon.stop()
    pc.restore()
    daemon.forget()
    try:
        if registry is not None:
            daemon.registry(registry)
        if config is not None:
            daemon.config(**config)
        if start:
            daemon.start()
        yield daemon
    finally:
        daemon.stop()
        journal = daemon.journal()
        print(f"--- journal of {daemon.unit} on {pc.name} ---\n{journal}")
        report = SANITIZER_REPORT.search(journal)
        assert not report, f"a sanitizer reports:\n{journal[report.start():][:8000]}"


class Lab:
    """The PCs that are up."""

    def __init__(self):
        self._pcs = {}

    def up(self, *names):
        """Boots these PCs, all at once, unless they are up."""
        missing = [name for name in names if name not in self._pcs]
        if missing:
            lab_command("up", *missing, timeout=600)
            self._pcs.update((name, Pc(name)) for name in missing)
        return [self._pcs[name] for name in names]

    @property
    def pc(self):
        return self["aurgi-pc"]

    def __getitem__(self, name):
        return self.up(name)[0]


def daemon_program():
    given = os.environ.get("SERVICES_API")
    if given:
        found = [Path(given)] if Path(given).is_file() else []
    else:
        found = [p for p in (SOURCE_ROOT / "build-san").rglob("services_api") if p.is_file()]
    if not found:
        pytest.fail("there is no daemon to test: run script/test, or set SERVICES_API", pytrace=False)
    return found[0]


@pytest.fixture(scope="session")
def booted_lab():
    if os.geteuid() != 0:
        pytest.fail("the lab needs root", pytrace=False)
    lab_command("down")
    the_lab = Lab()
    try:
        the_lab.up("aurgi-pc")
        yield the_lab
    finally:
        if not os.environ.get("LAB_KEEP"):
            lab_command("down")


@pytest.fixture
def lab(booted_lab, shared):
    """The lab, with the services of aurgi-pc as after the boot, and no daemon that looks at them."""
    shared.drop()
    booted_lab.pc.restore()
    return booted_lab


class SharedDaemon:
    """One daemon that serves test after test, until one of them wants a daemon of its own on that PC."""

    def __init__(self, pc):
        self.pc = pc
        self._stack = contextlib.ExitStack()
        self._daemon = None

    def get(self):
        if self._daemon is None:
            self._daemon = self._stack.enter_context(running_daemon(self.pc))
        return self._daemon

    def drop(self):
        self._daemon = None
        self._stack.close()


@pytest.fixture(scope="session")
def shared(booted_lab):
    the_shared = SharedDaemon(booted_lab.pc)
    yield the_shared
    the_shared.drop()


@pytest.fixture
def shared_daemon(shared):
    """A daemon with the lab's registry that other tests use too: for tests that only read."""
    return shared.get()


@pytest.fixture
def make_daemon(booted_lab, shared):
    """make_daemon(registry=, config=, args=, env=, properties=, start=True, pc="aurgi-pc")"""
    shared.drop()
    with contextlib.ExitStack() as stack:

        def make(pc="aurgi-pc", **kwargs):
            return stack.enter_context(running_daemon(booted_lab[pc], **kwargs))

        yield make


@pytest.fixture
def daemon(make_daemon):
    """A fresh daemon with the lab's registry, for this test alone."""
    return make_daemon()
