"""Who may ask what, from where, and how that changes while the daemon runs."""

import re
import time

import yaml
from conftest import SOURCE_ROOT, lab_command, wait_until
from test_hostile import STRANGER, TABLE as ROUTES, UPGRADE, exchange, request, token

PC = "aurgi-pc"
LAN = "10.77.0.11"
CONFIG = "/home/fn/.config/services_api/config.yaml"
TOKEN = "/home/fn/.config/services_api/token"

# ---- the matrix --------------------------------------------------------------------------------------------

TOKENS = ("none", "right", "wrong")
ORIGINS = {"none": None, "allowed": "https://dash.lan", "evil": "https://evil.example", "null": "null"}
CALLERS = {
    "owner": (1000, "127.0.0.1"),
    "root": (0, "127.0.0.1"),
    "stranger": (STRANGER, "127.0.0.1"),
    "lan": (1000, LAN),  # the owner himself, but nobody can know that of another address
}
# "in": the handler answers. Origin by origin: without token, with the right one, with a wrong one.
#                     no Origin         an allowed one    evil              null
MATRIX = {
    ("read", "owner"): "in  in  in    | in  in  in    | 403 403 403   | 403 403 403",
    ("read", "root"): "in  in  in    | in  in  in    | 403 403 403   | 403 403 403",
    ("read", "stranger"): "401 in  401   | 401 in  401   | 403 403 403   | 403 403 403",
    ("read", "lan"): "401 in  401   | 401 in  401   | 403 403 403   | 403 403 403",
    ("check", "owner"): "in  in  in    | in  in  in    | 403 403 403   | 403 403 403",
    ("check", "root"): "in  in  in    | in  in  in    | 403 403 403   | 403 403 403",
    ("check", "stranger"): "401 in  401   | 401 in  401   | 403 403 403   | 403 403 403",
    ("check", "lan"): "401 in  401   | 401 in  401   | 403 403 403   | 403 403 403",
    ("action", "owner"): "401 in  401   | 401 in  401   | 403 403 403   | 403 403 403",
    ("action", "root"): "401 in  401   | 401 in  401   | 403 403 403   | 403 403 403",
    ("action", "stranger"): "401 in  401   | 401 in  401   | 403 403 403   | 403 403 403",
    ("action", "lan"): "401 in  401   | 401 in  401   | 403 403 403   | 403 403 403",
    ("off", "owner"): "403 403 403   | 403 403 403   | 403 403 403   | 403 403 403",
    ("off", "root"): "403 403 403   | 403 403 403   | 403 403 403   | 403 403 403",
    ("off", "stranger"): "403 403 403   | 403 403 403   | 403 403 403   | 403 403 403",
    ("off", "lan"): "403 403 403   | 403 403 403   | 403 403 403   | 403 403 403",
}


def rows_of_routes_table():
    """(method, pattern, need) as the daemon's source has them."""
    text = (SOURCE_ROOT / "src" / "api" / "routes.c").read_text()
    table = text[text.index("routes_table[]") : text.index("routes_table_len")]
    rows = re.findall(r'HTTP_ROUTE\(\s*"(\w+)",\s*"([^"]+)",\s*NEED_(\w+)', table)
    assert len(rows) == table.count("HTTP_ROUTE(")
    return rows


def ask(daemon, route, caller, token_text=None, origin=None):
    method, _, path, _, _ = route
    uid, host = CALLERS[caller]
    headers = f"Host: {host}:8485\r\n" + (UPGRADE if path.startswith("/api/ws") else "")
    headers += f"Origin: {origin}\r\n" if origin is not None else ""
    headers += f"Authorization: Bearer {token_text}\r\n" if token_text else ""
    return exchange(daemon, request(method, path, headers), uid=uid, host=host)


def walk(daemon, routes, off=False):
    """Every cell of the matrix for these routes; the wrong ones as text."""
    secrets = {"none": None, "right": token(daemon), "wrong": "0" * 64}
    wrong = []
    for route in routes:
        for caller in CALLERS:
            cells = MATRIX["off" if off else route[3], caller].replace("|", " ").split()
            expected = iter(cells)
            assert len(cells) == len(ORIGINS) * len(TOKENS)
            for origin, value in ORIGINS.items():
                for name in TOKENS:
                    cell = next(expected)
                    status, reply = ask(daemon, route, caller, secrets[name], value)
                    if status != (route[4] if cell == "in" else int(cell)):
                        wrong.append(f"{route[0]} {route[2]} {caller} token={name} origin={origin}: {status}, not {cell}")
                    assert b"access-control" not in reply.lower()
                    if cell != "in" and not off:
                        assert b"running" not in reply and b"uptime" not in reply, reply
    return wrong


