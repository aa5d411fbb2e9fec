"""The desktop window against real daemons: every panel, a death, a PC cut off, a daemon that goes and comes back, the
window on another PC, and the tunnel of --ssh.

The window runs without a display (EGL on Mesa's software renderer), as fn and in the PC's network, so the daemon lets it
in by its uid like any program of that PC. Its mount namespace is this machine's, since the PCs have no graphics libraries;
where ssh is needed it gets the PC's passwd, hosts and ~/.ssh. A script goes to it line by line.
"""

import contextlib
import copy
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import FN_UID, LAB_NAME, SANITIZER_ENV, SANITIZER_REPORT, SOURCE_ROOT, lab_command, wait_until
from test_ssh import BASE, NEAR, SELF

WELL = ("sqlite_api", "web_ui", "auth_api", "queue_agent")
ENV = {**SANITIZER_ENV, "PATH": "/usr/bin:/bin", "TZ": "UTC", "LC_ALL": "C", "LIBGL_ALWAYS_SOFTWARE": "1"}


def registry():
    """What goes well on both PCs, and what does not on aurgi-pc alone."""
    both = copy.deepcopy(BASE)
    both["pcs"] = [row for row in both["pcs"] if row["pc_id"] in (SELF, NEAR)]
    both["service_targets"] = [t for t in both["service_targets"] if t["pc_id"] == SELF]
    both["service_targets"] += [{"app_id": app, "pc_id": NEAR, "expected": "running"} for app in WELL]
    return both


def window_program():
    given = os.environ.get("SERVICES_MONITOR")
    found = [Path(given)] if given else [p for p in (SOURCE_ROOT / "build-san").rglob("services_monitor") if p.is_file()]
    if not found:
        pytest.fail("there is no window to test: run script/test, or set SERVICES_MONITOR", pytrace=False)
    return found[0]


def files_of(pc, folder):
    """What a program needs of that PC to log in from it, and the window itself, as seen by fn."""
    home = folder / "home"
    home.mkdir()
    shutil.copytree(pc.path("/home/fn/.ssh"), home / "fn" / ".ssh")
    for name in ("passwd", "hosts"):
        shutil.copy(pc.path(f"/etc/{name}"), folder / name)
    shutil.copy(window_program(), folder / "services_monitor")
    for path in [home / "fn", *(home / "fn").rglob("*")]:
        os.chown(path, FN_UID, FN_UID)
    folder.chmod(0o755)
    return folder


class Window:
    def __init__(self, pc, folder, *args):
        self.log = folder / f"log-{time.monotonic_ns()}"
        mounts = "".join(f"mount --bind {folder}/{a} {b} && " for a, b in
                         (("home", "/home"), ("passwd", "/etc/passwd"), ("hosts", "/etc/hosts")))
        env = " ".join(f"{name}={value}" for name, value in ENV.items())
        command = (f"{mounts}exec env -i HOME=/home/fn {env} setpriv --reuid={FN_UID} --regid={FN_UID} --clear-groups "
                   f'{folder}/services_monitor --size 1200x720 --script - "$@"')
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", f"{LAB_NAME}-{pc.name}", "unshare", "--mount", "sh", "-c", command, "window", *args],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log.open("w"), text=True, cwd="/",
            )

    def do(self, *lines):
        """Runs these lines; fails with the first one that does."""
        for line in lines:
            self.process.stdin.write(f"{line}\nsay done\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
            assert answer == "done: 0 failed\n", (line, answer, self.log.read_text()[-6000:])

    def tunnel(self):
        """The ssh child."""
        pids = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for path in pids for pid in path.read_text().split()]

    def close(self):
        self.process.stdin.close()
        rest = self.process.stdout.read()
        assert self.process.wait(30) == 0, (rest, self.log.read_text()[-6000:])
        assert not SANITIZER_REPORT.search(self.log.read_text()), self.log.read_text()


@pytest.fixture
def windows(booted_lab, tmp_path):
    """windows(pc, option...): a window in that PC's network"""
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(parent.stat().st_mode | 0o011)
    folders, opened = {}, []

    def open_window(name, *args):
        pc = booted_lab[name]
        if name not in folders:
            (tmp_path / name).mkdir()
            folders[name] = files_of(pc, tmp_path / name)
        opened.append(Window(pc, folders[name], *args))
        return opened[-1]

    yield open_window
    for window in opened:
        if window.process.poll() is None:
            window.process.kill()
            window.process.wait()


