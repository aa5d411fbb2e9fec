"""The other PCs over ssh: as true as the own one, each fault told apart, and nothing of ours left behind."""

import copy
import json
import os
import re
import time
from pathlib import Path

import pytest
import yaml
from conftest import FN_UID, PROGRAM, REGISTRY, SANITIZER_ENV, SOURCE_ROOT, lab_command, wait_until
from test_daemon import VERDICTS, now_ms, verdict
from test_lab import EXPECTED, curl, listeners

BASE = yaml.safe_load(REGISTRY.read_text())
SELF, NEAR, FAR = "aurgi-pc", "home-wsl", "organic-machine.com"
OTHERS = (NEAR, FAR)
APPS = [name for name in VERDICTS if name != "services_api"]
SSHD_DROP_IN = "/etc/ssh/sshd_config.d/00-test.conf"


def registry_of(*pcs, apps=APPS, hosts=None):
    """These apps on these PCs; the own PC is always in it."""
    registry = copy.deepcopy(BASE)
    registry["pcs"] = [row for row in registry["pcs"] if row["pc_id"] in (SELF, *pcs)]
    registry["pcs"] += [{"pc_id": name, "ssh_host": host} for name, host in (hosts or {}).items()]
    registry["apps"] = [app for app in registry["apps"] if app["app_id"] in apps]
    registry["service_targets"] = [
        {"app_id": app, "pc_id": pc, "expected": "running"} for pc in (*pcs, *(hosts or {})) for app in apps
    ]
    return registry


ALL_PCS = registry_of(SELF, NEAR, FAR)
for _pc, _unit in ((NEAR, "systemd-journald.service"), (FAR, "cron_of_nobody.service")):
    ALL_PCS["apps"].append({"app_id": f"sys_{_pc[:4]}", "unit": _unit, "unit_scope": "system"})
    ALL_PCS["service_targets"].append({"app_id": f"sys_{_pc[:4]}", "pc_id": _pc, "expected": "running"})


def pcs(daemon):
    return {row["pc_id"]: row for row in daemon.get("/api/pcs")}


def wait_pc(daemon, pc_id, timeout=15.0, **fields):
    last = {}

    def check():
        last.update(pcs(daemon)[pc_id])
        return all(last.get(name) == value for name, value in fields.items())

    try:
        wait_until(check, timeout, 0.05)
    except AssertionError:
        raise AssertionError(f"{pc_id}: no {fields} within {timeout} s; it is {last}") from None
    return last


def wait_verdicts(daemon, pc_id, apps=APPS, timeout=15.0):
    """All of a PC's services have the verdict that is right in a fresh lab."""

    def check():
        rows = daemon.rows()
        return all(verdict(rows[(app, pc_id)])[:3] == VERDICTS[app][:3] for app in apps)

    try:
        wait_until(check, timeout, 0.1)
    except AssertionError:
        wrong = {app: verdict(row) for (app, pc), row in daemon.rows().items() if pc == pc_id}
        raise AssertionError(f"{pc_id}: {wrong}") from None


def lights(daemon, pc_id):
    return {row["light"] for row in daemon.get("/api/services") if row["pc_id"] == pc_id}


def log_ins(pc, since):
    """What sshd logged since then."""
    return pc.root("journalctl", "-q", "--no-pager", "-o", "cat", "-u", "ssh", "--since", since).stdout


def time_of(pc):
    return pc.root("date", "+%Y-%m-%d %H:%M:%S.%6N").stdout.strip()


def processes(pc, pattern):
    return pc.root("pgrep", "-u", "fn", "-fa", pattern, check=False).stdout.splitlines()


@pytest.fixture(scope="module")
def three(booted_lab):
    return booted_lab.up(SELF, NEAR, FAR)


@pytest.fixture(autouse=True)
def fresh(booted_lab, three):
    """The PCs as after the boot, the ways between them open."""
    for pc in three[1:]:
        pc.restore()
    yield
    for pc in three:
        pc.root(f"rm -f {SSHD_DROP_IN} /home/fn/.ssh/config /home/fn/.ssh/known_hosts.bad")
    for pc in three[1:]:
        pc.root("systemctl reload ssh && usermod -s /bin/bash fn && rm -f /home/fn/.bashrc.test")


@pytest.fixture
def all_pcs(make_daemon):
    daemon = make_daemon(registry=ALL_PCS)
    for pc in OTHERS:
        wait_verdicts(daemon, pc)
    return daemon


