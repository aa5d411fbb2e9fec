"""The long forms of the promises about whole PCs; script/soak runs them one by one, script/test never does.

    pytest tests/lab/soak.py -k loss -s        needs root, like the lab

Each prints its figures in lines that begin with "soak:". The sizes come from the environment, see script/soak.
"""

import contextlib
import copy
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import LAB_NAME, PROGRAM, Daemon, Stream, daemon_program, lab_command, wait_until
from test_daemon import now_ms, registry_with
from test_notify import SEED, Receivers, in_network, listen, pids_of, root_of, signal_unit
from test_ssh import ALL_PCS, APPS, FAR, NEAR, OTHERS, SELF, pcs, registry_of, wait_pc, wait_verdicts

LOSS_S = 60 * float(os.environ.get("SOAK_LOSS_MIN", "60"))
PARTITIONS = int(os.environ.get("SOAK_PARTITIONS", "50"))
LEAK_S = 60 * float(os.environ.get("SOAK_LEAK_MIN", "60"))
SLEEP_S = float(os.environ.get("SOAK_SLEEP_S", "600"))
HANG_S = float(os.environ.get("SOAK_HANG_S", "600"))
FLAP_S = float(os.environ.get("SOAK_FLAP_S", "600"))
LOAD = int(os.environ.get("SOAK_LOAD", "2"))  # processes that do nothing but compute
NEVER_WELL = "broken_api"  # by its nature
# alerts at once, so that a wrong one cannot hide behind the wait
EAGER = {"alert_after_s": 0, "reboot_grace_s": 0}


@pytest.fixture(scope="module")
def three(booted_lab):
    return booted_lab.up(SELF, *OTHERS)


@pytest.fixture(autouse=True)
def whole(booted_lab, three):
    for pc in three[1:]:
        pc.restore()
    yield
    for pc in three:
        lab_command("thaw", pc.name, check=False)
        lab_command("heal", pc.name, check=False)
        net(pc.name, "delete table inet soak", check=False)


def net(pc_name, rules, check=True):
    """nftables rules in the PC's network."""
    command = ["ip", "netns", "exec", f"{LAB_NAME}-{pc_name}", "nft", "-f", "-"]
    subprocess.run(command, input=rules, text=True, check=check, capture_output=not check)


class Watcher:
    """Reads the stream all the time, and keeps every row that is down and should not be."""

    def __init__(self, daemon):
        self.down, self.alerts, self.error = [], {}, None
        self.deltas = 0
        self._stream = daemon.stream()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            while not self._stop.is_set():
                for message in self._stream.read_for(0.5):
                    self._look(message)
                self._stream.messages.clear()
                self._stream._next = 0  # pylint: disable=protected-access
                assert self._stream.close_code is None, f"cut off: {self._stream.close_code}"
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def _look(self, message):
        self.deltas += message["type"] == "delta"
        for row in message.get("services", []):
            if row["light"] == "down" and row["app_id"] != NEVER_WELL:
                self.down.append((row["pc_id"], row["app_id"], row["cause"], row["last_check_ts"]))
        for alert in message.get("alerts", []):
            if alert["app_id"] != NEVER_WELL:
                self.alerts[alert["id"]] = alert

    def of_kind(self, *kinds, states=("open", "closed")):
        return [a for a in self.alerts.values() if a["kind"] in kinds and a["state"] in states]

    def stop(self):
        self._stop.set()
        self._thread.join(10)
        if self.error:
            raise self.error


def truth_is_back(daemon, timeout):
    """Returns the seconds until every service of the other PCs has the verdict that is right in a fresh lab."""
    begin = time.monotonic()
    for pc in OTHERS:
        wait_verdicts(daemon, pc, timeout=timeout)
    return time.monotonic() - begin


def usual(registry):
    """Without the two units of the system that are there to be missing."""
    registry = copy.deepcopy(registry)
    registry["apps"] = [app for app in registry["apps"] if not app["app_id"].startswith("sys_")]
    registry["service_targets"] = [t for t in registry["service_targets"] if not t["app_id"].startswith("sys_")]
    return registry


@contextlib.contextmanager
def busy(n):
    """Both cores have something else to do."""
    work = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for process in work:
            process.kill()
            process.wait()