@pytest.fixture
def two_daemons(booted_lab, make_daemon):
    """A daemon on each PC, with the same registry."""
    booted_lab.up(SELF, NEAR)
    lab_command("restore", NEAR)
    return [make_daemon(pc=pc, registry=registry(), config={"alert_after_s": 1}) for pc in (SELF, NEAR)]


def one_alert(daemon, pc_id):
    """The id of the only open alert about that PC or anything on it."""

    def check():
        found = [a for a in daemon.get("/api/alerts") if a["pc_id"] == pc_id and a["state"] != "closed"]
        return found if any(a["state"] == "open" for a in found) else None

    (alert,) = wait_until(check, 30, 0.1, f"an alert of {pc_id}")
    assert alert["kind"] == "pc" and len(alert["behind"]) >= len(WELL), alert
    return alert["id"]


def death(daemon, app, pc_id):
    """The id of the transition in which it died."""

    def check():
        rows = daemon.get("/api/transitions?limit=200")
        return [row["id"] for row in rows if (row["app_id"], row["pc_id"], row["to"]) == (app, pc_id, "failed")]

    return wait_until(check, 10)[0]


def test_every_panel_a_death_a_cut_and_a_daemon_that_comes_back(booted_lab, two_daemons, windows):
    daemon, other = two_daemons
    here, there = windows(SELF), windows(NEAR)
    cells = [f"wait-item cell/{pc}/{app} Healthy" for pc in (SELF, NEAR) for app in WELL]

    # the same picture on both PCs, each from its own daemon
    for window in (here, there):
        window.do(*cells, f"wait-item cell/{SELF}/broken_api Down", "wait-item count/pcs 2", "expect connection")
    here.do(
        # every panel, by the ids of what is on it
        f"wait attention/{SELF}/broken_api",
        f"wait attention/{SELF}/hang_api",
        f"click cell/{SELF}/broken_api",
        "wait-title broken_api",
        "wait chart/hours",
        "wait-text exit code 3",
        "click check",
        f"wait-text broken_api on {SELF}: checked",
        "click tab/facts",
        "wait-text broken_api.service",
        f"go pc/{NEAR}",
        f"wait-title {NEAR}",
        "wait row/sqlite_api",
        "expect-text ssh, live events",
        "click nav/pcs",
        f"wait pc/{SELF}",
        "click nav/services",
        f"wait service/{NEAR}/web_ui",
        "click filter",
        "type web_ui",
        f"wait-no service/{NEAR}/auth_api",
        "click nav/live",
        "wait-title Live",
        "click nav/alerts",
        "wait-title Alerts",
        f"go app/queue_agent/{NEAR}",
        "wait-title queue_agent",
        "click nav/overview",
    )

    # kill -9: both windows show it
    booted_lab[SELF].kill("queue_agent.service")
    for window, its in ((here, daemon), (there, other)):
        window.do(
            f"wait-item cell/{SELF}/queue_agent Down",
            f"wait attention/{SELF}/queue_agent",
            "wait-text killed by SIGKILL",
            "expect recent/0",
            "click nav/live",
            f"wait live/{SELF}/queue_agent/{death(its, 'queue_agent', SELF)}",
            "click nav/overview",
        )
    there.do(
        f"click cell/{SELF}/queue_agent",
        "wait change/0",
        "click change/0",
        "wait-text result: signal",
        "wait-text Main process exited",
        "click evidence-close",
    )

    # a PC cut off: unknown, not down, and one alert
    lab_command("cut", NEAR)
    try:
        here.do(
            *[f"wait-item cell/{NEAR}/{app} Unknown" for app in WELL],
            "wait-item count/pcs 1",
            f"expect-item cell/{SELF}/sqlite_api Healthy",
        )
        alert = one_alert(daemon, NEAR)
        here.do("click nav/alerts", f"wait alert/{alert}", f"click alert/{alert}", f"wait-title {NEAR}", "click nav/overview")
        there.do("click nav/overview", f"wait-item cell/{SELF}/sqlite_api Unknown", f"expect-item cell/{NEAR}/sqlite_api Healthy")
    finally:
        lab_command("heal", NEAR)

    # the daemon dies: the last picture stays and says so; it comes back: the window goes on by itself
    daemon.kill()
    here.do("wait blind", "expect-text The daemon does not answer", f"expect cell/{SELF}/sqlite_api")
    daemon.start()
    here.do("wait-no blind", f"wait-item cell/{SELF}/sqlite_api Healthy", *[f"wait-item cell/{NEAR}/{app} Healthy" for app in WELL])
    here.close()
    there.close()


