"""The command line, with and without a running daemon."""

import json
import re
import time

import pytest
import yaml
from conftest import PROGRAM, wait_until
from test_daemon import VERDICTS, registry_with

PC = "aurgi-pc"
COMMANDS = [
    "status",
    "watch",
    "check",
    "logs",
    "alerts",
    "serve",
    "discover",
    "add",
    "import",
    "export",
    "check-registry",
    "check-config",
]


def only(*apps):
    """A registry of aurgi-pc alone with these of the lab's apps."""
    registry = registry_with(without=[app for app in VERDICTS if app not in apps])
    registry["pcs"] = registry["pcs"][:1]
    return registry


@pytest.mark.parametrize("command", COMMANDS)
def test_help(shared_daemon, command):
    done = shared_daemon.cli(command, "--help")
    assert done.stdout.startswith(f"Usage: services_api {command}")
    assert "--help" in done.stdout and done.stderr == ""
    assert max(len(line) for line in done.stdout.splitlines()) <= 100
    assert shared_daemon.cli(command, "-h").stdout == done.stdout


def test_help_lists_every_command(shared_daemon):
    text = shared_daemon.cli("--help").stdout
    assert shared_daemon.cli().stdout == text
    for command in COMMANDS:
        assert re.search(rf"^  {command} +\S", text, re.M), command
    # and there is none that is not tested here for its --help, but newer ones
    for command in re.findall(r"^  ([a-z][a-z-]+) ", text, re.M):
        assert shared_daemon.cli(command, "--help").stdout.startswith(f"Usage: services_api {command}")
    assert re.fullmatch(r"services_api \d+\.\d+\.\d+\n", shared_daemon.cli("--version").stdout)