def sshd(pc, *lines):
    """Makes sshd of that PC behave so from now on."""
    pc.root("tee", SSHD_DROP_IN, input="".join(f"{line}\n" for line in lines))
    pc.root("systemctl restart ssh")


def ssh_config(pc, text):
    pc.write("/home/fn/.ssh/config", text, 0o600)


# ---- the truth -------------------------------------------------------------------------------------------


def test_every_row_equals_ground_truth(booted_lab, all_pcs):
    rows = all_pcs.rows()
    assert len(rows) >= 30
    for name in (SELF, *OTHERS):
        pc = booted_lab[name]
        ports = listeners(pc)
        for app in APPS:
            row, (unit, _, port, http) = rows[(app, name)], EXPECTED[app]
            assert row["systemd_state"] == pc.systemctl("is-active", unit, check=False), (app, name)
            if port:
                assert row["port_listening"] == (port in ports), (app, name)
            if row["http_status"] is not None:
                assert row["http_status"] == curl(pc, port), (app, name)
            assert verdict(row)[:3] == VERDICTS[app][:3], (app, name)
            assert http is None or row["port"] == port
    assert verdict(rows[("sys_home", NEAR)])[0] == "running"
    assert verdict(rows[("sys_orga", FAR)])[0] == "missing"


def test_pcs_are_described(booted_lab, all_pcs):
    for name, row in pcs(all_pcs).items():
        assert row["reachable"] and row["events"] and row["cause"] is None
        assert row["is_self"] == (name == SELF)
        assert row["version_uname"] == booted_lab[name].run("uname", "-srm").stdout.strip()
        assert 0 <= row["lag_ms"] < 1000
        if name != SELF:
            assert abs(row["skew_ms"]) < 500  # all PCs of the lab share one clock


@pytest.mark.parametrize("name", OTHERS)
def test_kill_is_seen_within_a_second(booted_lab, all_pcs, name):
    pc = booted_lab[name]
    stream = all_pcs.stream()
    stream.next()
    stream.read_for(1.0)
    since = now_ms() - 50  # its clock is known that well
    began = time.monotonic()
    pc.kill("sqlite_api.service")
    stream.wait_row("sqlite_api", 5, name, actual="failed")
    assert time.monotonic() - began < 1.0 + 0.3  # the command that kills takes its time too
    stream.wait_row("sqlite_api", 5, name, actual="running")

    def recorded():
        found = [
            row
            for row in all_pcs.get(f"/api/transitions?since={since}&limit=100")
            if (row["app_id"], row["pc_id"]) == ("sqlite_api", name)
        ]
        return found if len(found) == 2 and found[1].get("evidence") else None

    up, down = wait_until(recorded, 10)
    assert (down["from"], down["to"], down["cause"]) == ("running", "failed", "signal")
    assert (up["from"], up["to"]) == ("failed", "running")
    assert all(abs(row["ts"] - since) < 3000 for row in (up, down))


def test_journal_of_another_pc(booted_lab, all_pcs):
    booted_lab[FAR].kill("queue_agent.service")
    all_pcs.wait_row("queue_agent", 5, FAR, actual="failed")
    detail = all_pcs.get(f"/api/services/queue_agent/{FAR}?journal=20")
    messages = [line["message"] for line in detail["journal"]]
    assert any("code=killed" in message for message in messages), messages


# ---- never to itself -------------------------------------------------------------------------------------


def test_one_registry_on_two_pcs_and_no_ssh_to_self(booted_lab, make_daemon):
    two = {name: booted_lab[name] for name in (SELF, NEAR)}
    began = {name: time_of(pc) for name, pc in two.items()}
    daemons = {name: make_daemon(pc=name, registry=ALL_PCS) for name in two}
    for name, daemon in daemons.items():
        for other in (SELF, *OTHERS):
            wait_verdicts(daemon, other)
        assert [pc for pc, row in pcs(daemon).items() if row["is_self"]] == [name]
    address = {SELF: "10.77.0.11", NEAR: "10.77.0.12"}
    for name, pc in two.items():
        log = log_ins(pc, began[name])
        other = NEAR if name == SELF else SELF
        assert f"from {address[other]} " in log
        assert f"from {address[name]} " not in log and "from 127.0.0.1 " not in log and "from ::1 " not in log


# ---- faults ----------------------------------------------------------------------------------------------

