"""Hostile clients, hostile texts, and people who may not: nobody gets in, nobody is harmed."""

import contextlib
import json
import os
import random
import re
import struct
import subprocess
import time

import pytest
import yaml
from conftest import HERE, PROGRAM, SANITIZER_ENV, SOURCE_ROOT, daemon_program, wait_until
from test_daemon import registry_with

PC = "aurgi-pc"
STRANGER = 4711
SLOW = int(os.environ.get("SOAK_SLOW", "200"))  # clients that dribble
# Every row of routes_table in src/api/routes.c: what it needs, a request that is good but for who asks, and what
# its handler then answers. test_door.py says who may.
SERVICE = f"/api/services/sqlite_api/{PC}"
TABLE = [
    ("GET", "/api/services", "/api/services", "read", 200),
    ("GET", "/api/services/*/*", SERVICE, "read", 200),
    ("POST", "/api/services/*/*/check", SERVICE + "/check", "check", 200),
    ("POST", "/api/services/*/*/action", SERVICE + "/action", "action", 400),  # its body is no action
    ("GET", "/api/pcs", "/api/pcs", "read", 200),
    ("GET", "/api/transitions", "/api/transitions", "read", 200),
    ("GET", "/api/alerts", "/api/alerts", "read", 200),
    ("POST", "/api/alerts/*/ack", "/api/alerts/1/ack", "check", 404),  # there is none of that number
    ("GET", "/api/silences", "/api/silences", "read", 200),
    ("POST", "/api/silences", "/api/silences", "check", 400),  # its body is no silence
    ("DELETE", "/api/silences/*", "/api/silences/1", "check", 404),
    ("GET", "/api/audit", "/api/audit", "read", 200),
    ("GET", "/api/health", "/api/health", "read", 200),
    ("GET", "/metrics", "/metrics", "read", 200),
    ("GET", "/api/ws/services", "/api/ws/services", "read", 101),
]
ROUTES = [(method, path) for method, _, path, _, _ in TABLE]
# of those who may, while the flag is off
GOOD = {(method, path): 403 if need == "action" else status for method, _, path, need, status in TABLE}
JSON = {"Content-Type": "application/json"}
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def read_reply(sock, timeout=5.0):
    """All that comes until the other side closes or falls silent."""
    sock.settimeout(timeout)
    got = b""
    with contextlib.suppress(OSError):
        while data := sock.recv(65536):
            got += data
            head, _, body = got.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            ended = length and len(body) >= int(length.group(1))
            if b"\r\n\r\n" in got and (ended or got.startswith(b"HTTP/1.1 101")):
                break
    return got


def exchange(daemon, data, uid=1000, timeout=5.0, host="127.0.0.1"):
    """Sends raw bytes; (status or None, reply)."""
    sock = daemon.pc.connect(8485, host, uid)
    with contextlib.closing(sock):
        with contextlib.suppress(OSError):
            sock.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))
        reply = read_reply(sock, timeout)
    match = re.match(rb"HTTP/1\.[01] (\d{3})", reply)
    return int(match.group(1)) if match else None, reply


def request(method, path, headers, body=""):
    lines = f"{method} {path} HTTP/1.1\r\n{headers}"
    if method == "POST":
        body = body or "{}"
        lines += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return lines + "\r\n" + body


