"""What services_api says of one PC's services is what systemd, ss and curl say in it, in time."""

import copy
import re
import time

import pytest
import yaml
from conftest import PROGRAM, REGISTRY, wait_until
from test_lab import EXPECTED, curl, listeners

BASE = yaml.safe_load(REGISTRY.read_text())
PC = "aurgi-pc"

# app: (actual, light, cause, sentence)
WELL = ("running", "ok", None, None)
VERDICTS = {
    "sqlite_api": WELL,
    "web_ui": WELL,
    "auth_api": WELL,
    "queue_agent": WELL,
    "echo_socket": WELL,
    "backup_job": WELL,
    "report_once": WELL,
    "broken_api": ("failed", "down", "exit-code", "exit code 3"),
    "hang_api": ("degraded", "warn", "http-timeout", "/health gives no answer within 2000 ms"),
    "stolen_port": ("degraded", "warn", "port-foreign", "port 8410 is held by squatter.service"),
    "services_api": WELL,
}


def registry_with(*additions, without=(), **overrides):
    """The lab's registry with more apps on aurgi-pc, fewer, or other members of some."""
    registry = copy.deepcopy(BASE)
    registry["apps"] = [app for app in registry["apps"] if app["app_id"] not in without]
    registry["service_targets"] = [t for t in registry["service_targets"] if t["app_id"] not in without]
    for app in additions:
        app = dict(app)
        target = {"app_id": app["app_id"], "pc_id": PC, "expected": app.pop("expected", "running")}
        registry["apps"].append(app)
        registry["service_targets"].append(target)
    for app in registry["apps"]:
        app.update(overrides.get(app["app_id"], {}))
    return registry


def verdict(row):
    return tuple(row[name] for name in ("actual", "light", "cause", "sentence"))


def transitions(daemon, app_id, since=0):
    """Oldest first."""
    found = daemon.get(f"/api/transitions?since={since}&limit=10000")
    return [row for row in reversed(found) if row["app_id"] == app_id]


def now_ms():
    return int(time.time() * 1000)


# ---- ground truth ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("app", VERDICTS)
def test_verdict_is_right(shared_daemon, app):
    # the one that hangs is given 10 s from its start before it is called degraded
    row = wait_until(
        lambda: (r := shared_daemon.row(app)) and verdict(r) == VERDICTS[app] and r["last_check_ts"] and r,
        13,
        0.1,
        f"{app} {VERDICTS[app]}",
    )
    assert row["expected"] == "running"
    if app == "services_api":
        assert row["tag"] == "service"


@pytest.mark.parametrize("app", EXPECTED)
def test_row_equals_ground_truth(shared_daemon, app):
    pc = shared_daemon.pc
    unit, _, port, http_status = EXPECTED[app]
    wait_until(lambda: verdict(shared_daemon.row(app)) == VERDICTS[app], 13, 0.1, app)
    row = shared_daemon.row(app)
    assert row["systemd_state"] == pc.systemctl("is-active", unit, check=False)
    assert row["port"] == port
    assert row["port_listening"] == (port in listeners(pc) if port else None)
    assert row["http_status"] == (http_status if isinstance(http_status, int) else None)
    if port and http_status is not None:
        assert curl(pc, port) == http_status
    assert (row["latency_ms"] is not None) == isinstance(http_status, int)

    facts = shared_daemon.get(f"/api/services/{app}/{PC}?journal=0")["facts"]
    names = ["LoadState", "ActiveState", "SubState", "InvocationID", "UnitFileState"]
    names += ["Result", "MainPID", "NRestarts"] if unit.endswith(".service") else []
    truth = pc.show(unit, *names)
    said = facts["unit"]
    assert said["name"] == unit
    assert [said["load"], said["active"]] == [truth["LoadState"], truth["ActiveState"]]
    assert said["file_state"] == truth["UnitFileState"]
    if app != "backup_job":  # the timer changes these each 5 s
        assert said["sub"] == truth["SubState"]
        assert said["invocation"] == truth["InvocationID"]
    if unit.endswith(".service"):
        assert said["result"] == truth["Result"]
        assert str(said["main_pid"]) == truth["MainPID"]
        assert str(said["n_restarts"]) == truth["NRestarts"]


