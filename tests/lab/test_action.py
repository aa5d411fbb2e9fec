"""Actions: only with the flag and the token, only what the registry names, and each with its row in the audit."""

import json
import os
import subprocess
import threading
import time

import pytest
from conftest import FN_UID, LAB_NAME, daemon_program, wait_until
from test_api import SERVICE_ROUTE, check_reply
from test_ssh import NEAR, SELF, registry_of

STRANGER = 65534
UNITS = {
    # is there until somebody kills it
    "fragile": "ExecStart=/bin/sleep infinity",
    # never gets up
    "hopeless": "ExecStart=/bin/sh -c 'sleep 0.1; exit 4'",
    # its start fails, so that systemd's job does
    "prefail": "ExecStartPre=/bin/sh -c 'exit 7'\nExecStart=/bin/sleep infinity",
    # its start takes longer than anybody waits
    "slow": "ExecStartPre=/bin/sleep 60\nExecStart=/bin/sleep infinity",
}
CONFIG = {"features": {"actions": True}}


def registry(*pcs):
    apps = registry_of(*pcs, apps=["sqlite_api", "echo_socket", "backup_job", "services_api"])
    for name in UNITS:
        apps["apps"].append({"app_id": name, "unit": f"{name}.service"})
        apps["service_targets"].append({"app_id": name, "pc_id": SELF, "expected": "running"})
    apps["apps"].append({"app_id": "sys", "unit": "ssh.service", "unit_scope": "system"})
    apps["apps"].append({"app_id": "only_port", "port": 22})
    apps["service_targets"] += [
        {"app_id": app, "pc_id": SELF, "expected": "running"} for app in ("sys", "only_port")
    ]
    return apps


@pytest.fixture
def units(booted_lab):
    """The units above, on aurgi-pc."""
    pc = booted_lab.pc
    files = {name: pc.path(f"/etc/systemd/user/{name}.service") for name in UNITS}
    for name, path in files.items():
        path.write_text(f"[Service]\nRestart=no\n{UNITS[name]}\n")
    pc.systemctl("daemon-reload")
    yield pc
    pc.systemctl("stop", "--no-block", *(path.name for path in files.values()), check=False)
    pc.systemctl("kill", "--signal=KILL", "slow.service", check=False)
    for path in files.values():
        path.unlink()
    pc.systemctl("daemon-reload")
    pc.systemctl("reset-failed", *(path.name for path in files.values()), check=False)


def token(daemon):
    return daemon.pc.path("/home/fn/.config/services_api/token").read_text().strip()


def act(daemon, app, action, pc=SELF, secret=None, **kwargs):
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {secret or token(daemon)}"}
    headers.update(kwargs.pop("headers", {}))
    body = kwargs.pop("body", json.dumps({"action": action}))
    path = f"/api/services/{app}/{pc}/action"
    return daemon.http(path, method="POST", headers=headers, body=body, **kwargs)


def audit(daemon, **match):
    """Newest first."""
    return [row for row in daemon.get("/api/audit") if all(row[key] == value for key, value in match.items())]