def memory_mib(daemon):
    status = daemon.pc.path(f"/proc/{daemon.pid()}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024


# ---- the gate ----------------------------------------------------------------------------------------------

BAD_HOSTS = [
    "",
    "Host: evil.example\r\n",
    "Host: evil.example:8485\r\n",
    "Host: localhost.evil.example\r\n",
    "Host: 127.0.0.1.evil.example:8485\r\n",
    "Host: evil.example#127.0.0.1\r\n",
    "Host: 127.0.0.1@evil.example\r\n",
    "Host: localhost evil.example\r\n",
    "Host: \r\n",
    "Host: localhost:\r\n",
    "Host: localhost:0\r\n",
    "Host: localhost:99999\r\n",
    "Host: localhost:8485x\r\n",
    "Host: [::1\r\n",
    "Host: [::2]\r\n",
    "Host: 0.0.0.0:8485\r\n",
    "Host: 127.0.0.2\r\n",
    "Host: aurgi-pc\r\n",
    "Host: localhost\r\nHost: localhost\r\n",
    "Host: localhost\r\nhost: evil.example\r\n",
    "Host: localhost\xa0\r\n",
    "Host: l%6fcalhost\r\n",
    "Host: localhost, evil.example\r\n",
    "X-Forwarded-Host: localhost\r\n",
]
BAD_ORIGINS = [
    "http://evil.example",
    "https://evil.example:8485",
    "null",
    "",
    "http://localhost.evil.example",
    "http://127.0.0.1.evil.example",
    "http://evil.example?localhost",
    "http://localhost@evil.example",
    "https://localhost:8485",
    "file://",
    "chrome-extension://abcdef",
    "http://localhost:8485/",
    "http://localhost:8485\r\nOrigin: http://localhost:8485",
    "http://localhost:8485, http://evil.example",
    "*",
    "http://LOCALHOST:8485 ",
    "http://[::2]",
    "http://0.0.0.0:8485",
    "http://localhost:8485\\@evil.example",
    "ws://localhost:8485",
]
ACCEPTED_LATIN = {"http://LOCALHOST:8485 "}  # trailing blanks are no part of a value, case is none of a host


@pytest.mark.parametrize("method, path", ROUTES)
def test_wrong_host_or_origin_is_refused_on_every_route(shared_daemon, method, path):
    """R33: all of it before any handler, the upgrade included."""
    upgrade = UPGRADE if path.startswith("/api/ws") else ""
    variants = [(headers, {400, 421}) for headers in BAD_HOSTS]
    variants += [
        (f"Host: localhost:8485\r\nOrigin: {origin}\r\n", {400, 403})
        for origin in BAD_ORIGINS
        if origin not in ACCEPTED_LATIN
    ]
    assert len(variants) >= 40
    for headers, expected in variants:
        status, reply = exchange(shared_daemon, request(method, path, headers + upgrade))
        assert status in expected, (headers, reply[:300])
        assert b"access-control" not in reply.lower()
        assert b'"features.actions"' not in reply
    absolute = request(method, f"http://evil.example{path}", "Host: localhost\r\n" + upgrade)
    assert exchange(shared_daemon, absolute)[0] == 400
    for host in ("localhost", "127.0.0.1:8485", "[::1]:8485", "LOCALHOST:1"):
        status, reply = exchange(shared_daemon, request(method, path, f"Host: {host}\r\n" + upgrade))
        assert status == GOOD[method, path], reply[:300]
        assert b"access-control" not in reply.lower()


def test_preflight_gets_no_permission(shared_daemon):
    headers = (
        "Host: localhost:8485\r\nOrigin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n"
        "Access-Control-Request-Headers: content-type\r\n"
    )
    for _, path in ROUTES:
        status, reply = exchange(shared_daemon, request("OPTIONS", path, headers))
        assert status in (403, 405)
        assert b"access-control" not in reply.lower()


def test_hosts_of_the_config_are_accepted(make_daemon):
    daemon = make_daemon(config={"hosts": ["monitor.lan"], "origins": ["https://dash.lan"]})
    assert exchange(daemon, request("GET", "/api/health", "Host: monitor.lan:8485\r\n"))[0] == 200
    assert exchange(daemon, request("GET", "/api/health", "Host: evil.lan\r\n"))[0] == 421
    both = "Host: monitor.lan\r\nOrigin: https://dash.lan\r\n"
    status, reply = exchange(daemon, request("GET", "/api/health", both))
    assert status == 200 and b"access-control" not in reply.lower()


SMUGGLED = "GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: xchunked\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 0\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Type: application/json\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n",
    ],
    ids=lambda headers: re.sub(r"\W+", "_", headers),
)
def test_doubtful_lengths_are_refused_and_nothing_is_smuggled(shared_daemon, headers):
    path = f"/api/services/sqlite_api/{PC}/check"
    data = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n0\r\n\r\n{SMUGGLED}"
    status, reply = exchange(shared_daemon, data, timeout=2)
    assert status in (400, 411, 413, 415, None), reply[:300]
    assert b"uptime_s" not in reply, reply


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 100,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500,
        b"GET\r\n\r\n",
        b"GET /api/health\r\n\r\n",
        b"GET /api/health HTTP/0.9\r\nHost: localhost\r\n\r\n",
        b"GET /api/health HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"G\xc3\x8bT /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/health\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
        b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nX: a\x1b[31m\r\n\r\n",
        b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n",
        b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nNo colon\r\n\r\n",
        b"GET /api/%2e%2e/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/health%00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/services?x=%zz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 100 + b"\r\n",
        b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 9000 + b"\r\n\r\n",
        b"GET http://localhost/api/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=lambda data: re.sub(r"\W+", "_", data[:60].decode("latin-1")),
)
def test_nonsense_is_refused(shared_daemon, data):
    status, reply = exchange(shared_daemon, data, timeout=2)
    assert status is None or 400 <= status <= 505, reply[:200]
    assert not reply or b"sqlite_api" not in reply
    assert shared_daemon.get("/api/health")["status"] == "ok"