def test_it_watches_itself(shared_daemon):
    row = shared_daemon.row("services_api")
    assert row["http_status"] == 200 and row["port_listening"] is True
    facts = shared_daemon.get(f"/api/services/services_api/{PC}?journal=0")["facts"]
    assert facts["unit"]["main_pid"] == shared_daemon.pid()


def test_no_process_is_started_for_a_check(make_daemon):
    alone = registry_with()
    alone["pcs"] = [{"pc_id": PC, "ssh_host": PC}]
    daemon = make_daemon(registry=alone, args=["--interval-ms", "1000"])
    daemon.wait_row("sqlite_api", actual="running")
    watch = f"for i in $(seq 150); do cat /proc/{daemon.pid()}/task/*/children; sleep 0.02; done"
    assert daemon.pc.run(watch).stdout.split() == []
    assert daemon.row("sqlite_api")["last_check_ts"] > now_ms() - 2000


# ---- events ------------------------------------------------------------------------------------------------


def test_kill_is_seen_within_a_second_and_recorded(daemon):
    stream = daemon.stream()
    stream.wait_for(lambda m: m["type"] == "snapshot")
    daemon.wait_row("sqlite_api", actual="running")
    before = int(daemon.pc.show("sqlite_api.service", "NRestarts")["NRestarts"])
    begin, begin_ms = time.monotonic(), now_ms()
    daemon.pc.kill("sqlite_api.service")
    failed = stream.wait_row("sqlite_api", actual="failed")
    assert time.monotonic() - begin < 1.0
    assert (failed["light"], failed["cause"]) == ("down", "signal")
    assert failed["sentence"].startswith("killed by SIGKILL")
    stream.wait_row("sqlite_api", actual="running")

    rows = wait_until(lambda: len(r := transitions(daemon, "sqlite_api", begin_ms)) == 2 and r, 5)
    down, up = rows
    assert [(r["from"], r["to"]) for r in rows] == [("running", "failed"), ("failed", "running")]
    assert begin_ms <= down["ts"] <= up["ts"] <= now_ms()
    assert down["cause"] == "signal" and up["cause"] is None
    truth = daemon.pc.show("sqlite_api.service", "NRestarts", "InvocationID")
    assert int(truth["NRestarts"]) == before + 1

    # the evidence of the dead run follows under the same id, by stream ...
    stream.read_for(0.5)
    told = [t for _, m in stream.messages for t in m.get("transitions", []) if t["app_id"] == "sqlite_api"]
    (evidence,) = [t for t in told if t.get("update")]
    assert evidence["id"] == down["id"]
    lines = [line["message"] for line in evidence["evidence"]["journal"]]
    assert any("labsvc: up port=8401" in line for line in lines), lines
    assert any("code=killed" in line for line in lines), lines
    assert evidence["evidence"]["invocation"] != truth["InvocationID"]

    # ... by REST, and for people in the database
    full = wait_until(
        lambda: (t := transitions(daemon, "sqlite_api", begin_ms)[0])["evidence"].get("journal") and t, 5
    )
    assert full["id"] == down["id"] and full["evidence"]["result"] == "signal"
    sql = daemon.sql(
        'SELECT ts, "from", "to", cause, evidence FROM service_transition'
        " WHERE app_id = 'sqlite_api' ORDER BY ts, id"
    )
    assert [(r["ts"], r["from"], r["to"]) for r in sql] == [(r["ts"], r["from"], r["to"]) for r in rows]
    assert sql[0]["cause"] == "signal" and "code=killed" in sql[0]["evidence"]
    row = daemon.row("sqlite_api")
    assert (row["restarts"], row["transitions_24h"], row["since_ts"]) == (1, 2, up["ts"])