def test_every_route_is_in_the_table():
    known = [(method, pattern, need.upper()) for method, pattern, _, need, _ in ROUTES]
    assert sorted(known) == sorted(rows_of_routes_table())


def test_matrix(make_daemon):
    """R36: route by caller by token by origin, on all addresses, with actions on and off."""
    everything = {"listen": "0.0.0.0:8485", "hosts": [LAN], "origins": ["https://dash.lan"]}
    daemon = make_daemon(config={**everything, "features": {"actions": True}})
    assert "open to other PCs" in daemon.journal()
    daemon.wait_row("sqlite_api", actual="running")
    assert walk(daemon, ROUTES) == []
    # from another PC, over the wire
    for header, status in (("X: y", "401"), (f"Authorization: Bearer {token(daemon)}", "200")):
        curl = ["curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", "-H", header]
        assert lab_command("net", *curl, f"http://{LAN}:8485/api/health").stdout == status
    daemon.config(**everything)
    reload_config(daemon)
    assert walk(daemon, [route for route in ROUTES if route[3] == "action"], off=True) == []


# ---- reload ------------------------------------------------------------------------------------------------


def health(daemon):
    return daemon.get("/api/health")["config"]


def reload_config(daemon, refused=False):
    """SIGHUP, and waits until the daemon has read the config. What health says of it then."""
    before = health(daemon)
    lines = daemon.journal().count("config: read again")
    if refused:
        daemon.kill("HUP")
        wait_until(lambda: health(daemon)["error"] not in (None, before["error"]), 3)
    else:
        daemon.kill("HUP")
        wait_until(lambda: daemon.journal().count("config: read again") > lines, 3)
        assert health(daemon)["error"] is None
    return health(daemon)


def test_reload_of_the_config(daemon):
    """All keys that can change do, nothing is lost, a broken file changes nothing."""
    daemon.wait_row("auth_api", actual="running")
    daemon.pc.kill("auth_api.service")
    daemon.wait_row("auth_api", actual="running", restarts=1)
    stream = daemon.stream()
    assert stream.wait_for(lambda m: m["type"] == "hello")["features"]["actions"] is False
    stream.wait_for(lambda m: m["type"] == "snapshot")
    pid, life = daemon.pid(), daemon.get("/api/health")["stream"]
    assert daemon.http("/api/health", headers={"Host": "monitor.lan"}).status == 421
    changed = {
        "interval_ms": 2000,
        "alert_after_s": 0,
        "hosts": ["monitor.lan"],
        "features": {"actions": True},
        "retention": {"checks_days": 3},
        "listen": "127.0.0.1:9999",
        "self": PC,
    }
    daemon.pc.write(CONFIG, yaml.safe_dump(changed))  # a key is called "self"
    assert reload_config(daemon)["needs_restart"] == ["listen", "self"]
    said = daemon.journal()
    assert "listen: needs a restart, until then it stays 127.0.0.1:8485" in said
    assert "changed: interval_ms, alert_after_s, retention.checks_days, hosts, features.actions" in said
    told = stream.wait_for(lambda m: "features" in m, 3)
    assert told["type"] == "delta" and told["features"]["actions"] is True
    answer = daemon.get("/api/health", headers={"Host": "monitor.lan"})
    assert answer["interval_ms"] == 2000 and answer["features"]["actions"] is True
    assert (daemon.pid(), answer["stream"]) == (pid, life)
    assert daemon.row("auth_api")["restarts"] == 1
    daemon.pc.systemctl("stop", "auth_api.service")  # an alert without the 5 minutes
    wait_until(lambda: [a for a in daemon.get("/api/alerts") if a["state"] == "open" and a["app_id"] == "auth_api"], 5)
    # one that is wrong, and one that is right again
    daemon.config(interval_ms=5)
    told = reload_config(daemon, refused=True)
    assert "config.yaml:1" in told["error"] and "interval_ms" in told["error"]
    assert told["needs_restart"] == ["listen", "self"]
    assert "the old one stays in force" in daemon.journal()
    assert daemon.get("/api/health", headers={"Host": "monitor.lan"})["interval_ms"] == 2000
    daemon.pc.path(CONFIG).unlink()
    assert reload_config(daemon)["needs_restart"] == []
    assert daemon.get("/api/health")["interval_ms"] == 10000
    assert daemon.http("/api/health", headers={"Host": "monitor.lan"}).status == 421
    assert stream.wait_for(lambda m: "features" in m, 3)["features"]["actions"] is False
    seqs = [m["seq"] for _, m in stream.messages if m["type"] == "delta"]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    assert daemon.pid() == pid


