"""A start that cannot succeed says why, with an exit code, and before it opens its port."""

import os
import re

import pytest
from conftest import PROGRAM, SANITIZER_REPORT, wait_until
from test_daemon import registry_with, transitions

PC = "aurgi-pc"
REGISTRY_DB = "/home/fn/.local/share/services_api/registry.db"
CONFIG = "/home/fn/.config/services_api/config.yaml"
TOKEN = "/home/fn/.config/services_api/token"
DB = "/home/fn/.local/state/services_api/services_api.db"


def serve(daemon, *args):
    """In the foreground; killed should it not end by itself."""
    env = [f"{name}={value}" for name, value in daemon.env.items()]
    done = daemon.pc.run("timeout", "-s", "KILL", "10", "env", *env, PROGRAM, "serve", *args, check=False)
    assert not SANITIZER_REPORT.search(done.stderr), done.stderr
    return done


def refused(daemon, *args, code=None):
    """`serve` ends by itself, with a code, in few lines; the port was never open. The lines."""
    done = serve(daemon, *args)
    assert done.returncode in (1, 2), done.stderr
    assert code in (None, done.returncode), done.stderr
    assert "listening" not in done.stderr
    assert 1 <= len(done.stderr.splitlines()) <= 3, done.stderr
    with pytest.raises(ConnectionRefusedError):
        daemon.pc.connect(8485)
    return done.stderr


def test_no_registry(make_daemon):
    said = refused(make_daemon(registry=None, start=False), code=2)
    assert "registry.db" in said and "discover --write" in said


@pytest.mark.parametrize(
    "sql, word",
    [
        ("UPDATE service_targets SET app_id = 'nobody' WHERE app_id = 'web_ui'", "nobody"),
        ("UPDATE apps SET port = 99999 WHERE app_id = 'web_ui'", "port"),
        ("UPDATE apps SET unit = '../x.service' WHERE app_id = 'web_ui'", "unit"),
        ("UPDATE apps SET app_id = 'a b' WHERE app_id = 'web_ui'", "a b"),
        ("DROP TABLE service_targets", "service_targets"),
        ("ALTER TABLE apps DROP COLUMN unit", "unit"),
        ("DELETE FROM pcs", "pc"),
    ],
)
def test_broken_registry(make_daemon, sql, word):
    daemon = make_daemon(start=False)
    lax = "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; "
    daemon.pc.run("sqlite3", REGISTRY_DB, lax + sql)
    assert word in refused(daemon, code=2)


@pytest.mark.parametrize("content", ["", "no database at all\n" * 50, "SQLite format 3\0" + "\0" * 4096])
def test_registry_that_is_none(make_daemon, content):
    daemon = make_daemon(start=False)
    daemon.pc.write(REGISTRY_DB, content)
    assert "registry.db" in refused(daemon, code=2)


def test_unreadable_registry(make_daemon):
    daemon = make_daemon(start=False)
    daemon.pc.path(REGISTRY_DB).chmod(0)
    assert "registry.db" in refused(daemon)


def test_who_am_i(make_daemon):
    registry = registry_with()
    registry["pcs"] = [{"pc_id": "one", "ssh_host": "one"}, {"pc_id": "two", "ssh_host": "two"}]
    for target in registry["service_targets"]:
        target["pc_id"] = "one"
    daemon = make_daemon(registry=registry, start=False)
    said = refused(daemon, code=2)
    assert "one" in said and "two" in said
    assert "three" in refused(daemon, "--self", "three", code=2)