def listeners_of(pc):
    return subprocess.run(["ip", "netns", "exec", f"{LAB_NAME}-{pc}", "ss", "-Hltn"], capture_output=True, text=True, check=True).stdout


def sessions_of(pc):
    """What runs over there for who logged in: sshd's own children and whatever they started."""
    listed = pc.run("ps", "-u", "fn", "-o", "args=", check=False).stdout.splitlines()
    return sorted(line for line in listed if line.startswith("sshd:") or "sleep" in line or "services_api/token" in line)


def gone(pid):
    return not Path(f"/proc/{pid}").exists()


def test_window_through_ssh(booted_lab, make_daemon, windows):
    booted_lab.up(SELF, NEAR)
    daemon = make_daemon(pc=NEAR, registry=registry(), config={"features": {"actions": True}})
    before, idle = listeners_of(SELF), sessions_of(booted_lab[NEAR])
    window = windows(SELF, "--ssh", NEAR)
    window.do(f"wait-item cell/{NEAR}/sqlite_api Healthy", f"expect-text ssh {NEAR}", f"go app/sqlite_api/{NEAR}", "wait chart/hours",
              "click check", f"wait-text sqlite_api on {NEAR}: checked")
    assert listeners_of(SELF) == before  # no port that others could use
    (child,) = window.tunnel()
    command = Path(f"/proc/{child}/cmdline").read_text().split("\0")
    (folder,) = {Path(word.split(":")[0]).parent for word in command if word.endswith(":127.0.0.1:8485")}
    assert (folder.stat().st_mode & 0o777, folder.stat().st_uid) == (0o700, FN_UID)

    # an action, with the token of the daemon over there; without it, the reason
    run = daemon.pc.show("sqlite_api.service", "InvocationID")
    window.do("click action/restart", f"wait-text sqlite_api on {NEAR}: restart done")
    assert daemon.pc.show("sqlite_api.service", "InvocationID") != run
    secret = daemon.pc.path("/home/fn/.config/services_api/token")
    secret.rename(secret.with_suffix(".away"))
    window.do("click action/restart", f"wait-text An action needs the token of {NEAR}")
    secret.with_suffix(".away").rename(secret)
    assert window.tunnel() == [child] and secret.read_text().strip() not in window.log.read_text()

    # the daemon over there stops, and comes back
    daemon.stop()
    window.do("wait blind", f"wait-text ssh reaches {NEAR}, but services_api does not answer there")
    daemon.start()
    window.do("wait-no blind")
    window.close()
    assert gone(child) and not folder.exists()
    wait_until(lambda: sessions_of(daemon.pc) == idle, 10)

    # killed, it leaves no ssh behind
    window = windows(SELF, "--ssh", NEAR)
    window.do(f"wait cell/{NEAR}/sqlite_api")
    (child,) = window.tunnel()
    window.process.send_signal(signal.SIGKILL)
    window.process.wait()
    wait_until(lambda: gone(child) and sessions_of(daemon.pc) == idle, 10)

    # what can go wrong is told in words
    config = f"Host unknown-key\n  HostName {NEAR}\n  UserKnownHostsFile /dev/null\n"
    config += f"Host no-key\n  HostName {NEAR}\n  HostKeyAlias {NEAR}\n  IdentityFile /dev/null\n  IdentitiesOnly yes\n"
    path = window.log.parent / "home/fn/.ssh/config"
    path.write_text(config)
    os.chown(path, FN_UID, FN_UID)
    for host, words in (
        ("unknown-key", "ssh does not know the host key of unknown-key yet"),
        ("no-key", "no-key accepts none of your ssh keys"),
        ("nowhere.invalid", "ssh does not know a host nowhere.invalid"),
    ):
        window = windows(SELF, "--ssh", host)
        window.do(f"wait-text {words}", "wait-text The daemon does not answer")
        window.close()