# ---- the token's life --------------------------------------------------------------------------------------


def as_stranger(daemon, secret):
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    return daemon.http("/api/health", headers=headers, uid=STRANGER).status


def ended_within(stream, seconds):
    begin = time.monotonic()
    while stream.close_code is None and time.monotonic() - begin < seconds:
        stream.read_for(0.05)
    return stream.close_code is not None


def test_rotated_token_shuts_the_old_one_out(daemon):
    daemon.wait_row("auth_api", actual="running")
    old = token(daemon)
    authorised = [
        daemon.stream(uid=STRANGER, headers={"Authorization": f"Bearer {old}"}),
        daemon.stream(headers={"Authorization": f"Bearer {old}"}),  # would not have needed it, but came by it
    ]
    mine = daemon.stream()
    said = daemon.cli("token").stdout
    assert TOKEN in said and old not in said
    said = daemon.cli("token", "--rotate").stdout
    new = token(daemon)
    assert new != old and new not in said and old not in said and TOKEN in said
    wait_until(lambda: as_stranger(daemon, old) == 401, 1)
    assert as_stranger(daemon, new) == 200
    for stream in authorised:
        assert ended_within(stream, 1.5)
        assert stream.close_code == 1008
    daemon.pc.kill("auth_api.service")
    mine.wait_row("auth_api", restarts=1)
    assert mine.close_code is None
    assert daemon.cli("token", "--show").stdout == new + "\n"
    assert old not in daemon.journal() and new not in daemon.journal()


def test_bad_token_file_leaves_the_old_token_in_force(daemon):
    old = token(daemon)
    path = daemon.pc.path(TOKEN)
    elsewhere = "/home/fn/elsewhere"
    daemon.pc.write(elsewhere, "f" * 64 + "\n", 0o600)
    deeds = {
        "mode 0600": f"chmod 644 {TOKEN}",
        "symbolic link": f"ln -sf {elsewhere} {TOKEN}",
        "holds no token": f"rm {TOKEN}; umask 077; echo short > {TOKEN}",
        "No such file": f"rm {TOKEN}",
    }
    for number, (word, deed) in enumerate(deeds.items(), 1):
        daemon.pc.run(deed)
        daemon.kill("HUP")
        wait_until(lambda: daemon.journal().count("the token in force stays") >= number, 3)
        line = [line for line in daemon.journal().splitlines() if "the token in force stays" in line][-1]
        assert word in line and TOKEN in line
        assert as_stranger(daemon, old) == 200
        assert as_stranger(daemon, "f" * 64) == as_stranger(daemon, "short") == 401
    assert daemon.cli("token", check=False).returncode == 1  # there is none
    # put right by hand, without a signal
    daemon.pc.run(f"umask 077; cp {elsewhere} {TOKEN}.new; mv {TOKEN}.new {TOKEN}")
    wait_until(lambda: as_stranger(daemon, "f" * 64) == 200, 2)
    assert as_stranger(daemon, old) == 401
    path.chmod(0o640)
    done = daemon.cli("token", "--show", check=False)
    assert done.returncode == 2 and "0600" in done.stderr and "ffff" not in done.stdout + done.stderr


# ---- secrets -----------------------------------------------------------------------------------------------