OTHER_KEY = "ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/other <<<y >/dev/null"
FAULTS = {
    "host-unknown": f"Host {NEAR}\n  HostName nosuch.invalid\n",
    "host-refused": f"Host {NEAR}\n  Port 4\n",
    "host-timeout": f"Host {NEAR}\n  HostName 127.0.0.1\n  Port 8409\n",  # accepts, and says nothing
    "host-unroutable": f"Host {NEAR}\n  HostName 192.0.2.1\n",
    "host-key-unknown": f"Host {NEAR}\n  UserKnownHostsFile /dev/null\n",
    "host-key-changed": f"Host {NEAR}\n  UserKnownHostsFile ~/.ssh/known_hosts.bad\n",
    "key-refused": f"Host {NEAR}\n  IdentityFile ~/.ssh/other\n  IdentitiesOnly yes\n",
    "ssh-config": f"Host {NEAR}\n  Bogus yes\n",
}


@pytest.mark.parametrize("cause", FAULTS)
def test_each_fault_has_its_cause(booted_lab, make_daemon, cause):
    pc, near = booted_lab.pc, booted_lab[NEAR]
    pc.run(OTHER_KEY)
    pc.run(f"sed -n 's/^{FAR},[^ ]*/{NEAR},10.77.0.12/p' ~/.ssh/known_hosts >~/.ssh/known_hosts.bad")
    before = pc.run("cat ~/.ssh/known_hosts ~/.ssh/known_hosts.bad").stdout
    ssh_config(pc, FAULTS[cause])
    began = time_of(near)
    daemon = make_daemon(registry=registry_of(SELF, NEAR))
    row = wait_pc(daemon, NEAR, 20, cause=cause)
    assert not row["reachable"] and row["sentence"]
    assert lights(daemon, NEAR) == {"unknown"}
    assert {r["actual"] for r in daemon.get("/api/services") if r["pc_id"] == NEAR} == {"unreachable"}
    wait_verdicts(daemon, SELF)
    assert "Accepted" not in log_ins(near, began)
    assert pc.run("cat ~/.ssh/known_hosts ~/.ssh/known_hosts.bad").stdout == before
    # and when it is mended
    ssh_config(pc, "")
    wait_verdicts(daemon, NEAR, timeout=25)


@pytest.mark.parametrize("how", ["nologin", "hangs"])
def test_broken_shell(booted_lab, make_daemon, how):
    near = booted_lab[NEAR]
    if how == "nologin":
        near.root("usermod -s /usr/sbin/nologin fn")
    else:
        near.write("/home/fn/hang", "#!/bin/sh\nsleep 1000\n", 0o755)
        near.root("usermod -s /home/fn/hang fn")
    daemon = make_daemon(registry=registry_of(SELF, NEAR))
    wait_pc(daemon, NEAR, 25, cause="shell-broken", reachable=False)
    assert lights(daemon, NEAR) == {"unknown"}


def test_chatty_shell_is_no_fault(booted_lab, make_daemon):
    near = booted_lab[NEAR]
    before = near.run("cat ~/.bashrc").stdout
    noise = 'printf "Welcome\\n\\033[31m$(date)\\n%0200000d\\nbegin\\nend 0\\n" 0; echo oops >&2\n'
    near.write("/home/fn/.bashrc", noise + before)
    try:
        daemon = make_daemon(registry=registry_of(SELF, NEAR))
        wait_verdicts(daemon, NEAR)
    finally:
        near.write("/home/fn/.bashrc", before)


def test_no_bus_and_no_user_manager(booted_lab, make_daemon):
    near = booted_lab[NEAR]
    daemon = make_daemon(registry=registry_of(SELF, NEAR))
    wait_verdicts(daemon, NEAR)
    near.systemctl("stop", "dbus.socket", "dbus.service")
    wait_pc(daemon, NEAR, 15, cause="no-bus", reachable=True)
    assert lights(daemon, NEAR) == {"unknown"}
    near.systemctl("start", "dbus.socket")
    wait_verdicts(daemon, NEAR, timeout=20)
    near.root("systemctl stop user@1000.service")
    wait_pc(daemon, NEAR, 15, cause="no-user-manager", reachable=True)
    assert lights(daemon, NEAR) == {"unknown"}
    near.root("systemctl start user@1000.service")
    wait_until(lambda: pcs(daemon)[NEAR]["cause"] is None, 20)
    near.restore()
    wait_verdicts(daemon, NEAR, timeout=20)