def bad_configs():
    """A hundred: each key with each value that it cannot have, and files that are none."""
    wrong = {
        "interval_ms": [0, 999, 3600001, -1, "ten", 1.5, [1000], "1e4"],
        "alert_after_s": [-1, 86401, "x", [1]],
        "listen": ["8485", "localhost:8485", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999", "[::1:8485", 8485],
        "self": ["a b", "-x", "../x", ""],
        "hosts": ["evil/", ["a b"], [1, {"a": 1}], ["*"], ["http://x"], {"a": "b"}],
        "origins": [["evil"], ["http://x/path"], ["null"], ["*"], "", ["javascript:alert(1)"]],
        "features.actions": ["yes please", 1, "on", ["true"]],
        "features": [1, "actions", ["actions"], {"action": True}],
        "services_monitor.auto_fix": ["maybe", 2],
        "retention": [1, {"x": 1}],
        "notify": [1, {"x": 1}],
    }
    for key, values in wrong.items():
        for value in values:
            text = repr(value) if not isinstance(value, str) else '"' + value + '"'
            yield key, f"{key}: {text}\n"
    unknown = "intervalms Interval_ms interval-ms token password hots x 1 actions port db registry log hosts2"
    unknown += " listen_on interval intervals ssh user api monitor alerts"
    for key in unknown.split():
        yield key, f"{key}: 1\n"
    for text in (
        "interval_ms: 2000\ninterval_ms: 3000\n",
        "- a\n- b\n",
        "just text\n",
        "a: [1, 2\n",
        "a: b: c\n",
        "\tinterval_ms: 2000\n",
        "interval_ms: 2000\n---\ninterval_ms: 3000\n",
        "interval_ms: &a 2000\nalert_after_s: *a\n",
        "? [a]\n: b\n",
        '{"interval_ms": 2000\n',
        "interval_ms: !!python/object 1\n",
        "%YAML 9.9\n---\ninterval_ms: 2000\n",
        "interval_ms: 2000\0\n",
        "\xff\xfe\n",
        "a:\n" + "".join("  " * i + "a:\n" for i in range(1, 300)),
        "x: " + "y" * 300000 + "\n",
        "hosts: [" + "a," * 20000 + "]\n",
        "interval_ms: [[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]\n",
        "interval_ms: 18446744073709552616\n",
        "interval_ms: 0x7d0\n",
        "interval_ms: +2000\n",
        "!interval_ms 5\n",
        "interval_ms: '2000 '\n",
        "interval_ms: 2000 3000\n",
        "interval_ms: 99999999999\n",
        "self: \"a\\nb\"\n",
        "self: \"\\x1b[31m\"\n",
        "listen: \"127.0.0.1:8485\\0\"\n",
        "hosts:\n- good\n- \"bad\\x07\"\n",
    ):
        yield None, text


def test_a_hundred_broken_configs(make_daemon):
    """R35: clear line, exit code not 0, the port never opens. All in one shell, for the time it takes."""
    daemon = make_daemon(start=False)
    configs = list(bad_configs())
    assert len(configs) >= 100
    for i, (_, text) in enumerate(configs):
        data = text.encode("latin-1") if "\xff" in text else text.encode()
        path = daemon.pc.path("/home/fn").joinpath("configs", f"{i}.yaml")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    env = " ".join(f"{name}={value}" for name, value in daemon.env.items())
    out = daemon.pc.run(
        f"cd configs; for i in $(seq 0 {len(configs) - 1}); do"
        f' said=$({env} timeout -s KILL 10 {PROGRAM} serve --config $i.yaml 2>&1); echo "@$i $? $said"; done',
        timeout=120,
    ).stdout
    answers = re.split(r"^@", out, flags=re.M)[1:]
    assert len(answers) == len(configs)
    for (key, text), answer in zip(configs, answers):
        number, code, said = re.match(r"(\d+) (\d+) (.*)", answer, re.S).groups()
        assert code == "2", (text[:80], answer)
        assert len(said.strip().splitlines()) == 1 and f"{number}.yaml" in said, (text[:80], said)
        assert "listening" not in said and "\x1b" not in said and "\x07" not in said
        if key:
            assert key.split(".")[0].lower() in said.lower(), (text, said)


@pytest.mark.parametrize(
    "mode, owner, word",
    [(0o644, 1000, "0600"), (0o640, 1000, "0600"), (0o600, 0, "token"), (0o644, 0, "0600")],
)
def test_bad_token_file(make_daemon, mode, owner, word):
    daemon = make_daemon(start=False)
    daemon.pc.write(TOKEN, "0123456789abcdef0123456789abcdef\n", mode)
    os.chown(daemon.pc.path(TOKEN), owner, owner)
    said = refused(daemon)
    assert word in said and "0123456789abcdef" not in said


@pytest.mark.parametrize(
    "content", ["", "short\n", "0123456789abcdef\n0123456789abcdef\n", "0123456789\0abcdefghi\n"]
)
def test_token_that_is_none(make_daemon, content):
    daemon = make_daemon(start=False)
    daemon.pc.write(TOKEN, content, 0o600)
    assert "token" in refused(daemon)


def test_token_that_is_a_link(make_daemon):
    daemon = make_daemon(start=False)
    daemon.pc.write("/home/fn/elsewhere", "0123456789abcdef0123456789abcdef\n", 0o600)
    daemon.pc.run(f"mkdir -p ~/.config/services_api; ln -s ~/elsewhere {TOKEN}")
    assert "token" in refused(daemon)


@pytest.mark.parametrize("kind", ["corrupt", "foreign", "torn"])
def test_damaged_history_is_set_aside_and_goes_on(make_daemon, kind):
    """R25"""
    daemon = make_daemon(start=False)
    if kind == "corrupt":
        daemon.pc.write(DB, "SQLite format 3\0" + "garbage" * 2000)
    elif kind == "foreign":
        daemon.pc.run("mkdir -p ~/.local/state/services_api")
        theirs = "PRAGMA application_id = 77; CREATE TABLE theirs(x); INSERT INTO theirs VALUES (1)"
        daemon.pc.run("sqlite3", DB, theirs)
    else:
        daemon.start()
        daemon.wait_row("sqlite_api", actual="running")
        daemon.pc.kill("sqlite_api.service")
        wait_until(lambda: len(transitions(daemon, "sqlite_api")) == 2, 5)
        daemon.stop()
        daemon.pc.run(f"sqlite3 {DB} 'PRAGMA wal_checkpoint(TRUNCATE)'; rm -f {DB}-wal {DB}-shm")
        path = daemon.pc.path(DB)
        data = bytearray(path.read_bytes())
        for at in range(4096, len(data), 4096):
            data[at : at + 512] = b"\xa5" * 512
        path.write_bytes(data)
    daemon.start()
    daemon.wait_row("sqlite_api", actual="running")
    daemon.pc.kill("sqlite_api.service")
    wait_until(lambda: len(transitions(daemon, "sqlite_api")) >= 2, 8)
    aside = daemon.pc.run("ls ~/.local/state/services_api").stdout.split()
    kept = [name for name in aside if "damaged" in name and not name.endswith(("-wal", "-shm"))]
    assert len(kept) == 1, aside
    assert "damaged" in daemon.journal()
    if kind == "foreign":
        query = ["sqlite3", f"/home/fn/.local/state/services_api/{kept[0]}", "SELECT x FROM theirs"]
        assert daemon.pc.run(*query).stdout.strip() == "1"
    assert daemon.sql("PRAGMA integrity_check") == [{"integrity_check": "ok"}]


def test_taken_port_names_its_holder(make_daemon):
    daemon = make_daemon(start=False)
    daemon.pc.run("systemd-run --user --quiet --unit=holder /usr/local/bin/labsvc --port 8485")
    try:
        wait_until(lambda: daemon.pc.run("ss -Htln 'sport = :8485'").stdout, 5)
        pid = daemon.pc.show("holder.service", "MainPID")["MainPID"]
        done = serve(daemon)
        assert done.returncode > 0
        assert f"port 8485 is held by pid {pid} (labsvc)" in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1
    finally:
        daemon.pc.systemctl("stop", "holder.service")


def test_second_daemon_is_refused_and_the_first_unharmed(shared_daemon):
    before = shared_daemon.get("/api/health")["stream"]
    done = serve(shared_daemon)
    assert done.returncode > 0 and "services_api" in done.stderr
    assert shared_daemon.get("/api/health")["stream"] == before
    assert shared_daemon.sql("PRAGMA integrity_check") == [{"integrity_check": "ok"}]


def test_without_a_user_bus_it_serves_and_says_so(make_daemon):
    """Another user, without user manager: a cause, not a crash."""
    daemon = make_daemon(start=False)
    env = " ".join(f"{name}={value}" for name, value in daemon.env.items())
    daemon.pc.root("id other >/dev/null 2>&1 || useradd -m -u 1234 other")
    as_other = f"runuser -u other -- env -i HOME=/home/other PATH=/usr/bin:/bin {env} {PROGRAM}"
    daemon.pc.root(f"{as_other} import - </dev/stdin", input=daemon.cli("export").stdout)
    status = daemon.pc.root(f"{as_other} status", check=False)
    assert status.returncode == 3, status.stdout + status.stderr  # unknown is not down
    assert "no user bus" in status.stdout
    daemon.pc.root(f"systemd-run --quiet --unit=other --uid=1234 --setenv=HOME=/home/other {PROGRAM} serve")
    try:
        reply = wait_until(lambda: reachable(daemon), 5)
        rows = {row["app_id"]: row for row in reply.json()}
        assert rows["sqlite_api"]["light"] == "unknown" and rows["sqlite_api"]["cause"] == "no-bus"
        assert "no user bus" in rows["sqlite_api"]["sentence"]
        (me,) = [p for p in daemon.http("/api/pcs", uid=1234).json() if p["pc_id"] == PC]
        assert me["reachable"] and me["cause"] == "no-bus"
        assert daemon.http("/api/services").status == 401  # fn is a stranger to it
    finally:
        daemon.pc.root("systemctl", "stop", "other.service", check=False)


def reachable(daemon):
    try:
        reply = daemon.http("/api/services", uid=1234)
        rows = {row["app_id"]: row for row in reply.json()}
        return rows["sqlite_api"]["cause"] == "no-bus" and reply
    except (OSError, ValueError):
        return None


def test_history_that_has_no_place(make_daemon):
    daemon = make_daemon(start=False)
    daemon.pc.run("mkdir -p ~/.local/state; cd ~/.local/state; rm -rf services_api; touch services_api")
    assert "services_api" in refused(daemon)