def test_timestamps_are_systemds_own(daemon):
    daemon.wait_row("queue_agent", actual="running")
    begin_ms = now_ms()
    daemon.pc.kill("queue_agent.service")  # stays down
    daemon.wait_row("queue_agent", actual="failed", cause="signal")
    (down,) = wait_until(lambda: transitions(daemon, "queue_agent", begin_ms), 5)
    command = ["busctl", "--user", "get-property", "org.freedesktop.systemd1"]
    command += ["/org/freedesktop/systemd1/unit/queue_5fagent_2eservice", "org.freedesktop.systemd1.Unit"]
    truth = daemon.pc.run(*command, "InactiveEnterTimestamp").stdout
    assert down["ts"] == int(truth.split()[1]) // 1000


def test_twenty_crashes_healed_in_milliseconds_are_forty_transitions(daemon):
    stream = daemon.stream()
    stream.wait_row("auth_api", actual="running")
    begin_ms = now_ms()
    before = int(daemon.pc.show("auth_api.service", "NRestarts")["NRestarts"])
    for _ in range(20):
        daemon.pc.kill("auth_api.service")
        stream.wait_row("auth_api", actual="failed", timeout=3)
        stream.wait_row("auth_api", actual="running", timeout=3)
    rows = wait_until(lambda: len(r := transitions(daemon, "auth_api", begin_ms)) >= 40 and r, 5)
    assert [(r["from"], r["to"]) for r in rows] == [("running", "failed"), ("failed", "running")] * 20
    assert {r["cause"] for r in rows[::2]} == {"signal"}
    assert [r["ts"] for r in rows] == sorted(r["ts"] for r in rows)
    assert daemon.row("auth_api")["restarts"] == 20
    assert int(daemon.pc.show("auth_api.service", "NRestarts")["NRestarts"]) == before + 20


def test_crash_between_two_looks_is_seen_without_the_event(daemon):
    """The daemon is stopped while it happens, so nothing but the InvocationID tells of it."""
    daemon.wait_row("auth_api", actual="running")
    begin_ms = now_ms()
    daemon.kill("STOP")
    try:
        old = daemon.pc.show("auth_api.service", "InvocationID")
        daemon.pc.kill("auth_api.service")
        wait_until(lambda: daemon.pc.show("auth_api.service", "InvocationID") != old, 5)
        wait_until(lambda: curl(daemon.pc, 8403) == 200, 5)
    finally:
        daemon.kill("CONT")
    rows = wait_until(lambda: len(r := transitions(daemon, "auth_api", begin_ms)) >= 2 and r, 12)
    assert [(r["from"], r["to"]) for r in rows] == [("running", "failed"), ("failed", "running")]


def test_hung_endpoint_shows_and_recovers(make_daemon):
    daemon = make_daemon(args=["--interval-ms", "2000"])  # so its timeout is 1.5 s
    daemon.wait_row("sqlite_api", actual="running")
    time.sleep(max(0, 10.5 - age_s(daemon.pc, "sqlite_api.service")))  # past the grace of a fresh start
    daemon.pc.mode(8401, "hang")
    row = daemon.wait_row("sqlite_api", timeout=2 + 1.5 + 2, actual="degraded", cause="http-timeout")
    assert row["light"] == "warn"
    assert row["sentence"] == "/health gives no answer within 1500 ms"
    daemon.pc.mode(8401, None)
    daemon.wait_row("sqlite_api", timeout=2 + 1.5 + 2, actual="running", cause=None)


@pytest.mark.parametrize(
    "mode, cause, sentence",
    [
        ("fail", "http-status", "/health answers 503"),
        ("reset", "http-reset", "the health request was reset"),
        ("garbage", "http-bad-reply", "the health endpoint does not speak HTTP"),
    ],
)
def test_bad_endpoint_has_its_sentence(make_daemon, mode, cause, sentence):
    daemon = make_daemon(args=["--interval-ms", "1000"])
    daemon.wait_row("sqlite_api", actual="running")
    time.sleep(max(0, 10.5 - age_s(daemon.pc, "sqlite_api.service")))
    daemon.pc.mode(8401, mode)
    row = daemon.wait_row("sqlite_api", timeout=5, cause=cause)
    assert (row["actual"], row["light"], row["sentence"]) == ("degraded", "warn", sentence)