# ---- partitions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how, undo", [("cut", "heal"), ("freeze", "thaw")])
def test_partition_is_not_death(booted_lab, all_pcs, how, undo):
    since = now_ms()
    stream = all_pcs.stream()
    stream.next()
    began = time.monotonic()
    lab_command(how, NEAR)
    try:
        wait_pc(all_pcs, NEAR, 15, reachable=False)
        assert time.monotonic() - began < 15
        wait_until(lambda: lights(all_pcs, NEAR) == {"unknown"}, 2)
        stream.read_for(10)
        assert lights(all_pcs, NEAR) == {"unknown"}
    finally:
        lab_command(undo, NEAR)
    healed = time.monotonic()
    wait_verdicts(all_pcs, NEAR, timeout=22)
    assert time.monotonic() - healed < 20 + 2.5  # what hangs has its own timeout on top
    stream.read_for(1)
    wrong = [
        (app["app_id"], app["light"])
        for _, message in stream.messages
        for app in message.get("services", [])
        if app["pc_id"] == NEAR and app["light"] == "down" and app["app_id"] != "broken_api"
    ]
    assert wrong == []
    rows = [r for r in all_pcs.get(f"/api/transitions?since={since}&limit=500") if r["pc_id"] == NEAR]
    assert [r for r in rows if r["app_id"]] == []
    ends = [(r["from"], r["to"]) for r in reversed(rows)]
    assert ends == [("running", "unreachable"), ("unreachable", "running")]  # whatever its causes were meanwhile
    alerts = [alert for _, message in stream.messages for alert in message.get("alerts", [])]
    assert {(a["kind"], a["pc_id"], a["app_id"]) for a in alerts if a["began_ts"] >= since} == {("pc", NEAR, None)}


def test_stopped_daemon_harms_nobody_and_wakes_well(booted_lab, all_pcs):
    """R19, R11: 17 s without a turn. The PC it watches does not suffer, and it does not tell of what it slept through."""
    seconds = int(os.environ.get("SOAK_STOPPED_S", "17"))
    near = booted_lab[NEAR]
    bus = processes(near, "^/usr/bin/dbus-daemon")[0].split()[0]

    def bus_kib():
        return int(re.search(r"VmRSS:\s+(\d+)", near.path(f"/proc/{bus}/status").read_text()).group(1))

    assert len(processes(near, "^sshd: fn")) == 1  # one session
    restarts = "for i in $(seq N); do systemctl --user restart auth_api sqlite_api queue_agent || exit 1; done"
    near.run(restarts.replace("N", "2"))
    before = bus_kib()
    began = now_ms()
    stopped = time.monotonic()
    all_pcs.kill("STOP")
    try:
        # 60 jobs in 17 s, and nobody reads their signals
        near.run(restarts.replace("N", str(seconds + 3)), timeout=30 + seconds)
        time.sleep(max(0, stopped + seconds - time.monotonic()))
        grown = bus_kib() - before
    finally:
        all_pcs.kill("CONT")
    woke = now_ms()
    assert grown <= 1024, f"its dbus-daemon grew by {grown} KiB"

    def fresh_again():
        return all(row["last_check_ts"] >= woke for row in all_pcs.get("/api/services"))

    wait_until(fresh_again, 12)  # 10 s, and a request
    for pc in OTHERS:
        wait_verdicts(all_pcs, pc)
    told = [a for a in all_pcs.get("/api/alerts") if a["began_ts"] >= began - 1000 or a["state"] == "open"]
    assert told == []
    kept = all_pcs.sql(
        "SELECT sum(observed_ms) AS ms FROM service_hour JOIN service ON id = service"
        f" WHERE app_id = 'web_ui' AND pc_id = '{SELF}'"
    )
    print(f"soak: R19: stopped for {seconds} s: the dbus-daemon of the watched PC grew by {grown} KiB")
    lived = 1000 * all_pcs.get("/api/health")["uptime_s"]
    assert 0 < kept[0]["ms"] <= lived - 1000 * (seconds - 2)  # the time stopped is not observed