# ---- R2 ----------------------------------------------------------------------------------------------------

LOSSY = """table inet soak
delete table inet soak
table inet soak {{
    chain in {{
        type filter hook input priority 0
        iif != lo numgen random mod 1000 < {loss} drop
        iif != lo tcp dport 22 numgen random mod 10000 < {resets} reject with tcp reset
    }}
    chain out {{
        type filter hook output priority 0
        oif != lo numgen random mod 1000 < {loss} drop
    }}
}}
"""


def test_loss(make_daemon):
    """R2: 5 to 30 % random loss, resets, both cores loaded: no false down."""
    generator = random.Random(SEED)
    daemon = make_daemon(registry=usual(ALL_PCS), config=EAGER)
    truth_is_back(daemon, 30)
    watcher = Watcher(daemon)
    since, unreachable, rounds = now_ms(), 0, 0
    with busy(LOAD):
        end = time.monotonic() + LOSS_S
        while time.monotonic() < end:
            for pc in OTHERS:
                net(pc, LOSSY.format(loss=generator.randrange(50, 301), resets=generator.randrange(0, 40)))
            rounds += 1
            change_at = min(time.monotonic() + generator.uniform(10, 30), end)
            while (left := change_at - time.monotonic()) > 0:
                time.sleep(min(left, 5))
                unreachable += sum(not row["reachable"] for row in pcs(daemon).values())
        for pc in OTHERS:
            net(pc, "delete table inet soak")
    back = truth_is_back(daemon, 40)
    watcher.stop()
    changes = daemon.get(f"/api/transitions?since={since}&limit=10000")
    of_services = [row for row in changes if row["app_id"] not in (None, NEVER_WELL)]
    false = [row for row in of_services if row["to"] not in ("running", "degraded")]
    lost = sum(row["app_id"] is None and row["to"] == "unreachable" for row in changes)
    print(
        f"soak: R2: seed {SEED}: {LOSS_S / 60:.1f} min, 2 PCs with {len(APPS)} services each, {rounds} settings of"
        f" 5 to 30 % loss both ways with resets, {LOAD} processes computing: {lost} times a PC was lost,"
        f" {len(watcher.down)} rows falsely down, {len(false)} false transitions,"
        f" {len(watcher.of_kind('service'))} false alerts; all true {back:.1f} s after the end"
    )
    assert not watcher.down and not false and not watcher.of_kind("service"), (watcher.down, false)


# ---- R1 ----------------------------------------------------------------------------------------------------


def test_partition(make_daemon):
    """R1, over and over: cut or frozen, one PC or both; within 15 s unreachable, never down, one alert."""
    generator = random.Random(SEED)
    daemon = make_daemon(registry=usual(ALL_PCS), config=EAGER)
    truth_is_back(daemon, 30)
    seen, back, incidents = [], [], []
    for _ in range(PARTITIONS):
        watcher = Watcher(daemon)
        how, undo = generator.choice([("cut", "heal"), ("freeze", "thaw")])
        lost = generator.choice([(NEAR,), (FAR,), OTHERS])
        begin = time.monotonic()
        for pc in lost:
            lab_command(how, pc)
        for pc in lost:
            wait_pc(daemon, pc, 20, reachable=False)
        seen.append(time.monotonic() - begin)
        rows = [row for row in daemon.get("/api/services") if row["pc_id"] in lost]
        assert {row["actual"] for row in rows} == {"unreachable"} and {row["light"] for row in rows} == {"unknown"}
        time.sleep(generator.uniform(3, 15))
        for pc in lost:
            lab_command(undo, pc)
        back.append(truth_is_back(daemon, 30))
        # an incident ends 30 s after all is well; the next partition shall have its own
        wait_until(lambda: not open_alerts(daemon), 45, 0.5)
        time.sleep(0.5)
        watcher.stop()
        told = watcher.of_kind("pc", "all-pcs")
        incidents.append(len(told))
        assert not watcher.down and not watcher.of_kind("service"), (how, lost, watcher.down)
        # both at once may be told as two when one is noticed a moment before the other
        assert len(told) == 1 or (lost == OTHERS and 1 <= len(told) <= 3), (how, lost, told)
    print(
        f"soak: R1: seed {SEED}: {PARTITIONS} partitions: unreachable after {sorted(seen)[len(seen) // 2]:.1f} s"
        f" (median), {max(seen):.1f} s (longest); all true again {sorted(back)[len(back) // 2]:.1f} s after the heal"
        f" (median), {max(back):.1f} s (longest); 0 rows down, {sum(incidents)} incidents of PCs"
    )
    assert max(seen) <= 15 and max(back) <= 20 + 2.5  # what hangs has its own timeout on top