def test_full_accept_queue_shows(make_daemon):
    daemon = make_daemon(args=["--interval-ms", "1000"])
    daemon.wait_row("sqlite_api", actual="running")
    time.sleep(max(0, 10.5 - age_s(daemon.pc, "sqlite_api.service")))
    daemon.pc.mode(8401, "deaf")
    row = daemon.wait_row("sqlite_api", timeout=6, actual="degraded")
    assert row["cause"] in ("http-timeout", "port-not-accepting")


def age_s(pc, unit):
    """For how long the unit has been active."""
    monotonic = int(pc.show(unit, "ActiveEnterTimestampMonotonic")["ActiveEnterTimestampMonotonic"])
    return time.clock_gettime(time.CLOCK_MONOTONIC) - monotonic / 1e6


def test_one_that_hangs_delays_nobody(make_daemon):
    """R13: thirty looks hang at any time; the others are looked at each second all the same."""
    hanging = [
        {"app_id": f"hanging{i}", "port": 8409, "health_endpoint": f"/health/{i}"} for i in range(30)
    ]
    daemon = make_daemon(registry=registry_with(*hanging), args=["--interval-ms", "1000"])
    stream = daemon.stream()
    stream.wait_for(lambda m: m["type"] == "snapshot")
    stream.read_for(3)
    seen = {}
    for message in stream.read_for(8):
        for app, _, ts, _ in message.get("checks", []):
            seen.setdefault(app, []).append(ts)
        for row in message.get("services", []):
            seen.setdefault(row["app_id"], []).append(row["last_check_ts"])
    for app in ("sqlite_api", "web_ui", "auth_api"):
        times = sorted(set(seen[app]))
        pauses = [b - a for a, b in zip(times, times[1:])]
        assert len(times) >= 6 and max(pauses) < 3000, (app, times)


# ---- every kind of unit ------------------------------------------------------------------------------------


def test_each_kind_of_unit_gets_its_answer(make_daemon):
    daemon = make_daemon(
        registry=registry_with(
            {"app_id": "backup_run", "unit": "backup_job.service"},
            {"app_id": "ghost", "unit": "ghost.service"},
            {"app_id": "port_only", "port": 8401},
            {"app_id": "port_nobody", "port": 8499},
            {"app_id": "should_stop", "unit": "queue_agent.service", "expected": "stopped"},
            {"app_id": "stopped_well", "unit": "broken_api.service", "expected": "stopped"},
            {"app_id": "of_system", "unit": "ssh.service", "unit_scope": "system", "port": 22},
            {"app_id": "by_url", "health_endpoint": "http://localhost:8402/health"},
        )
    )
    daemon.wait_row("ghost", actual="missing", light="down", cause="not-found")
    assert daemon.row("ghost")["sentence"] == "there is no unit ghost.service on this PC"
    assert daemon.row("ghost")["systemd_state"] == daemon.pc.systemctl("is-active", "ghost", check=False)
    daemon.wait_row("backup_run", actual="finished", light="ok", cause=None)
    daemon.wait_row("port_only", actual="running", light="ok")
    daemon.wait_row("port_nobody", light="down")
    assert daemon.row("port_nobody")["sentence"] == "port 8499 is closed"
    daemon.wait_row("should_stop", actual="running", light="warn", cause="running")
    daemon.wait_row("stopped_well", actual="failed", light="ok", cause=None)
    daemon.wait_row("of_system", actual="running", light="ok", systemd_state="active", port_listening=True)
    daemon.wait_row("by_url", actual="running", light="ok", http_status=200)


def test_masked_stopped_and_disabled(daemon):
    pc = daemon.pc
    daemon.wait_row("web_ui", actual="running")
    pc.run("rm ~/.config/systemd/user/web_ui.service; systemctl --user mask --now web_ui.service")
    row = daemon.wait_row("web_ui", light="down", cause="masked")
    assert row["sentence"] == "its unit is masked, so it cannot be started"

    pc.systemctl("stop", "queue_agent.service")
    row = daemon.wait_row("queue_agent", actual="inactive", light="down", cause="stopped")
    assert row["sentence"] == "it is not running"

    assert "hints" not in daemon.row("auth_api")
    pc.systemctl("disable", "auth_api.service")
    row = daemon.wait_row("auth_api", hints=["not-enabled"])
    assert (row["actual"], row["light"]) == ("running", "ok")