def test_huge_heads_are_ended_and_memory_stays(shared_daemon):
    before = memory_mib(shared_daemon)
    for _ in range(20):
        with contextlib.closing(shared_daemon.pc.connect(8485)) as sock:
            sock.settimeout(2)
            with contextlib.suppress(OSError):
                sock.sendall(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"y" * (1 << 20))
    assert shared_daemon.get("/api/health")["status"] == "ok"
    # a sanitizer keeps freed memory for a while, so this is about leaks of whole heads
    assert memory_mib(shared_daemon) - before < 40


def test_many_slow_clients_harm_nobody(make_daemon):
    """R30: each has sent half a request; the others are served as if they were not there."""
    keep_little = SANITIZER_ENV["ASAN_OPTIONS"] + ":quarantine_size_mb=1"  # else freed memory would count
    daemon = make_daemon(env={"ASAN_OPTIONS": keep_little})
    daemon.wait_row("sqlite_api", actual="running")
    pid, before = daemon.pid(), memory_mib(daemon)
    slow = [daemon.pc.connect(8485) for _ in range(SLOW)]
    for sock in slow:
        with contextlib.suppress(OSError):  # beyond the places there are, the oldest make room
            sock.sendall(b"GET /api/services HTTP/1.1\r\nHost: loc")
    took = []
    end = time.monotonic() + 3
    while time.monotonic() < end:
        with contextlib.suppress(OSError):  # opening thousands takes longer than some have
            random.choice(slow).sendall(b"a")
        begin = time.monotonic()
        daemon.get("/api/services")
        took.append((time.monotonic() - begin) * 1000)
    took.sort()
    p99 = took[int(len(took) * 0.99)]
    assert p99 < 500
    daemon.pc.kill("auth_api.service")
    daemon.wait_row("auth_api", timeout=3, restarts=1)
    # in the end they are shown the door: 10 s for a whole request, however they dribble
    ended = []

    def all_ended():
        for sock in slow:
            if sock not in ended:
                with contextlib.suppress(BlockingIOError):
                    sock.setblocking(False)
                    try:
                        gone = sock.recv(4096)
                    except ConnectionError:
                        gone = b""
                    ended.append(sock)
                    assert not gone or b" 408 " in gone or b" 400 " in gone, gone
        return len(ended) == len(slow)

    wait_until(all_ended, 15, 0.1)
    assert daemon.pid() == pid
    grown = memory_mib(daemon) - before
    print(f"soak: R30: {SLOW} slow clients: others served, p99 {p99:.1f} ms of {len(took)}, RSS {grown:+.1f} MiB")
    is_sanitized = b"__asan_init" in daemon_program().read_bytes()  # it keeps freed memory for a while
    assert grown < (40 if is_sanitized else 16)