def open_alerts(daemon):
    return [a for a in daemon.get("/api/alerts") if a["kind"] in ("pc", "all-pcs")]


# ---- R7 ----------------------------------------------------------------------------------------------------


def test_flap(booted_lab, make_daemon):
    """R7: down and up each two seconds: at most two notices, history holds all, the last state is true."""
    receivers = Receivers(booted_lab.pc, random.Random(SEED))
    receivers.manners = {"well": 1}
    try:
        daemon = make_daemon(
            registry=registry_with(without=[NEVER_WELL]),
            config={**EAGER, "notify": {"webhook_url": "http://127.0.0.1:8901/"}},
        )
        daemon.wait_row("queue_agent", actual="running")
        since, flips, end = now_ms(), 0, time.monotonic() + FLAP_S
        while time.monotonic() < end:
            assert signal_unit(SELF, "queue_agent.service") == 1
            time.sleep(2)
            daemon.pc.systemctl("start", "queue_agent.service")
            time.sleep(2)
            flips += 2
        daemon.wait_row("queue_agent", actual="running", light="ok")
        wait_until(lambda: receivers.incidents("recovered"), 45, 0.5)
        rows = [r for r in daemon.get(f"/api/transitions?since={since}&limit=10000") if r["app_id"] == "queue_agent"]
        notices = len(receivers.taken["webhook"])
        print(f"soak: R7: {FLAP_S:.0f} s, {flips} flips: {len(rows)} transitions in history, {notices} notices")
        assert notices == 2 and len(rows) == flips
    finally:
        receivers.close()


# ---- R11 ---------------------------------------------------------------------------------------------------


def test_sleep(make_daemon):
    """R11: the own PC is frozen, as by a suspend; after it no alert for the gap, which is stored as unobserved."""
    daemon = make_daemon(registry=usual(registry_of(SELF, NEAR)), config=EAGER)
    wait_verdicts(daemon, NEAR)
    daemon.wait_row("sqlite_api", actual="running")
    time.sleep(5)
    since = now_ms()
    lab_command("freeze", SELF)
    time.sleep(SLEEP_S)
    lab_command("thaw", SELF)
    thawed, thawed_ms = time.monotonic(), now_ms()

    def is_fresh():
        rows = [row for row in daemon.get("/api/services") if row["last_check_ts"]]
        return all(row["last_check_ts"] >= thawed_ms for row in rows if row["light"] == "ok") and len(rows) > 15

    wait_until(is_fresh, 30, 0.1)
    fresh = time.monotonic() - thawed
    wait_verdicts(daemon, NEAR, timeout=30)
    time.sleep(max(0, 40 - (time.monotonic() - thawed)))
    alerts = [a for a in daemon.get("/api/alerts") if a["app_id"] != NEVER_WELL]
    changes = [r for r in daemon.get(f"/api/transitions?since={since}&limit=1000") if r["app_id"]]
    daemon.stop()  # writes the hour
    query = (
        "SELECT max(h.observed_ms) AS n, count(*) AS hours FROM service_hour h JOIN service s ON s.id = h.service"
        f" WHERE s.app_id = 'sqlite_api' AND s.pc_id = '{SELF}'"
    )
    (row,) = daemon.sql(query)
    print(
        f"soak: R11: frozen for {SLEEP_S:.0f} s: all fresh {fresh:.1f} s after it; {len(alerts)} alerts,"
        f" {len(changes)} transitions of services; observed {row['n'] / 1000:.0f} s of the hour"
    )
    assert not alerts and not changes, (alerts, changes)
    assert fresh < 10
    assert row["n"] / 1000 < 100 or SLEEP_S < 100


# ---- R13 ---------------------------------------------------------------------------------------------------