def test_broken_unit_file_is_told(daemon):
    daemon.wait_row("queue_agent", actual="running")
    daemon.pc.systemctl("stop", "queue_agent.service")
    daemon.pc.write("/home/fn/.config/systemd/user/queue_agent.service", "[Service]\nType=oneshot\n")
    daemon.pc.systemctl("daemon-reload")
    row = daemon.wait_row("queue_agent", cause="bad-setting")
    assert row["light"] == "down"
    assert row["sentence"] == "its unit file has an error and does not load"


def test_timer_whose_service_failed_is_degraded(daemon):
    daemon.wait_row("backup_job", actual="running")
    daemon.pc.write(
        "/home/fn/.config/systemd/user/backup_job.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n"
    )
    daemon.pc.systemctl("daemon-reload")
    row = daemon.wait_row("backup_job", timeout=17, actual="degraded", cause="timer-service-failed")
    assert row["sentence"] == "the service that this timer starts has failed"


def test_slow_start_is_starting(daemon):
    pc = daemon.pc
    daemon.wait_row("web_ui", actual="running")
    stream = daemon.stream()
    stream.wait_for(lambda m: m["type"] == "snapshot")
    begin_ms = now_ms()
    pc.systemctl("restart", "web_ui.service")  # Type=notify, ready after 150 ms
    stream.wait_row("web_ui", actual="starting")
    stream.wait_row("web_ui", actual="running")
    stream.read_for(0.5)
    moves = [(r["from"], r["to"]) for r in transitions(daemon, "web_ui", begin_ms)]
    assert moves in ([], [("running", "inactive"), ("inactive", "running")]), moves


def test_linger_off_is_a_hint(make_daemon):
    daemon = make_daemon(start=False)
    flag = daemon.pc.path("/var/lib/systemd/linger/fn")
    flag.unlink()  # loginctl disable-linger would also end what runs
    try:
        daemon.start()
        daemon.wait_row("sqlite_api", hints=["linger-off"], actual="running", light="ok")
    finally:
        flag.touch()


def test_port_held_by_a_stranger_is_told_with_the_pid(daemon):
    """Not a service but a process that somebody started by hand, in another service's place."""
    daemon.wait_row("stolen_port", cause="port-foreign")
    facts = daemon.get(f"/api/services/stolen_port/{PC}?journal=0")["facts"]["port"]
    assert facts["owner"] == "foreign" and facts["listening"] is True
    daemon.pc.systemctl("stop", "squatter.service")
    daemon.wait_row("stolen_port", cause="port-closed")
    assert daemon.row("stolen_port")["sentence"] == "port 8410 is closed"
    daemon.pc.systemctl("restart", "stolen_port.service")
    daemon.wait_row("stolen_port", actual="running", light="ok")


# ---- the registry changes ----------------------------------------------------------------------------------


def test_changed_registry_is_live_within_two_seconds(daemon):
    stream = daemon.stream()
    stream.wait_for(lambda m: m["type"] == "snapshot")
    daemon.wait_row("sqlite_api", actual="running")
    pid = daemon.pid()
    since = daemon.row("sqlite_api")["since_ts"]
    changed = registry_with({"app_id": "brand_new", "port": 8402}, without=["queue_agent"])
    changed["apps"][0]["title"] = "Another title"
    daemon.registry(changed)
    begin = time.monotonic()
    stream.wait_row("brand_new", timeout=2, actual="running")
    removed = [pair for _, m in stream.messages for pair in m.get("removed", [])]
    assert ["queue_agent", PC] in removed
    assert time.monotonic() - begin < 2.0
    rows = daemon.rows()
    assert ("queue_agent", PC) not in rows
    assert rows[("sqlite_api", PC)]["title"] == "Another title"
    assert rows[("sqlite_api", PC)]["since_ts"] == since  # by difference: nothing else is lost
    assert daemon.pid() == pid
    assert not any(r for r in daemon.get("/api/transitions") if r["app_id"] == "brand_new")