def test_clients_that_never_read_are_cut_off(make_daemon):
    """R28, the whole way: thirty that do not read; a hundred of them are in test-stream.c."""
    many = [{"app_id": f"copy{i}", "unit": "auth_api.service", "title": "x" * 120} for i in range(200)]
    daemon = make_daemon(registry=registry_with(*many))
    daemon.wait_row("auth_api", actual="running")
    lazy = [daemon.stream() for _ in range(30)]
    reader = daemon.stream()
    reader.wait_for(lambda m: m["type"] == "snapshot")
    for i in range(10):
        daemon.pc.kill("auth_api.service")
        reader.wait_row("auth_api", timeout=20, restarts=i + 1, actual="running")
    seqs = [m["seq"] for _, m in reader.messages if m["type"] == "delta"]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    wait_until(lambda: daemon.get("/api/health")["clients"] <= 1, 15, 0.2)
    for stream in lazy:
        with contextlib.suppress(OSError):
            while stream.close_code is None:
                stream.read_for(0.2)
    assert {stream.close_code for stream in lazy} <= {1008, 1006}


def frame(opcode, payload, fin=True, masked=True, rsv=0, length=None):
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    size = len(payload) if length is None else length
    bit = 0x80 if masked else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", size)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", size)
    if not masked:
        return head + payload
    mask = b"\x12\x34\x56\x78"
    return head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


@pytest.mark.parametrize(
    "name, data, codes",
    [
        ("unmasked", frame(1, b"hello", masked=False), {1002}),
        ("reserved bits", frame(1, b"hello", rsv=4), {1002}),
        ("reserved opcode", frame(3, b"hello"), {1002}),
        ("reserved control", frame(11, b"hello"), {1002}),
        ("too long", frame(1, b"x" * 20000), {1009}),
        ("says it is endless", frame(2, b"x", length=1 << 62), {1009, 1002}),
        ("negative length", frame(2, b"x", length=1 << 63), {1009, 1002}),
        ("long by fragments", frame(1, b"x" * 4000, fin=False) + frame(0, b"x" * 4000, fin=False) * 5, {1009}),
        ("fragmented control", frame(9, b"x", fin=False), {1002}),
        ("long ping", frame(9, b"x" * 126), {1002}),
        ("continuation of nothing", frame(0, b"x"), {1002}),
        ("text within a text", frame(1, b"x", fin=False) + frame(1, b"y"), {1002}),
        ("bad UTF-8", frame(1, b"\xff\xfe\xfd"), {1007, 1003, 1002}),
        ("close with one byte", frame(8, b"x"), {1002, 1005}),
        ("close with a bad code", frame(8, struct.pack(">H", 1005)), {1002, 1000}),
        ("deep JSON", frame(1, b"[" * 16000), set()),
        ("nonsense", bytes(range(256)) * 4, {1002, 1009}),
    ],
    ids=lambda value: value.replace(" ", "_") if isinstance(value, str) else "",
)
def test_bad_frames_end_their_connection_alone(shared_daemon, name, data, codes):
    witness = shared_daemon.stream()
    witness.wait_for(lambda m: m["type"] == "snapshot")
    stream = shared_daemon.stream()
    stream.wait_for(lambda m: m["type"] == "snapshot")
    with contextlib.suppress(OSError):
        stream.sock.sendall(data)
    if codes:
        wait_until(lambda: stream.read_for(0.1) is None or stream.close_code, 5, 0, name)
        assert stream.close_code in codes | {1006}, name
    else:
        stream.read_for(0.3)
        assert stream.close_code is None
    witness.read_for(0.05)
    assert witness.close_code is None
    stream.close()
    witness.close()