def test_what_happened_behind_the_cut_is_filled_in(booted_lab, all_pcs):
    near = booted_lab[NEAR]
    since = now_ms()
    lab_command("cut", NEAR)
    try:
        wait_pc(all_pcs, NEAR, 15, reachable=False)
        near.kill("sqlite_api.service")
        near.kill("queue_agent.service")
        died = now_ms()
        time.sleep(3)
    finally:
        lab_command("heal", NEAR)
    all_pcs.wait_row("queue_agent", 22, NEAR, actual="failed")
    all_pcs.wait_row("sqlite_api", 5, NEAR, actual="running")
    rows = [
        r for r in all_pcs.get(f"/api/transitions?since={since}&limit=500") if r["app_id"] and r["pc_id"] == NEAR
    ]
    assert [(r["from"], r["to"]) for r in rows if r["app_id"] == "queue_agent"] == [("running", "failed")]
    assert [(r["from"], r["to"]) for r in reversed(rows) if r["app_id"] == "sqlite_api"] == [
        ("running", "failed"),
        ("failed", "running"),
    ]
    for row in rows:
        if row["to"] == "failed":
            assert abs(row["ts"] - died) < 2000, row
        else:  # its port and health had to be seen first
            assert died - 2000 < row["ts"] <= now_ms(), row


def test_reboot_is_one_event(booted_lab, make_daemon):
    """R8: ten services stop, vanish and come back with their PC: one incident, one way there and one back."""
    # broken_api has an incident of its own, hang_api takes 10 s to be what it is
    apps = [app for app in APPS if app not in ("broken_api", "hang_api")]
    registry = registry_of(SELF, NEAR, apps=apps)
    for name in ("queue_2", "queue_3", "queue_4"):
        registry["apps"].append({"app_id": name, "unit": "queue_agent.service"})
        registry["service_targets"].append({"app_id": name, "pc_id": NEAR, "expected": "running"})
    daemon = make_daemon(registry=registry)
    wait_verdicts(daemon, NEAR, apps)
    wait_until(lambda: not daemon.get("/api/alerts"), 5)
    stream = daemon.stream()
    stream.next()
    since = now_ms()
    before = pcs(daemon)[NEAR]["since_ts"]
    lab_command("reboot", NEAR)
    wait_until(lambda: pcs(daemon)[NEAR]["since_ts"] != before and pcs(daemon)[NEAR]["reachable"], 20)
    wait_verdicts(daemon, NEAR, apps, timeout=30)
    stream.read_for(1)
    alerts = [alert for _, message in stream.messages for alert in message.get("alerts", [])]
    told = [(alert["kind"], alert["state"], alert["pc_id"]) for alert in alerts if alert["state"] != "pending"]
    assert [row for row in told if row[1] != "dropped"] == [("reboot", "closed", NEAR)], told
    assert {alert["sentence"] for alert in alerts if alert["kind"] == "reboot"} == {"it was rebooted"}
    assert daemon.get("/api/alerts") == []
    rows = daemon.get(f"/api/transitions?since={since}&limit=500")
    way = [(r["from"], r["to"], r["cause"]) for r in reversed(rows) if not r["app_id"] and r["pc_id"] == NEAR]
    assert way[0][:2] == ("running", "unreachable") and way[-1][1:] == ("running", "rebooted"), way
    assert len(way) <= 3, way  # the user manager may come up after sshd
    assert not [r for r in rows if r["app_id"] and r["to"] == "failed"]
    kept = daemon.sql("SELECT kind, state, sentence FROM incident WHERE kind = 'reboot'")
    assert kept == [{"kind": "reboot", "state": "closed", "sentence": "it was rebooted"}]
    # its own PC, where it sleeps through the event itself
    daemon.stop()
    lab_command("reboot", SELF)
    daemon.start()
    wait_verdicts(daemon, SELF, apps)
    wait_verdicts(daemon, NEAR, apps)
    kept = daemon.sql("SELECT pc_id FROM incident WHERE kind = 'reboot' ORDER BY id")
    assert [row["pc_id"] for row in kept] == [NEAR, SELF]
    assert daemon.get("/api/alerts") == []


# ---- fallbacks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line, events",
    [
        ("AllowStreamLocalForwarding no", False),
        ("AllowTcpForwarding no", False),
        ("DisableForwarding yes", False),
        ("PermitOpen none", True),
    ],
)
def test_forwarding_forbidden(booted_lab, make_daemon, line, events):
    near = booted_lab[NEAR]
    sshd(near, line)
    daemon = make_daemon(registry=registry_of(SELF, NEAR))
    row = wait_pc(daemon, NEAR, 15, reachable=True)
    wait_verdicts(daemon, NEAR, timeout=20)
    row = pcs(daemon)[NEAR]
    if not events:
        assert (row["events"], row["cause"]) == (False, "forward-refused")
    near.kill("queue_agent.service")
    daemon.wait_row("queue_agent", 12, NEAR, actual="failed", cause="signal")
    near.mode(8402, "fail")
    daemon.wait_row("web_ui", 25, NEAR, actual="degraded", cause="http-status", http_status=503)