@pytest.mark.parametrize("how", ["garbage", "deleted", "dangling"])
def test_bad_registry_leaves_the_last_good_one_in_force(daemon, how):
    daemon.wait_row("sqlite_api", actual="running")
    before = set(daemon.rows())
    path = "/home/fn/.local/share/services_api/registry.db"
    if how == "garbage":
        daemon.pc.write(path, "this is no database\n" * 100)
    elif how == "deleted":
        daemon.pc.run("rm", path)
    else:
        daemon.pc.run("sqlite3", path, "UPDATE service_targets SET app_id = 'nobody' WHERE app_id = 'web_ui'")
    error = wait_until(lambda: daemon.get("/api/health")["registry"]["error"], 3)
    assert "registry.db" in error
    assert set(daemon.rows()) == before
    wait_until(lambda: "the last good one stays in force" in daemon.journal(), 3)
    daemon.pc.kill("sqlite_api.service")  # and it still works
    wait_until(lambda: len(transitions(daemon, "sqlite_api")) == 2, 5)
    daemon.pc.run("rm", "-f", path)
    daemon.registry(registry_with(without=["web_ui"]))
    wait_until(lambda: daemon.get("/api/health")["registry"]["error"] is None, 3)
    assert ("web_ui", PC) not in daemon.rows()


# ---- its own death -----------------------------------------------------------------------------------------