def test_random_bytes_after_the_upgrade(shared_daemon):
    pid = shared_daemon.pid()
    generator = random.Random(8485)
    for _ in range(100):
        stream = shared_daemon.stream()
        with contextlib.suppress(OSError):
            stream.sock.sendall(generator.randbytes(generator.randrange(1, 3000)))
        stream.close()
    assert shared_daemon.pid() == pid
    # those that were told to close have 5 s to do so
    wait_until(lambda: shared_daemon.get("/api/health")["clients"] == 0, 10)


# ---- who may -----------------------------------------------------------------------------------------------


def token(daemon):
    return daemon.pc.path("/home/fn/.config/services_api/token").read_text().strip()


@pytest.mark.parametrize("method, path", ROUTES)
def test_another_user_needs_the_token(shared_daemon, method, path):
    """R34"""
    upgrade = UPGRADE if path.startswith("/api/ws") else ""
    good = GOOD[method, path]
    secret = token(shared_daemon)

    def status(headers, uid):
        data = request(method, path, "Host: localhost\r\n" + upgrade + headers)
        return exchange(shared_daemon, data, uid)[0]

    refused = 403 if path.endswith("action") else 401
    assert status("", STRANGER) == refused
    assert status("", 65534) == refused
    for wrong in ("Bearer ", "Bearer x", f"Bearer {secret[:-1]}", f"Bearer {secret}x", f"Basic {secret}"):
        assert status(f"Authorization: {wrong}\r\n", STRANGER) == refused, wrong
    assert status(f"Authorization: Bearer {secret}\r\n", STRANGER) == good
    assert status("", 0) == status("", 1000) == good


def test_refusal_of_a_stranger_tells_nothing(shared_daemon):
    for method, path in ROUTES + [("GET", f"/api/services/nobody/{PC}")]:
        upgrade = UPGRADE if path.startswith("/api/ws") else ""
        _, reply = exchange(shared_daemon, request(method, path, "Host: localhost\r\n" + upgrade), STRANGER)
        for word in (b"sqlite_api", b"8401", b"uptime", b"version"):
            assert word not in reply.replace(path.encode(), b""), reply


def test_token_file_is_private_and_never_told(shared_daemon):
    secret = token(shared_daemon)
    assert re.fullmatch(r"[0-9a-f]{64}", secret)
    mode = shared_daemon.pc.path("/home/fn/.config/services_api/token").stat().st_mode
    assert mode & 0o777 == 0o600
    assert secret not in shared_daemon.journal()
    for method, path in [pair for pair in ROUTES if GOOD[pair] == 200]:
        body, headers = ("{}", JSON) if method == "POST" else (None, {})
        reply = shared_daemon.http(path, method=method, body=body, headers=headers)
        assert reply.status == 200 and secret not in reply.text
    files = "cat ~/.local/state/services_api/* ~/.local/share/services_api/*"
    assert secret.encode() not in subprocess.run(
        [str(HERE / "lab"), "user", PC, "bash", "-c", files], capture_output=True, check=True
    ).stdout