class Dripper:
    """An HTTP server that sends one byte a second, for ever."""

    def __init__(self, pc, port):
        self.sock = in_network(pc, lambda: listen(port))
        self.connections = []
        self.ended = threading.Event()
        for work in (self._accept, self._drip):
            threading.Thread(target=work, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                self.connections.append(self.sock.accept()[0])

    def _drip(self):
        while not self.ended.wait(1):
            for connection in list(self.connections):
                try:
                    connection.sendall(b"H")
                except OSError:
                    self.connections.remove(connection)
                    connection.close()

    def close(self):
        self.ended.set()
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


HOLES = {
    "hole-silent": "http://127.0.0.1:8409/",  # accepts, and says nothing
    "hole-tls": "https://127.0.0.1:8409/",  # the same where a handshake should be
    "hole-drip": "http://127.0.0.1:8911/",
    "hole-drip-tls": "https://127.0.0.1:8911/",
    "hole-route": "http://192.0.2.7/",
    "hole-name": "http://nowhere.example.org/",  # its name server does not answer
}


def test_hang(booted_lab, make_daemon):
    """R13: PCs and servers that accept and are silent, drip, have no way to them or no name: the others are looked at
    in time, and the loop does not stall."""
    pc = booted_lab.pc
    resolv_conf = root_of(SELF) / "etc/resolv.conf"
    before = resolv_conf.read_text() if resolv_conf.exists() else ""
    names = {f"hole{i}": f"hole{i}" for i in range(12)}
    registry = usual(registry_of(SELF, NEAR, hosts=names))
    for app, url in HOLES.items():
        registry["apps"].append({"app_id": app, "health_endpoint": url})
        registry["service_targets"].append({"app_id": app, "pc_id": SELF, "expected": "running"})
    dripper = Dripper(pc, 8911)
    try:
        resolv_conf.write_text("nameserver 192.0.2.53\n")
        config = "Host hole?\n  HostName 127.0.0.1\n  Port 8409\nHost hole1?\n  HostName 192.0.2.7\n"
        pc.write("/home/fn/.ssh/config", config, 0o600)
        daemon = make_daemon(registry=registry)
        wait_verdicts(daemon, NEAR, timeout=30)
        watcher = Watcher(daemon)
        lags, turns, begin = [], [], time.monotonic()
        end = begin + HANG_S
        while time.monotonic() < end:
            text = daemon.http("/metrics").text
            gauges = dict(re.findall(r"^services_monitor_(\w+_seconds) (\S+)$", text, re.M))
            lags.append(float(gauges["cycle_lag_seconds"]))
            turns.append((time.monotonic() - begin, 1000 * float(gauges["loop_turn_seconds"])))
            time.sleep(1)
        watcher.stop()
        wrong = [row for row in watcher.down if not row[1].startswith("hole")]
        lags.sort()
        p99 = lags[int(len(lags) * 0.99)] if len(lags) > 100 else lags[-1]
        start = max(ms for at, ms in turns if at < 120)  # the gauge remembers one to two minutes
        longest = max([ms for at, ms in turns if at >= 120] or [start])
        print(
            f"soak: R13: {HANG_S:.0f} s, 12 PCs and {len(HOLES)} servers that are black holes of every kind: how late"
            f" looks begin p99 {p99 * 1000:.0f} ms, longest turn of the loop {longest:.0f} ms, {start:.0f} ms in the"
            f" first two minutes, {len(wrong)} others down"
        )
        assert not wrong and p99 < 0.25 and longest < 50
    finally:
        resolv_conf.write_text(before)
        pc.run("rm -f ~/.ssh/config")
        dripper.close()


# ---- R17 ---------------------------------------------------------------------------------------------------


class Churn:
    """Everything that makes and frees: dying services, clients, requests, a changing registry, a lost PC."""

    def __init__(self, daemon, generator, names):
        self.daemon, self.generator, self.names = daemon, generator, names
        self.done = 0
        self.cut_until = None
        self.registry_db = root_of(SELF) / "home/fn/.local/share/services_api/registry.db"
        self.expected = True
        self.streams = []
        self.acts = [
            (40, self.kill),
            (20, self.stream),
            (30, self.get),
            (10, self.nonsense),
            (10, self.check),
            (3, self.registry),
            (3, self.reload),
            (len(names) - 1, self.partition),
        ]

    def kill(self):
        unit = self.generator.choice(["auth_api.service", "sqlite_api.service"])
        signal_unit(self.generator.choice(self.names), unit)

    def stream(self):
        self.streams.append(Stream(self.daemon.pc.connect(8485), "/api/ws/services", 8485))
        if len(self.streams) > 5:
            self.streams.pop(self.generator.randrange(5)).close()

    def get(self):
        paths = ["/api/services", f"/api/services/sqlite_api/{self.names[-1]}?points=100", "/api/pcs", "/metrics"]
        self.daemon.http(self.generator.choice([*paths, "/api/transitions", "/api/alerts", "/api/health"]))

    def nonsense(self):
        sock = self.daemon.pc.connect(8485)
        with contextlib.closing(sock), contextlib.suppress(OSError):
            sock.sendall(self.generator.randbytes(self.generator.randrange(1, 2000)))

    def check(self):
        app = self.generator.choice(["sqlite_api", "web_ui"])
        path = f"/api/services/{app}/{self.generator.choice(self.names)}/check"
        self.daemon.http(path, method="POST", body="{}", headers={"Content-Type": "application/json"})

    def registry(self):
        self.expected = not self.expected
        row = ("web_ui", self.names[-1])
        with contextlib.closing(sqlite3.connect(self.registry_db, timeout=10)) as db, db:
            if self.expected:
                db.execute("INSERT INTO service_targets (app_id, pc_id, expected) VALUES (?, ?, 'running')", row)
            else:
                db.execute("DELETE FROM service_targets WHERE app_id = ? AND pc_id = ?", row)

    def reload(self):
        os.kill(main_pid(), signal.SIGHUP)  # and not its ssh children

    def partition(self):
        if self.cut_until is None:
            lab_command("cut", NEAR)
            self.cut_until = time.monotonic() + self.generator.uniform(1, 15)

    def step(self):
        if self.cut_until and time.monotonic() > self.cut_until:
            lab_command("heal", NEAR)
            self.cut_until = None
        weights, acts = zip(*self.acts)
        self.generator.choices(acts, weights)[0]()
        self.done += 1

    def end(self):
        for stream in self.streams:
            stream.close()
        if self.cut_until:
            lab_command("heal", NEAR)


def churn(daemon, seconds, pause, each_minute=lambda: None, names=(SELF, NEAR)):
    """Returns how many things it did."""
    generator = random.Random(SEED)
    for name in names:
        wait_verdicts(daemon, name, timeout=60)
    pid = main_pid()
    the_churn, end, minute = Churn(daemon, generator, names), time.monotonic() + seconds, 0.0
    while time.monotonic() < end:
        the_churn.step()
        time.sleep(generator.uniform(0, 2 * pause))
        if time.monotonic() >= minute:
            each_minute()
            minute = time.monotonic() + min(60, seconds / 20)
    the_churn.end()
    assert pid == main_pid(), "it is not the same process any more"
    return the_churn.done


def main_pid():
    """The daemon among its ssh children."""
    for pid in pids_of(SELF, "services_api.service"):
        if Path(f"/proc/{pid}/comm").read_text().strip() in ("services_api", "memcheck-amd64-"):
            return pid
    raise AssertionError("the daemon does not run")


def private_kb(pid):
    """What is its own alone: the heap, the stacks, what was written to."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(re.search(rf"^{name}:\s+(\d+)", text, re.M)[1]) for name in ("Private_Dirty", "Swap"))


def slope_kb_per_day(samples):
    """Least squares over the later two thirds: (seconds, KiB)."""
    samples = samples[len(samples) // 3 :]
    n = len(samples)
    mean_t, mean_v = sum(t for t, _ in samples) / n, sum(v for _, v in samples) / n
    top = sum((t - mean_t) * (v - mean_v) for t, v in samples)
    return 86400 * top / sum((t - mean_t) ** 2 for t, _ in samples)


def test_leak_slope(make_daemon):
    """R17: memory and descriptors of the daemon as it is shipped."""
    daemon = make_daemon(registry=usual(registry_of(SELF, NEAR)), config={"alert_after_s": 1})
    samples, begin = [], time.monotonic()

    def sample():
        pid = main_pid()
        fds = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        samples.append((time.monotonic() - begin, private_kb(pid), fds))

    done = churn(daemon, LEAK_S, 0.05, sample)
    slope = slope_kb_per_day([(t, kb) for t, kb, _ in samples]) / 1024
    print(
        f"soak: R17: {LEAK_S / 60:.1f} min of churn ({done} acts): private memory {samples[len(samples) // 3][1]}"
        f" KiB a third in, {samples[-1][1]} KiB at the end, slope {slope:+.2f} MiB a day; descriptors"
        f" {samples[len(samples) // 3][2]} and {samples[-1][2]}"
    )
    if LEAK_S >= 3600:
        assert slope <= 1
    assert samples[-1][2] <= samples[len(samples) // 3][2] + 30  # clients come and go


def test_leak_sanitizer(make_daemon):
    """R17: LeakSanitizer looks when the daemon ends; the fixture fails the test with what it says."""
    assert b"__asan_init" in daemon_program().read_bytes(), "SERVICES_API must be a sanitized build"
    daemon = make_daemon(registry=usual(registry_of(SELF, NEAR)), config={"alert_after_s": 1})
    done = churn(daemon, LEAK_S, 0.1)
    daemon.stop()
    assert "LeakSanitizer" not in daemon.journal()
    print(f"soak: R17: {LEAK_S / 60:.1f} min of churn ({done} acts) under ASan, UBSan and LSan: 0 reports")


VALGRIND = f"""#!/bin/sh
[ "$1" = serve ] || exec {PROGRAM}.bare "$@"
exec /usr/bin/valgrind.bin -q --leak-check=full --errors-for-leak-kinds=definite --child-silent-after-fork=yes \\
    --error-exitcode=99 --log-file=/home/fn/valgrind.%p {PROGRAM}.bare "$@"
"""


def put_valgrind(pc):
    """This machine's valgrind, with the symbols of the C library that it needs; the PC has the same library."""
    root = root_of(pc.name)
    shutil.copy("/usr/bin/valgrind.bin", root / "usr/bin/valgrind.bin")
    target = root / "usr/libexec/valgrind"
    target.mkdir(parents=True, exist_ok=True)
    for name in Path("/usr/libexec/valgrind").glob("*"):
        if re.fullmatch(r"default\.supp|memcheck-amd64-linux|vgpreload_(core|memcheck)-amd64-linux\.so", name.name):
            shutil.copy(name, target / name.name)
    for loader in ("/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"):
        notes = subprocess.run(["readelf", "-n", loader], capture_output=True, text=True, check=True).stdout
        build = re.search(r"Build ID: ([0-9a-f]+)", notes)[1]
        debug = Path(f"/usr/lib/debug/.build-id/{build[:2]}/{build[2:]}.debug")
        assert debug.exists(), "valgrind needs libc6-dbg"
        (root / str(debug.parent)[1:]).mkdir(parents=True, exist_ok=True)
        shutil.copy(debug, root / str(debug)[1:])
    pc.push(daemon_program(), PROGRAM + ".bare")
    wrapper = root / PROGRAM[1:]
    wrapper.unlink(missing_ok=True)
    wrapper.write_text(VALGRIND)
    wrapper.chmod(0o755)
    pc.has_program = True


def test_leak_valgrind(booted_lab, make_daemon):
    """R17: memcheck; all is some thirty times slower, so the acts are fewer. Debian 12's valgrind does not know
    pidfd_open(), so there can be no child process: the own PC alone, and no journal as evidence."""
    pc = booted_lab.pc
    put_valgrind(pc)
    try:
        pc.run("rm -f ~/valgrind.*")
        daemon = make_daemon(registry=usual(registry_of(SELF)), config={"alert_after_s": 1})
        done = churn(daemon, LEAK_S, 0.3, names=(SELF,))
        daemon.stop()
        said = pc.run("grep -h ^== ~/valgrind.*", check=False).stdout
        lines = len(said.splitlines())
        print(f"soak: R17: {LEAK_S / 60:.1f} min of churn ({done} acts) under valgrind: {lines} lines of complaints")
        assert pc.run("ls ~/valgrind.*").stdout and not said, said[:8000]
        assert pc.show(Daemon.unit, "Result")["Result"] == "success"
    finally:
        pc.has_program = False