FAKE_SSH = """#!/bin/bash
for word; do [[ $last == -D && $word == /* ]] && { echo "Bad dynamic forwarding specification '$word'" >&2; exit 255; }
last=$word; done
exec /usr/bin/ssh "$@"
"""


def test_ssh_without_socks_on_a_socket(booted_lab, make_daemon):
    booted_lab.pc.write("/home/fn/fake/ssh", FAKE_SSH, 0o755)
    daemon = make_daemon(registry=registry_of(SELF, NEAR), env={"PATH": "/home/fn/fake:/usr/bin:/bin"})
    wait_verdicts(daemon, NEAR, timeout=20)
    assert pcs(daemon)[NEAR]["events"]
    assert any(":127.0.0.1:8401" in line for line in processes(booted_lab.pc, f"ssh .*-- {NEAR}"))


# ---- the contract with ssh -------------------------------------------------------------------------------


def test_argv_and_sockets(booted_lab, all_pcs):
    pc = booted_lab.pc
    found = [
        Path(pc.path(f"/proc/{line.split()[0]}/cmdline")).read_bytes().rstrip(b"\0").decode().split("\0")
        for line in processes(pc, "^ssh -T")
    ]
    assert len(found) == 2, found  # one process for each PC
    for argv in found:
        options = [argv[i + 1] for i, word in enumerate(argv) if word == "-o"]
        assert {"BatchMode=yes", "StrictHostKeyChecking=yes", "ControlMaster=no", "ControlPath=none"} <= {*options}
        assert argv[-3:] in (["--", NEAR, "exec sh"], ["--", FAR, "exec sh"])
        assert f":/run/user/{FN_UID}/bus" in argv[argv.index("-L") + 1]
    listing = pc.run("stat -c '%a %F' $XDG_RUNTIME_DIR/services_api $XDG_RUNTIME_DIR/services_api/*").stdout
    assert listing.splitlines() == ["700 directory"] + ["600 socket"] * 6


def test_works_in_the_hardened_unit(make_daemon):
    """The unit that is installed: ssh lives under its sandbox, and a daemon that hangs is replaced (R32)."""
    apps = ["sqlite_api", "queue_agent"]
    daemon = make_daemon(registry=registry_of(SELF, NEAR, apps=apps), start=False)
    pc, folder = daemon.pc, "/home/fn/.config/systemd/user/services_api.service"
    unit = (SOURCE_ROOT / "data" / "services_api.service").read_text()
    pc.write(folder, re.sub(r"^(ExecStart=)\S+", rf"\g<1>{PROGRAM}", unit, flags=re.M))
    asan = SANITIZER_ENV["ASAN_OPTIONS"] + ":detect_leaks=0"  # it would need ptrace
    hasty = "" if os.environ.get("SOAK_WATCHDOG") else "WatchdogSec=3\n"
    pc.write(folder + ".d/test.conf", f"[Service]\n{hasty}Environment=ASAN_OPTIONS={asan}\n")
    try:
        pc.systemctl("daemon-reload")
        daemon.since = pc.run("date", "+%Y-%m-%d %H:%M:%S.%6N").stdout.strip()
        pc.systemctl("start", daemon.unit)
        wait_verdicts(daemon, NEAR, apps)
        figure = pc.run("systemd-analyze", "--user", "--no-pager", "security", daemon.unit).stdout
        level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", figure).group(1)
        assert f"**{level}**" in (SOURCE_ROOT / "docs" / "security.md").read_text()
        pc.systemctl("reload", daemon.unit)
        wait_until(lambda: "config: read again" in daemon.journal(), 5)
        pid, begin = daemon.pid(), time.monotonic()
        daemon.kill("STOP")
        wait_until(lambda: daemon.pid() not in (0, pid), 15)
        wait_until(lambda: serves(daemon), 5)
        print(f"soak: R32: stopped, killed and serving again after {time.monotonic() - begin:.1f} s")
        assert "Watchdog timeout" in daemon.journal()
        wait_verdicts(daemon, NEAR, apps)
    finally:
        daemon.stop()
        pc.run(f"rm -r {folder} {folder}.d")
        pc.systemctl("daemon-reload")


def serves(daemon):
    try:
        return daemon.get("/api/health")["status"] == "ok"
    except OSError:
        return False