def test_flag_off_means_off(daemon):
    """R35, short: thousands of action requests of every kind, and systemd gets no job."""
    daemon.wait_row("sqlite_api", actual="running")
    secret = token(daemon)
    path = f"/api/services/sqlite_api/{PC}/action"
    daemon.pc.systemctl("stop", "backup_job.timer")  # nothing but an action makes systemd work now
    time.sleep(0.5)

    def jobs():  # that systemd ever installed
        manager = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"]
        return int(daemon.pc.run("busctl", "--user", "get-property", *manager, "NInstalledJobs").stdout.split()[1])

    before = jobs()
    run = daemon.pc.show("sqlite_api.service", "InvocationID")
    generator = random.Random(35)
    words = ["start", "stop", "restart", "reload", "kill", "", "START", "stop\0", None, 1, ["stop"], {"a": 1}]
    statuses = []
    for _ in range(2000):  # a refusal ends its connection, so each comes on one of its own
        body = generator.choice(
            [
                json.dumps({"action": generator.choice(words)}),
                json.dumps({"action": "stop", "force": True}),
                '{"action":"stop","action":"start"}',
                "[" * 1000,
                "action=stop",
                "",
                '{"action":"stop"',
            ]
        )
        headers = "Host: localhost\r\n" + generator.choice(["", f"Authorization: Bearer {secret}\r\n"])
        kind = generator.choice(["application/json", "application/json; charset=utf-8", "text/plain"])
        headers += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        uid = generator.choice([0, 1000, STRANGER])
        statuses.append(exchange(daemon, f"POST {path} HTTP/1.1\r\n{headers}\r\n{body}", uid)[0])
    assert set(statuses) == {403}
    assert jobs() == before
    assert daemon.pc.show("sqlite_api.service", "InvocationID") == run
    # so it is sure that a real one would have been counted
    daemon.pc.systemctl("restart", "sqlite_api.service")
    assert jobs() > before


# ---- texts -------------------------------------------------------------------------------------------------

PAYLOADS = [
    r"\033[31mred\033[0m",
    r"\033]0;title\007",
    r"\033[2J\033[H",
    r"bidi \342\200\256txt.exe",
    r"bad \377\376\200 utf-8",
    r"overlong \300\257",
    r"half \303",
    r"surrogate \355\240\200",
    r"nul \000 nul",
    r"<script>alert(1)</script>",
    r'" , \\" injected',
    r"c1 \302\233 31m",
    r"cr \r lf",
    r"del \177",
    r"separator \342\200\250 line",
]
# all controls but line feed, DEL, C1, and what turns the order of text around
RAW = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def assert_clean(data, where):
    text = data.decode("utf-8", "strict")
    found = RAW.search(text)
    assert not found, (where, text[max(0, found.start() - 40) : found.end() + 40])


@pytest.fixture
def haunted(make_daemon):
    """A service that logs every payload and dies of it; its description is one, too."""
    daemon = make_daemon(start=False)
    lines = "\n".join(f"printf '%b\\n' '{payload}'" for payload in (p.replace("'", "") for p in PAYLOADS))
    daemon.pc.write("/home/fn/haunted.sh", f"#!/bin/sh\n{lines}\nsleep 0.3\nexit 7\n", 0o755)
    daemon.pc.path("/home/fn/.config/systemd/user/haunted.service").write_bytes(
        "[Unit]\nDescription=\x1b[31m<b>\u202eevil\u202c\n[Service]\nExecStart=/home/fn/haunted.sh\n".encode()
    )
    daemon.pc.systemctl("daemon-reload")
    daemon.registry(registry_with({"app_id": "haunted", "unit": "haunted.service", "title": "\u00e4<b>&"}))
    daemon.start()
    daemon.wait_row("haunted", actual="inactive")
    daemon.pc.systemctl("start", "haunted.service", check=False)
    daemon.wait_row("haunted", actual="failed", cause="exit-code")
    wait_until(lambda: "journal" in json.dumps(daemon.get("/api/transitions?limit=1")), 5)
    yield daemon
    daemon.pc.systemctl("reset-failed", "haunted.service", check=False)