@pytest.mark.parametrize(
    "args",
    [
        ["nonsense"],
        ["status", "--nonsense"],
        ["status", "operand"],
        ["check"],
        ["check", "a", "b", "c"],
        ["logs", "sqlite_api", "--lines", "0"],
        ["logs", "sqlite_api", "--lines", "1001"],
        ["logs", "sqlite_api", "--lines", "ten"],
        ["import"],
        ["import", "/nonexistent.yaml"],
        ["add"],
        ["add", "x", "--port", "70000"],
        ["add", "x y", "--port", "8401"],
        ["export", "a", "b"],
        ["serve", "--interval-ms", "10"],
        ["serve", "--interval-ms"],
        ["check-config", "/nonexistent.yaml"],
        ["check-registry", "/nonexistent.db"],
        ["check", "nobody"],
        ["check", "sqlite_api", "nowhere"],
        ["logs", "nobody"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2_and_one_line(shared_daemon, args):
    done = shared_daemon.cli(*args, check=False)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert re.fullmatch(r"services_api [^\n]+\n", done.stderr), done.stderr


# ---- status ------------------------------------------------------------------------------------------------


def wait_steady(daemon):
    for app in VERDICTS:
        daemon.wait_row(app, timeout=13, actual=VERDICTS[app][0], cause=VERDICTS[app][2])


def test_status_shows_what_rest_says(shared_daemon):
    wait_steady(shared_daemon)
    done = shared_daemon.cli("status", check=False)
    assert done.returncode == 1 and done.stderr == ""
    assert "\x1b" not in done.stdout  # no terminal, no colours
    for app, (actual, _, _, sentence) in VERDICTS.items():
        (line,) = [line for line in done.stdout.splitlines() if re.match(rf"  \S {app} ", line)]
        assert actual in line.split()
        if sentence:
            assert sentence in line
    assert "8 ok" in done.stdout and "2 warn" in done.stdout and "1 down" in done.stdout
    said = json.loads(shared_daemon.cli("status", "--json", check=False).stdout)
    stable = ("app_id", "pc_id", "expected", "actual", "light", "cause", "sentence", "port", "restarts")
    rows = shared_daemon.get("/api/services")
    assert [{k: r[k] for k in stable} for r in said["services"]] == [{k: r[k] for k in stable} for r in rows]
    assert [p["pc_id"] for p in said["pcs"]] == [p["pc_id"] for p in shared_daemon.get("/api/pcs")]


def test_status_in_a_terminal_has_colours(shared_daemon):
    pc = shared_daemon.pc
    text = pc.run(f"TERM=xterm-256color script -qec '{PROGRAM} status' /dev/null", check=False).stdout
    assert "\x1b[" in text
    text = pc.run(f"NO_COLOR=1 script -qec '{PROGRAM} status' /dev/null", check=False).stdout
    assert "\x1b[" not in text and "sqlite_api" in text


@pytest.mark.parametrize("with_daemon", [True, False], ids=["daemon", "alone"])
def test_exit_codes_of_status(make_daemon, with_daemon):
    """0 all ok, 1 something warns or is down, 3 nothing worse than unknown."""
    daemon = make_daemon(registry=only("sqlite_api", "web_ui"), start=with_daemon)
    pc = daemon.pc

    def status():
        return daemon.cli("status", "--json", check=False)

    wait_until(lambda: status().returncode == 0, 5, 0.1, "all ok")
    pc.systemctl("stop", "web_ui.service")
    done = wait_until(lambda: (d := status()).returncode == 1 and d, 5, 0.1, "one down")
    rows = {row["app_id"]: row for row in json.loads(done.stdout)["services"]}
    assert rows["web_ui"]["actual"] == "inactive" and rows["sqlite_api"]["actual"] == "running"
    pc.systemctl("start", "web_ui.service")
    far = only("sqlite_api", "web_ui")
    far["pcs"].append({"pc_id": "home-wsl", "ssh_host": "home-wsl"})
    far["service_targets"] = [{"app_id": "sqlite_api", "pc_id": "home-wsl", "expected": "running"}]
    daemon.registry(far)
    wait_until(lambda: status().returncode == 3, 12, 0.1, "unknown alone")


def test_status_alone_is_right(make_daemon):
    """No daemon runs: the same answers, by a look of its own."""
    daemon = make_daemon(start=False)
    time.sleep(0.1)
    done = daemon.cli("status", "--json", check=False)
    assert done.returncode == 1
    rows = {row["app_id"]: row for row in json.loads(done.stdout)["services"]}
    assert rows["services_api"]["light"] == "down"  # for it does not run
    for app in ("sqlite_api", "auth_api", "queue_agent", "backup_job", "report_once"):
        assert rows[app]["light"] == "ok", rows[app]
    assert rows["broken_api"]["sentence"] == "exit code 3"
    assert rows["stolen_port"]["cause"] == "port-foreign"
    assert not daemon.pc.path("/home/fn/.local/state/services_api").exists()  # it leaves nothing behind


def test_status_without_registry(make_daemon):
    daemon = make_daemon(registry=None, start=False)
    done = daemon.cli("status", check=False)
    assert done.returncode == 2 and "registry" in done.stderr


# ---- check, logs, watch ------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_daemon", [True, False], ids=["daemon", "alone"])
def test_check(make_daemon, with_daemon):
    daemon = make_daemon(start=with_daemon)
    if with_daemon:
        daemon.wait_row("sqlite_api", actual="running")
    before = int(time.time() * 1000)
    done = daemon.cli("check", "sqlite_api", "--json")
    row = json.loads(done.stdout)
    assert row["actual"] == "running" and row["last_check_ts"] >= before
    done = daemon.cli("check", "broken_api", PC, check=False)
    assert done.returncode == 1 and "exit code 3" in done.stdout
    done = daemon.cli("check", "nobody", check=False)
    assert done.returncode == 2 and "no app 'nobody'" in done.stderr


def test_logs(shared_daemon):
    shared_daemon.wait_row("broken_api", actual="failed")
    done = shared_daemon.cli("logs", "broken_api")
    assert "broken_api: cannot read settings.ini: no such file" in done.stdout
    assert all(re.match(r"(\S+ )*\d\d:\d\d:\d\d", line) for line in done.stdout.splitlines())
    assert len(shared_daemon.cli("logs", "sqlite_api", "--lines", "1").stdout.splitlines()) == 1


def test_logs_need_the_daemon(make_daemon):
    done = make_daemon(start=False).cli("logs", "sqlite_api", check=False)
    assert done.returncode == 1 and "no daemon answers" in done.stderr


def test_watch_follows(daemon):
    daemon.wait_row("sqlite_api", actual="running")
    pc = daemon.pc
    # Its leaks are looked for by test-serve-bus: at its end here, systemd waits for it.
    options = "--setenv=ASAN_OPTIONS=detect_leaks=0 -p StandardOutput=truncate:/tmp/watch"
    pc.run(f"systemd-run --user --quiet --unit=watcher {options} {PROGRAM} watch")
    try:
        out = pc.path("/tmp/watch")
        wait_until(lambda: out.exists() and "sqlite_api" in out.read_text(), 15)
        pc.kill("sqlite_api.service")
        wait_until(lambda: "sqlite_api on aurgi-pc  running \u2192 failed" in out.read_text(), 10)
        daemon.stop()
        wait_until(lambda: "live" not in out.read_text().rsplit("services_monitor  ", 1)[1].split("\n")[0], 15)
        daemon.start()
        wait_until(lambda: "live" in out.read_text().rsplit("services_monitor  ", 1)[1].split("\n")[0], 30)
    finally:
        pc.systemctl("stop", "watcher.service", check=False)
    assert pc.systemctl("is-failed", "watcher.service", check=False) != "failed"


# ---- the registry ------------------------------------------------------------------------------------------


def test_export_and_import_are_a_round_trip(make_daemon):
    daemon = make_daemon(start=False)
    first = daemon.cli("export").stdout
    assert yaml.safe_load(first)["pcs"][0]["pc_id"] == PC
    daemon.cli("import", "-", input=first)
    assert daemon.cli("export").stdout == first
    daemon.cli("export", "/home/fn/out.yaml")
    assert daemon.pc.path("/home/fn/out.yaml").read_text() == first
    assert "good" in daemon.cli("check-registry", "/home/fn/out.yaml").stdout
    assert "good" in daemon.cli("check-registry").stdout


def test_import_is_all_or_nothing(make_daemon):
    daemon = make_daemon(start=False)
    before = daemon.cli("export").stdout
    bad = registry_with({"app_id": "fine", "port": 8401}, {"app_id": "fine", "port": 8402})
    done = daemon.cli("import", "-", input=yaml.safe_dump(bad), check=False)
    assert done.returncode == 2 and re.match(r"services_api import: stdin:\d+: ", done.stderr), done.stderr
    assert daemon.cli("export").stdout == before


def test_add(make_daemon):
    daemon = make_daemon(registry=None, start=False)
    done = daemon.cli("add", "sqlite_api", "--unit", "sqlite_api", "--port", "8401", "--health", "/health")
    assert done.stdout.startswith("added sqlite_api on aurgi-pc")
    registry = yaml.safe_load(daemon.cli("export").stdout)
    assert registry["apps"] == [
        {"app_id": "sqlite_api", "unit": "sqlite_api.service", "port": 8401, "health_endpoint": "/health"}
    ]
    done = daemon.cli("add", "sqlite_api", "--unit", "sqlite_api", "--port", "8401", "--tag", "api")
    assert done.stdout.startswith("replaced")
    daemon.start()
    daemon.wait_row("sqlite_api", actual="running", tag="api")
    daemon.cli("add", "auth_api", "--unit", "auth_api.service", "--port", "8403")
    wait_until(lambda: ("auth_api", PC) in daemon.rows(), 2)


def test_discover(make_daemon):
    daemon = make_daemon(registry=None, start=False)
    proposal = daemon.cli("discover").stdout
    assert not daemon.pc.path("/home/fn/.local/share/services_api/registry.db").exists()
    registry = yaml.safe_load(proposal)
    apps = {app["app_id"]: app for app in registry["apps"]}
    for app, port in (("sqlite_api", 8401), ("web_ui", 8402), ("auth_api", 8403), ("queue_agent", 8404)):
        assert (apps[app]["unit"], apps[app]["port"]) == (f"{app}.service", port), apps[app]
    assert apps["backup_job"]["unit"] == "backup_job.timer"
    assert apps["services_api"]["tag"] == "service"
    assert "dbus" not in apps  # of the system, not written by hand

    assert "new service" in daemon.cli("discover", "--write").stdout
    assert yaml.safe_load(daemon.cli("export").stdout) == registry
    assert daemon.cli("discover", "--write").stdout.startswith("0 new services")
    everything = yaml.safe_load(daemon.cli("discover", "--all").stdout)
    assert len(everything["apps"]) > len(apps)
    daemon.start()
    daemon.wait_row("sqlite_api", actual="running", port=8401)
    daemon.wait_row("services_api", actual="running")


def test_check_config(make_daemon):
    daemon = make_daemon(start=False)
    assert "defaults" in daemon.cli("check-config").stdout
    daemon.config(interval_ms=5000)
    assert "good" in daemon.cli("check-config").stdout
    daemon.start()
    assert daemon.get("/api/health")["interval_ms"] == 5000
    daemon.config(intervall_ms=5000)
    done = daemon.cli("check-config", check=False)
    assert done.returncode == 2 and "interval_ms" in done.stderr and "config.yaml:1" in done.stderr
    assert "interval_ms" in daemon.cli("check-config", "--keys").stdout


def test_reload_by_signal(daemon):
    daemon.wait_row("sqlite_api", actual="running")
    pid = daemon.pid()
    daemon.kill("HUP")
    wait_until(lambda: "SIGHUP" in daemon.journal(), 3)
    assert daemon.pid() == pid
    daemon.wait_row("sqlite_api", actual="running")