def test_it_is_back_within_two_seconds_and_nothing_is_lost(make_daemon):
    daemon = make_daemon(properties=["Restart=always", "RestartSec=0"])
    daemon.wait_row("sqlite_api", actual="running")
    daemon.pc.kill("sqlite_api.service")
    wait_until(lambda: len(transitions(daemon, "sqlite_api")) == 2, 5)
    committed = daemon.sql("SELECT id, ts FROM service_transition ORDER BY id")
    checks = daemon.sql("SELECT count(*) AS n FROM service_check")[0]["n"]
    for _ in range(3):
        pid = daemon.pid()
        begin = time.monotonic()
        daemon.kill()
        wait_until(lambda: answers(daemon) and daemon.pid() != pid, 5)
        assert time.monotonic() - begin < 2.0
        assert daemon.sql("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
        rows = daemon.sql("SELECT id, ts FROM service_transition ORDER BY id")
        assert rows[: len(committed)] == committed
        now = daemon.sql("SELECT count(*) AS n FROM service_check")[0]["n"]
        assert now >= checks
        checks = now
    daemon.wait_row("sqlite_api", actual="running")
    assert daemon.row("sqlite_api")["transitions_24h"] == 2  # recalled, not counted anew
    assert [r["id"] for r in transitions(daemon, "sqlite_api")] == [r["id"] for r in committed]


def answers(daemon):
    try:
        return daemon.http("/api/health").status == 200
    except OSError:
        return False


def unit_time(pc, unit, name):
    path = "/org/freedesktop/systemd1/unit/" + re.sub("[^a-z0-9]", lambda m: f"_{ord(m[0]):02x}", unit)
    command = ["busctl", "--user", "get-property", "org.freedesktop.systemd1", path]
    return int(pc.run(*command, "org.freedesktop.systemd1.Unit", name).stdout.split()[1]) // 1000


def test_what_happened_while_it_was_dead_is_filled_in(daemon):
    daemon.wait_row("auth_api", actual="running")
    daemon.wait_row("queue_agent", actual="running")
    time.sleep(4)  # the first booking of who was well
    daemon.pc.kill("sqlite_api.service")  # and a transition takes all that waits to the disk
    wait_until(lambda: daemon.sql("SELECT 1 FROM service_transition"), 5)
    daemon.kill()
    wait_until(lambda: not daemon.active(), 5)
    old = daemon.pc.show("auth_api.service", "InvocationID")
    daemon.pc.kill("auth_api.service")
    daemon.pc.kill("queue_agent.service")
    wait_until(lambda: daemon.pc.show("auth_api.service", "InvocationID") != old, 5)
    down_ms = unit_time(daemon.pc, "auth_api.service", "InactiveEnterTimestamp")
    up_ms = unit_time(daemon.pc, "auth_api.service", "ActiveEnterTimestamp")
    queue_ms = unit_time(daemon.pc, "queue_agent.service", "InactiveEnterTimestamp")
    time.sleep(0.3)
    daemon.start()
    rows = wait_until(lambda: len(r := transitions(daemon, "auth_api")) >= 2 and r, 5)
    assert [(r["from"], r["to"]) for r in rows] == [("running", "failed"), ("failed", "running")]
    assert rows[0]["ts"] == down_ms
    assert up_ms <= rows[1]["ts"] <= now_ms()
    (row,) = wait_until(lambda: transitions(daemon, "queue_agent"), 5)
    assert (row["from"], row["to"], row["ts"]) == ("running", "failed", queue_ms)


def test_start_and_stop_are_no_transitions(daemon):
    """Nor is the first look at anything: a fresh or restarted daemon has nothing to report."""
    daemon.wait_row("sqlite_api", actual="running")
    daemon.restart()
    daemon.wait_row("sqlite_api", actual="running")
    daemon.restart()
    daemon.wait_row("sqlite_api", actual="running")
    time.sleep(0.5)
    passing = (None, "services_api", "hang_api")  # None: the other PCs, which are off here
    rows = [r for r in daemon.get("/api/transitions") if r["app_id"] not in passing]
    assert rows == []


def test_few_descriptors_are_survived(make_daemon):
    """R16: out of descriptors, it neither dies nor spins, and works again once there are some."""
    daemon = make_daemon(properties=["LimitNOFILE=48"], args=["--interval-ms", "1000"])
    daemon.wait_row("sqlite_api", actual="running")
    pid = daemon.pid()
    held = [daemon.pc.connect(8485) for _ in range(100)]
    time.sleep(2)
    daemon.pc.kill("sqlite_api.service")
    time.sleep(1)
    for sock in held:
        sock.close()
    wait_until(lambda: answers(daemon), 10)
    assert daemon.pid() == pid
    checked = daemon.row("web_ui")["last_check_ts"]
    wait_until(lambda: daemon.row("web_ui")["last_check_ts"] > checked, 10)
    daemon.wait_row("sqlite_api", timeout=10, actual="running")
    wait_until(lambda: len(transitions(daemon, "sqlite_api")) == 2, 10)


def test_lost_user_manager_is_one_event_of_the_pc(make_daemon):
    """It runs as a system service, as fn, so that it survives fn's user manager."""
    daemon = make_daemon(start=False)
    pc = daemon.pc
    env = " ".join(f"--setenv={name}={value}" for name, value in daemon.env.items())
    pc.root(
        f"systemd-run --quiet --unit=outside --uid=1000 --gid=1000 {env} --setenv=HOME=/home/fn"
        f" --setenv=XDG_RUNTIME_DIR=/run/user/1000 {PROGRAM} serve"
    )
    try:
        wait_until(lambda: answers(daemon), 5)
        daemon.wait_row("sqlite_api", actual="running")
        pc.root("systemctl", "stop", "user@1000.service", "user-runtime-dir@1000.service")
        row = daemon.wait_row("sqlite_api", light="unknown", actual="unknown")
        assert row["cause"] in ("no-bus", "no-user-manager"), row
        wait_until(
            lambda: daemon.row("broken_api")["light"] == daemon.row("web_ui")["light"] == "unknown", 3
        )
        (me,) = [p for p in daemon.get("/api/pcs") if p["pc_id"] == PC]
        assert me["reachable"] is True and me["sentence"]
        pc.root("systemctl", "start", "user@1000.service")
        daemon.wait_row("sqlite_api", timeout=15, actual="running", light="ok")
        lost = [r for r in daemon.get("/api/transitions") if r["app_id"] is None and r["pc_id"] == PC]
        assert (lost[0]["to"], lost[-1]["to"]) == ("running", "unknown")
    finally:
        pc.root("systemctl", "stop", "outside.service", check=False)
        pc.root("systemctl", "start", "user@1000.service")
        wait_until(lambda: pc.systemctl("is-system-running", check=False) in ("running", "degraded"), 20)