def test_payloads_come_out_harmless(haunted):
    """R43: by journal, description and title, to REST, WebSocket, database and terminal."""
    daemon = haunted
    stream = daemon.stream()
    stream.wait_for(lambda m: m["type"] == "snapshot")
    paths = ("/api/services", f"/api/services/haunted/{PC}?journal=100", "/api/transitions", "/api/health")
    for path in paths:
        reply = daemon.http(path)
        assert reply.status == 200
        assert_clean(reply.body.replace(b"\n", b""), path)
        json.loads(reply.body)
    lines = [line["message"] for line in daemon.get(f"/api/services/haunted/{PC}?journal=100")["journal"]]
    for word in ("red", "txt.exe", "utf-8", "overlong", "surrogate", "<script>", "injected", "separator"):
        assert any(word in line for line in lines), (word, lines)
    env = " ".join(f"{name}={value}" for name, value in daemon.env.items())
    for command in ("status", "logs haunted --lines 100", "check haunted", "status --json", "alerts"):
        done = subprocess.run(
            [str(HERE / "lab"), "user", PC, "bash", "-c", f"{env} {PROGRAM} {command}"],
            capture_output=True,
            check=False,
        )
        assert done.stdout, command
        assert_clean(done.stdout, command)
        assert_clean(done.stderr, command)
    watch = [str(HERE / "lab"), "user", PC, "bash", "-c", f"{env} timeout 2 {PROGRAM} watch"]
    done = subprocess.run(watch, capture_output=True, check=False)
    assert done.returncode == 124 and b"haunted" in done.stdout, (done.returncode, done.stderr)
    assert_clean(done.stdout, "watch")
    assert daemon.sql("SELECT count(*) AS n FROM service_transition WHERE app_id = 'haunted'")[0]["n"] >= 1
    for line in daemon.journal().splitlines():
        assert_clean(line.encode(), "journal")


@pytest.mark.parametrize(
    "member, value",
    [
        ("title", "a\x1b[31m"),
        ("title", "a\u202eb"),
        ("unit", "a b.service"),
        ("unit", "../x.service"),
        ("unit", "-x.service"),
        ("unit", "$(touch /tmp/canary).service"),
        ("app_id", "a/b"),
        ("app_id", "..;x"),
        ("app_id", "-rf"),
        ("health_endpoint", "http://user:secret@localhost/"),
        ("health_endpoint", "/x\r\nX: y"),
        ("health_endpoint", "file:///etc/passwd"),
        ("port", 0),
        ("port", 70000),
        ("port", "8401; reboot"),
        ("surprise", 1),
    ],
    ids=lambda value: re.sub(r"\W+", "_", str(value)),
)
def test_hostile_registry_is_refused_whole(shared_daemon, member, value):
    registry = registry_with({"app_id": "victim", "unit": "victim.service", "port": 8401})
    registry["apps"][-1][member] = value
    if member == "app_id":
        registry["service_targets"][-1]["app_id"] = value
    before = shared_daemon.cli("export").stdout
    done = shared_daemon.cli("import", "-", input=yaml.safe_dump(registry), check=False)
    assert done.returncode == 2, done.stdout
    assert "stdin:" in done.stderr and member.split("_")[0] in done.stderr, done.stderr
    assert_clean(done.stderr.encode(), "complaint")
    assert shared_daemon.cli("export").stdout == before
    assert not shared_daemon.pc.path("/tmp/canary").exists()


def test_corpora_replayed_over_the_wire(shared_daemon):
    """What the fuzzers keep as request heads, sent to the real thing."""
    pid = shared_daemon.pid()
    corpora = [p for p in (SOURCE_ROOT / "tests" / "fuzz").rglob("*") if "request" in str(p.parent)]
    for path in [path for path in corpora if path.is_file()][:200]:
        exchange(shared_daemon, path.read_bytes(), timeout=0.1)
    generator = random.Random(30)
    base = request("GET", f"/api/services/sqlite_api/{PC}?points=3", "Host: localhost\r\nX-A: b\r\n").encode()
    for _ in range(200):
        data = bytearray(base)
        for _ in range(generator.randrange(1, 6)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        exchange(shared_daemon, bytes(data), timeout=0.05)
    assert shared_daemon.pid() == pid
    assert shared_daemon.get("/api/health")["status"] == "ok"