def window(daemon, home, pcs):
    """services_monitor, in the network of the daemon's PC and with its token: a person presses Restart."""
    (home / "services_api").mkdir()
    (home / "services_api" / "token").write_text(token(daemon) + "\n")
    (home / "services_api" / "token").chmod(0o600)
    steps = [f"wait cell/{SELF}/sqlite_api"]
    for pc in pcs:
        steps += [f"go app/sqlite_api/{pc}", "wait action/restart", "click action/restart"]
        steps += [f"wait-text sqlite_api on {pc}: restart done"]
    (home / "script").write_text("\n".join(steps) + "\n")
    env = dict(os.environ, LC_ALL="C", HOME=str(home), XDG_CONFIG_HOME=str(home), LIBGL_ALWAYS_SOFTWARE="1")
    program = daemon_program().parents[1] / "monitor" / "services_monitor"
    argv = ["ip", "netns", "exec", f"{LAB_NAME}-{SELF}", str(program), "--no-settings", "--script", str(home / "script")]
    done = subprocess.run(argv, env=env, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def run_of(pc, unit):
    return pc.show(unit, "InvocationID", "ActiveState")


def test_each_pc_by_api_command_line_and_window(booted_lab, make_daemon, tmp_path):
    """A restart is another run of the unit, and one row that says who, by what, and how it ended."""
    booted_lab.up(SELF, NEAR)
    booted_lab[NEAR].restore()
    daemon = make_daemon(registry=registry(SELF, NEAR), config=CONFIG)
    assert daemon.get("/api/health")["features"]["actions"] is True
    for pc in (SELF, NEAR):
        daemon.wait_row("sqlite_api", pc_id=pc, timeout=20, actual="running")
        before = run_of(booted_lab[pc], "sqlite_api.service")
        reply = act(daemon, "sqlite_api", "restart", pc)
        assert reply.status == 200, reply.text
        answer = check_reply(reply, "POST", SERVICE_ROUTE + "/action")
        assert answer["app_id"] == "sqlite_api" and answer["pc_id"] == pc
        assert answer["action"]["outcome"] == "done" and answer["action"]["unit"] == "sqlite_api.service"
        after = run_of(booted_lab[pc], "sqlite_api.service")
        assert after["ActiveState"] == "active" and after["InvocationID"] != before["InvocationID"]
        done = daemon.cli("action", "sqlite_api", pc, "restart")
        assert done.stdout == f"restart of sqlite_api on {pc}: done\n"
        assert run_of(booted_lab[pc], "sqlite_api.service")["InvocationID"] != after["InvocationID"]
        rows = audit(daemon, pc_id=pc)
        assert [(row["origin"], row["role"], row["uid"], row["action"], row["outcome"]) for row in rows] == [
            ("cli", "token", FN_UID, "restart", "done"),
            ("api", "token", FN_UID, "restart", "done"),
        ]
        assert all(row["ts"] <= row["ended_ts"] for row in rows)
        assert audit(daemon, id=answer["action"]["id"])[0]["origin"] == "api"

    window(daemon, tmp_path, (SELF, NEAR))
    rows = audit(daemon, origin="desktop")
    assert [(row["pc_id"], row["action"], row["outcome"]) for row in rows] == [
        (NEAR, "restart", "done"),
        (SELF, "restart", "done"),
    ]

    # stop and start, of a socket too, and the state follows
    for app, unit in (("sqlite_api", "sqlite_api.service"), ("echo_socket", "echo_socket.socket")):
        assert act(daemon, app, "stop", NEAR).status == 200
        assert run_of(booted_lab[NEAR], unit)["ActiveState"] == "inactive"
        daemon.wait_row(app, pc_id=NEAR, actual="inactive")
        shown = json.loads(daemon.cli("action", app, NEAR, "start", "--json").stdout)
        assert shown["action"]["outcome"] == "done"
        daemon.wait_row(app, pc_id=NEAR, actual="running")
    assert len(daemon.sql("SELECT * FROM audit WHERE outcome = 'done'")) == 10
    check_reply(daemon.http("/api/audit?limit=100"), "GET", "/api/audit")
    table = daemon.cli("audit", "--limit", "3").stdout.splitlines()
    assert len(table) == 3 and f"echo_socket/{NEAR}" in table[2] and f"cli (uid {FN_UID}, token)" in table[2]


def test_refused_ones_leave_their_row_alone(units, make_daemon):
    """No job, no call: systemd's own count stands still, and each refusal is written down with its reason."""
    daemon = make_daemon(registry=registry(SELF), config=CONFIG)
    daemon.wait_row("sqlite_api", actual="running")
    daemon.pc.systemctl("stop", "backup_job.timer")
    secret = token(daemon)

    def jobs():
        manager = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"]
        return daemon.pc.run("busctl", "--user", "get-property", *manager, "NInstalledJobs").stdout

    before = jobs(), run_of(daemon.pc, "sqlite_api.service")
    plain = {"Authorization": ""}
    cases = [  # status, app, PC, role, what else
        (401, "sqlite_api", SELF, "local", {"headers": plain}),
        (401, "sqlite_api", SELF, "local", {"secret": secret[:-1] + "x"}),
        (401, "sqlite_api", SELF, "nobody", {"headers": plain, "uid": STRANGER}),
        (403, "sqlite_api", SELF, "token", {"headers": {"Origin": "http://evil.example"}}),
        (421, "sqlite_api", SELF, "token", {"headers": {"Host": "evil.example"}}),
        (415, "sqlite_api", SELF, "token", {"headers": {"Content-Type": "text/plain"}}),
        (400, "sqlite_api", SELF, "token", {"body": '{"action":"stop","force":true}'}),
        (400, "sqlite_api", SELF, "token", {"body": '{"action":"stop","action":"start"}'}),
        (400, "sqlite_api", SELF, "token", {"body": '{"action":"kill"}'}),
        (404, "nothing_of_ours", SELF, "token", {}),
        (404, "sqlite_api", "no-such-pc", "token", {}),
        (409, "sys", SELF, "token", {}),
        (409, "only_port", SELF, "token", {}),
        (409, "services_api", SELF, "token", {}),  # who would start it again?
    ]
    for status, app, pc, _, extra in cases:
        reply = act(daemon, app, "stop", pc, **dict(extra))
        assert reply.status == status, (app, extra, reply.text)
        check_reply(reply, "POST", SERVICE_ROUTE + "/action")
    rows = check_reply(daemon.http("/api/audit"), "GET", "/api/audit")[::-1]
    assert [(row["app_id"], row["pc_id"], row["role"]) for row in rows] == [case[1:4] for case in cases]
    assert {(row["outcome"], row["ended_ts"] is None) for row in rows} == {("refused", False)}
    assert all(row["reason"] for row in rows) and rows[2]["uid"] == STRANGER
    assert secret not in json.dumps(rows)
    assert (jobs(), run_of(daemon.pc, "sqlite_api.service")) == before

    # one who hammers fills neither the audit nor systemd's queue
    for _ in range(70):
        act(daemon, "sqlite_api", "stop", headers=plain)
    assert len(audit(daemon)) == 60
    statuses = [act(daemon, "nothing_of_ours", "start").status for _ in range(31)]
    assert statuses[-1] == 429 and jobs() == before[0]

    # the flag off: nothing at all, not even a row; what a person is told says how to turn it on
    daemon.config(features={"actions": False})
    daemon.pc.systemctl("kill", "--kill-whom=main", "--signal=HUP", daemon.unit)
    wait_until(lambda: daemon.get("/api/health")["features"]["actions"] is False)
    assert act(daemon, "sqlite_api", "stop").status == 403
    told = daemon.cli("action", "sqlite_api", SELF, "stop", check=False)
    assert told.returncode == 1 and "features: {actions: true}" in told.stderr
    assert len(audit(daemon)) == 60 and jobs() == before[0]


def test_failures_and_deaths_are_told_as_they_are(units, make_daemon):
    """systemd's word on a failed job; 'still at work' while it is; 'unknown' when the daemon was killed meanwhile."""
    daemon = make_daemon(registry=registry(SELF), config=CONFIG)
    daemon.wait_row("prefail", actual="inactive")
    reply = act(daemon, "prefail", "start")
    assert reply.status == 502 and reply.json()["detail"].endswith("a command that is to run before or after it failed"), reply.text
    told = daemon.cli("action", "prefail", SELF, "start", check=False)
    assert told.returncode == 1 and "before or after it failed" in told.stderr
    assert {row["outcome"] for row in audit(daemon, app_id="prefail")} == {"failed"}

    answers = []
    waiter = threading.Thread(target=lambda: answers.append(act(daemon, "slow", "start")))
    began = time.monotonic()
    waiter.start()
    wait_until(lambda: audit(daemon, app_id="slow", outcome="requested"))
    assert act(daemon, "slow", "stop").status == 409  # one at a time
    waiter.join()
    assert answers[0].status == 202
    assert check_reply(answers[0], "POST", SERVICE_ROUTE + "/action")["action"]["outcome"] == "requested"
    assert time.monotonic() - began < 9.5  # before a client's patience ends
    told = daemon.cli("action", "slow", SELF, "start", "--wait", "0", check=False)
    assert told.returncode == 1 and "already" in told.stderr

    daemon.kill()
    wait_until(lambda: not daemon.active())
    daemon.start()
    last = audit(daemon, app_id="slow", action="start")[-1]
    assert last["outcome"] == "unknown" and "daemon ended" in last["reason"]

    # its own unit: answered before, and finished by the one that comes
    pid = daemon.pid()
    done = daemon.cli("action", "services_api", SELF, "restart", "--wait", "20")
    assert done.stdout.startswith(f"restart of services_api on {SELF}: done"), done.stdout
    assert daemon.pid() != pid


def test_auto_fix_starts_what_is_down_and_stops_at_its_budget(units, make_daemon):
    """Without features.actions: the flag is its own. What one start mends is mended; what it does not, is told."""
    daemon = make_daemon(
        registry=registry(SELF),
        config={"services_monitor": {"auto_fix": True, "auto_fix_budget": 1}, "alert_after_s": 0},
        start=False,
    )
    units.systemctl("start", "fragile.service")
    daemon.start()
    daemon.wait_row("fragile", actual="running")
    units.kill("fragile.service")
    daemon.wait_row("fragile", actual="failed")
    daemon.wait_row("fragile", timeout=25, actual="running")
    wait_until(lambda: "auto_fix has stopped" in (daemon.row("hopeless")["sentence"] or ""), 30, 0.2)
    starts = audit(daemon, origin="auto_fix", outcome="done")
    assert sorted(row["app_id"] for row in starts) == ["fragile", "hopeless"]
    assert all(row["action"] == "start" and row["role"] == "daemon" for row in starts)
    gave_up = audit(daemon, app_id="hopeless", outcome="refused")
    assert len(gave_up) == 1 and gave_up[0]["reason"] == "auto_fix has stopped after 1 starts within 600 s"
    wait_until(
        lambda: any("auto_fix has stopped" in alert["sentence"] for alert in daemon.get("/api/alerts")), 5, 0.1
    )
    assert "it needs a person now" in daemon.journal()
    assert act(daemon, "fragile", "stop").status == 403