def test_nothing_is_left_behind(booted_lab, all_pcs):
    pc, others = booted_lab.pc, [booted_lab[name] for name in OTHERS]
    mine = r"^sh$|^sleep 30$"
    for other in others:
        assert len(processes(other, mine)) == 3
    victims = processes(pc, f"ssh .*-- {NEAR}")
    pc.root("kill", "-9", victims[0].split()[0])
    wait_pc(all_pcs, NEAR, 5, reachable=False)
    wait_pc(all_pcs, NEAR, 10, reachable=True)
    wait_verdicts(all_pcs, NEAR)
    wait_until(lambda: len(processes(others[0], mine)) == 3, 5)
    all_pcs.kill()
    wait_until(lambda: not processes(pc, "^ssh -T"), 3)
    for other in others:
        wait_until(lambda o=other: not processes(o, mine + "|notty"), 5)
    all_pcs.start()
    wait_verdicts(all_pcs, NEAR)
    assert len(pc.run("ls $XDG_RUNTIME_DIR/services_api").stdout.split()) == 6
    all_pcs.stop()
    assert pc.run("ls $XDG_RUNTIME_DIR/services_api").stdout == ""
    for other in others:
        wait_until(lambda o=other: not processes(o, mine + "|notty"), 5)


def test_many_pcs_at_start(booted_lab, make_daemon):
    """25 aliases of one PC: none is turned away by MaxStartups, and all come."""
    near = booted_lab[NEAR]
    names = [f"pc{i:02}" for i in range(25)]
    ssh_config(booted_lab.pc, f"Host pc*\n  HostName 10.77.0.12\n  HostKeyAlias {NEAR}\n")
    began = time_of(near)
    daemon = make_daemon(registry=registry_of(SELF, apps=["web_ui"], hosts={n: n for n in names}))
    most = 0
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        rows = pcs(daemon)
        waiting = processes(near, r"sshd: .*\[net\]|sshd: \[accepted\]")
        most = max(most, len(waiting))
        if all(rows[name]["reachable"] for name in names):
            break
    assert all(rows[name]["reachable"] for name in names), rows
    log = log_ins(near, began)
    assert "MaxStartups" not in log and "drop connection" not in log
    assert len(re.findall("Accepted publickey", log)) == 50  # one that learns the uid, one that stays
    assert most <= 8


def test_black_holes_harm_nobody(booted_lab, make_daemon):
    near = booted_lab[NEAR]
    names = {f"hole{i}": f"hole{i}" for i in range(12)}
    config = "Host hole?\n  HostName 127.0.0.1\n  Port 8409\nHost hole1?\n  HostName 192.0.2.7\n"
    ssh_config(booted_lab.pc, config)
    daemon = make_daemon(registry=registry_of(SELF, NEAR, apps=["sqlite_api", "web_ui"], hosts=names))
    wait_verdicts(daemon, NEAR, apps=["sqlite_api", "web_ui"], timeout=20)
    stream = daemon.stream()
    stream.next()
    for _ in range(3):
        began = time.monotonic()
        near.kill("sqlite_api.service")
        stream.wait_row("sqlite_api", 5, NEAR, actual="failed")
        assert time.monotonic() - began < 1.3
        stream.wait_row("sqlite_api", 5, NEAR, actual="running")
        stream.read_for(2)
    assert lights(daemon, NEAR) == {"ok"}
    assert not any(row["reachable"] for name, row in pcs(daemon).items() if name in names)
    text = daemon.http("/metrics").text
    gauges = dict(re.findall(r"^services_monitor_(\w+_seconds) (\S+)$", text, re.M))
    # R13 says 0.25 and 0.05 s, and script/bench measures it; this is a sanitized build on a busy machine
    assert float(gauges["cycle_lag_seconds"]) < 1.5
    assert float(gauges["loop_turn_seconds"]) < 0.5


def test_logins_are_limited(booted_lab, make_daemon):
    """A PC that refuses the key sees at most ten attempts a minute."""
    near = booted_lab[NEAR]
    booted_lab.pc.run(OTHER_KEY)
    ssh_config(booted_lab.pc, FAULTS["key-refused"])
    began = time_of(near)
    daemon = make_daemon(registry=registry_of(SELF, NEAR))
    wait_pc(daemon, NEAR, 10, cause="key-refused")

    def attempts():
        return len(re.findall("Connection closed by authenticating user", log_ins(near, began)))

    wait_until(lambda: attempts() >= 4, 40, 0.5, "four attempts, at 0, 1, 3 and 7 s and what each one takes")
    before = attempts()
    time.sleep(10)
    assert attempts() - before <= 2  # one each 8 s from now on
    assert attempts() <= 10