def test_no_secret_is_told(make_daemon):
    """R37: token, mail password and what a notification's URL holds are in no log, answer or database."""
    secrets = {name: f"S3CRET{name}x8485" for name in ("path", "query", "topic", "password", "beat", "user", "wrong")}
    daemon = make_daemon(start=False)
    daemon.pc.write("/home/fn/password", secrets["password"] + "\n", 0o600)
    notify = {
        "webhook_url": f"http://127.0.0.1:9/hook/{secrets['path']}?key={secrets['query']}",
        "ntfy_url": f"https://localhost:9/{secrets['topic']}",
        "smtp_url": "smtp://127.0.0.1:9",
        "mail_from": "a@example.org",
        "mail_to": "b@example.org",
        "smtp_user": secrets["user"],
        "smtp_password_file": "/home/fn/password",
        "heartbeat_url": f"http://127.0.0.1:9/{secrets['beat']}",
        "heartbeat_s": 10,
    }
    daemon.config(alert_after_s=0, notify=notify)
    daemon.start()
    secrets["token"] = token(daemon)
    daemon.wait_row("broken_api", actual="failed")
    wait_until(lambda: len(re.findall("notify: .*it is tried again", daemon.journal())) >= 3, 10)
    # a config that is refused is shown in the error: but not what may be a secret
    for url in (f"http://u:{secrets['wrong']}@h/", f"http://h/ {secrets['wrong']}"):
        daemon.config(alert_after_s=1, notify={**notify, "webhook_url": url})
        before = daemon.journal().count("not taken over")
        daemon.kill("HUP")
        wait_until(lambda: daemon.journal().count("not taken over") > before, 3)
    secrets["rotated"] = daemon.cli("token", "--rotate", "--show").stdout.strip()
    wait_until(lambda: "token has changed" in daemon.journal(), 2)

    told = [daemon.journal()]
    told += [daemon.cli(command, check=False).stdout for command in ("status", "alerts", "check-config", "token")]
    for route in ROUTES:
        status, reply = ask(daemon, route, "owner")
        assert status in (route[4], 403)
        told.append(reply.decode("latin-1"))
    stream = daemon.stream()
    stream.wait_for(lambda m: m["type"] == "snapshot")
    told.append(repr(stream.messages))
    daemon.stop()
    told.append(daemon.journal())
    told.append(daemon.pc.run("cat ~/.local/state/services_api/* | base64 -w0 | base64 -d | tr -c '[:print:]' '\\n'").stdout)
    assert "broken_api" in told[-1]
    found = {name for name, secret in secrets.items() for text in told if secret in text}
    assert not found
    assert "running" in told[1]


# ---- metrics -----------------------------------------------------------------------------------------------

FAMILIES = {
    "service_up": {"app", "pc"},
    "unit_active": {"app", "pc"},
    "port_listening": {"app", "pc"},
    "health_latency_seconds": {"app", "pc"},
    "service_restarts": {"app", "pc"},
    "service_transitions": {"app", "pc"},
    "pc_reachable": {"pc"},
    "cycle_lag_seconds": set(),
    "store_queue_bytes": set(),
    "notices_waiting": set(),
    "websocket_clients": set(),
}


def test_metrics_say_what_the_list_says(shared_daemon):
    """Read by Prometheus' own parser, and compared with GET /api/services."""
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    prefix = "services_monitor_"
    shared_daemon.wait_row("broken_api", actual="failed")
    wait_until(lambda: all(row["light"] != "unknown" for row in shared_daemon.rows().values()), 10)
    time.sleep(1.1)  # the body is held for a second
    reply = shared_daemon.http("/metrics")
    rows = shared_daemon.rows()
    assert reply.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert reply.text.endswith("# EOF\n")
    families = {f.name.removeprefix(prefix): f for f in text_string_to_metric_families(reply.text)}
    assert all(f.name.startswith(prefix) and f.documentation for f in families.values())
    for name, labels in FAMILIES.items():
        assert families[name].samples, name
        for sample in families[name].samples:
            assert set(sample.labels) - {"le"} == labels, sample
    assert families["health_latency_seconds"].type == "histogram"

    def values(family, suffix=""):
        name = prefix + family + suffix
        return {(s.labels["app"], s.labels["pc"]): s.value for s in families[family].samples if s.name == name}

    ups, ports, units = values("service_up"), values("port_listening"), values("unit_active")
    restarts, counts = values("service_restarts", "_total"), values("health_latency_seconds", "_count")
    assert set(ups) == {key for key, row in rows.items() if row["light"] != "unknown"}
    for key, row in rows.items():
        assert ups[key] == (row["light"] == "ok"), row
        assert key not in ports or ports[key] == row["port_listening"], row
        assert (key in ports) == (row["port_listening"] is not None), row
        assert restarts[key] == row["restarts"], row
        if key in units:
            assert units[key] == (row["systemd_state"] in ("active", "reloading")), row
    assert counts["sqlite_api", PC] >= 1
    pcs = {row["pc_id"]: row["reachable"] for row in shared_daemon.get("/api/pcs")}
    reachable = {s.labels["pc"]: s.value for s in families["pc_reachable"].samples}
    assert reachable[PC] == 1 and reachable == {pc: pcs[pc] for pc in reachable}