# ---- commands --------------------------------------------------------------------------------------------


def test_discover_over_ssh(booted_lab, make_daemon):
    daemon = make_daemon(registry=None, start=False)
    done = daemon.cli("discover", NEAR)
    assert done.stderr == ""  # its own words only, not the transport's log
    found = yaml.safe_load(done.stdout)
    units = {app["unit"]: app.get("port") for app in found["apps"]}
    assert units["sqlite_api.service"] == 8401 and units["web_ui.service"] == 8402
    assert "echo_socket.socket" in units and "backup_job.timer" in units
    assert {row["pc_id"] for row in found["service_targets"]} == {NEAR}
    assert not processes(booted_lab.pc, "^ssh -T")


def test_status_without_daemon_asks_all_pcs(booted_lab, make_daemon):
    daemon = make_daemon(registry=registry_of(SELF, NEAR), start=False)
    done = daemon.cli("status", "--json", check=False)
    assert done.returncode == 1
    rows = json.loads(done.stdout)
    rows = rows["services"] if isinstance(rows, dict) else rows
    seen = {row["app_id"]: verdict(row)[:3] for row in rows if row["pc_id"] == NEAR}
    assert seen == {app: VERDICTS[app][:3] for app in APPS}


def test_doctor_finds_nothing_wrong(booted_lab, make_daemon):
    daemon = make_daemon(registry=registry_of(SELF, NEAR), start=False)
    done = daemon.cli("doctor", check=False, timeout=60)
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""
    assert "FAIL" not in done.stdout and "warn" not in done.stdout
    assert f"{SELF} (this PC)" in done.stdout and f"{NEAR} (ssh {NEAR})" in done.stdout


@pytest.mark.parametrize("cause", FAULTS)
def test_doctor_names_the_broken_link(booted_lab, make_daemon, cause):
    pc = booted_lab.pc
    pc.run(OTHER_KEY)
    pc.run(f"sed -n 's/^{FAR},[^ ]*/{NEAR},10.77.0.12/p' ~/.ssh/known_hosts >~/.ssh/known_hosts.bad")
    ssh_config(pc, FAULTS[cause])
    daemon = make_daemon(registry=None, start=False)
    done = daemon.cli("doctor", NEAR, check=False, timeout=60)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    broken = [i for i, line in enumerate(lines) if line.startswith("  FAIL ")]
    link = {
        "host-unknown": "host name",
        "host-refused": "connection",
        "host-timeout": "connection",
        "host-unroutable": "connection",
        "host-key-unknown": "host key",
        "host-key-changed": "host key",
        "key-refused": "log-in",
        "ssh-config": "ssh config",
    }[cause]
    assert len(broken) == 1 and link in lines[broken[0]], done.stdout
    assert lines[broken[0] + 1].startswith("       $ "), done.stdout


def test_doctor_knows_an_agent_that_services_lack(booted_lab, make_daemon):
    pc = booted_lab.pc
    ssh_config(pc, f"Host {NEAR}\n  IdentityFile ~/.ssh/nothing\n  IdentityAgent SSH_AUTH_SOCK\n")
    daemon = make_daemon(registry=None, start=False)
    script = (
        'eval "$(ssh-agent)" >/dev/null; trap "kill $SSH_AGENT_PID" EXIT; ssh-add -q ~/.ssh/id_ed25519;'
        f"{PROGRAM} doctor {NEAR}"
    )
    assert daemon  # the program is there
    done = pc.run(script, check=False, timeout=60)
    assert done.returncode == 1
    assert "FAIL agent" in done.stdout and "import-environment SSH_AUTH_SOCK" in done.stdout
    assert done.stdout.count("FAIL") == 1


def test_doctor_sees_forbidden_forwards(booted_lab, make_daemon):
    sshd(booted_lab[NEAR], "DisableForwarding yes")
    daemon = make_daemon(registry=None, start=False)
    done = daemon.cli("doctor", NEAR, check=False, timeout=60)
    assert done.returncode == 0  # all is seen, only later
    assert "warn forward of the bus" in done.stdout and "warn forward of ports" in done.stdout
    assert "AllowTcpForwarding yes" in done.stdout
