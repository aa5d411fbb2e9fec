"""Acknowledge, silence, maintenance: who is left alone, for how long, and what is not lost meanwhile.

One long story, because each step needs the daemon that the steps before have made; the rules one by one are in
src/api/test-silence.c and src/api/test-incident-silence.c.
"""

import json
import random
import time

import pytest
from conftest import wait_until
from test_api import JSON, ask
from test_notify import Receivers

PC = "aurgi-pc"
CONFIG = {"alert_after_s": 0, "notify": {"webhook_url": "http://127.0.0.1:8901/hook"}}
STRANGER = 4711
ACK, LIST, ONE = "/api/alerts/{alert_id}/ack", "/api/silences", "/api/silences/{silence_id}"


@pytest.fixture
def sink(booted_lab):
    receivers = Receivers(booted_lab.pc, random.Random(1))
    receivers.manners = {"well": 1}
    yield receivers
    receivers.close()


def post(daemon, path, body, template=None, status=200, **kwargs):
    text = body if isinstance(body, str) else json.dumps(body)
    return ask(daemon, "POST", path, template, status, body=text, headers=JSON, **kwargs)


def alerts(daemon):
    return {alert["app_id"]: alert for alert in ask(daemon, "GET", "/api/alerts") if alert["pc_id"] == PC}


def wait_alert(daemon, app, match=lambda alert: alert["state"] == "open"):
    return wait_until(lambda: (a := alerts(daemon).get(app)) and match(a) and a, 10, 0.1, f"alert of {app}")


def opened(sink, app):
    return len(sink.incidents("opened").get(app, []))


def test_what_is_refused(shared_daemon):
    """Bad wishes change nothing; those of strangers are not even read."""
    good = {"kind": "silence", "app_id": "web_ui", "for_s": 60}
    bad = ["", "[]", "{", "null"]
    for change in (
        {"kind": "peace"}, {"kind": None}, {"app_id": None}, {"app_id": 7}, {"app_id": "x" * 65}, {"for_s": 0},
        {"for_s": -1}, {"for_s": 1.5}, {"for_s": "60"}, {"for_s": None}, {"for_s": 366 * 86400 + 1}, {"for_s": 1 << 60},
        {"until_ts": 1 << 50}, {"until_ts": 5, "for_s": None}, {"until_ts": 1 << 52, "for_s": None}, {"comment": "x" * 121},
        {"comment": []}, {"from_ts": 5}, {"from_ts": "now"}, {"from_ts": 1 << 52},
    ):  # fmt: skip
        bad.append({**good, **change})
    for body in bad:
        post(shared_daemon, LIST, body, status=400)
    for change in ({"app_id": "nobody"}, {"pc_id": "nowhere"}, {"app_id": None, "pc_id": "-rf"}, {"app_id": "../web_ui"}):
        post(shared_daemon, LIST, {**good, **change}, status=404)
    for path in ("/api/alerts/1/ack", "/api/alerts/0/ack", "/api/alerts/1x/ack", f"/api/alerts/{1 << 70}/ack"):
        post(shared_daemon, path, {"comment": "x"}, ACK, 404)
    post(shared_daemon, "/api/alerts/1/ack", {"comment": "x" * 121}, ACK, 400)
    for number in ("1", "0", "x", str(1 << 64)):
        ask(shared_daemon, "DELETE", f"{LIST}/{number}", ONE, 404)
    assert shared_daemon.http(LIST, method="DELETE").status == 405
    reply = shared_daemon.http(LIST, method="POST", body=json.dumps(good), headers=JSON, uid=STRANGER)
    assert reply.status == 401
    reply = shared_daemon.http(LIST, method="POST", body=json.dumps(good), headers={**JSON, "Origin": "http://evil.example"})
    assert reply.status == 403
    assert shared_daemon.http(LIST, method="POST", body=json.dumps(good)).status == 415
    assert ask(shared_daemon, "GET", LIST) == []
    for words in (
        ["silence", "--app", "web_ui"], ["silence", "--for", "1h"], ["maintenance", "--pc", PC, "--for", "1y"],
        ["ack", "x"], ["unsilence", "-1"],
    ):  # fmt: skip
        done = shared_daemon.cli(*words, check=False)
        assert done.returncode == 2 and done.stdout == "" and len(done.stderr.splitlines()) == 1, words
    done = shared_daemon.cli("silence", "--app", "nobody", "--for", "1h", check=False)
    assert done.returncode == 1 and "the registry has no such app" in done.stderr


def test_left_alone(make_daemon, sink):
    daemon = make_daemon(config=CONFIG)
    for app in ("sqlite_api", "web_ui", "auth_api", "queue_agent"):
        daemon.wait_row(app, light="ok")
    stream = daemon.stream()

    # begun by the command line, said by row, list and status
    daemon.cli("silence", "--app", "web_ui", "--for", "1h", "--comment", "new \033[31mdisk")
    daemon.cli("maintenance", "--app", "auth_api", "--pc", PC, "--for", "1h30m", "--comment", "new disk")
    began = time.monotonic()
    row = stream.wait_row("auth_api", light="ok", pc_id=PC)
    while "maintenance" not in row:
        row = stream.wait_row("auth_api", pc_id=PC)
    assert row["maintenance"]["comment"] == "new disk"
    quiet, works = ask(daemon, "GET", LIST)
    assert (quiet["kind"], quiet["app_id"], quiet["pc_id"], quiet["by"]) == ("silence", "web_ui", None, "local")
    assert quiet["comment"] == "new ?[31mdisk"
    assert works["until_ts"] - works["from_ts"] == 5400_000
    post(daemon, LIST, {"kind": "silence", "app_id": "queue_agent", "pc_id": PC, "for_s": 4}, status=201)

    # all four go down: one is told of, one is under maintenance, two are silenced
    for app in ("sqlite_api", "web_ui", "auth_api", "queue_agent"):
        daemon.pc.systemctl("stop", f"{app}.service")
    alert = wait_alert(daemon, "sqlite_api")
    assert alert["acked"] is None and alert["silenced"] is None
    assert wait_alert(daemon, "web_ui")["silenced"]["id"] == quiet["id"]
    wait_alert(daemon, "queue_agent")
    row = daemon.wait_row("auth_api", light="down")
    assert row["maintenance"]["until_ts"] == works["until_ts"]
    wait_until(lambda: opened(sink, "sqlite_api"), 10)

    # taken on
    post(daemon, f"/api/alerts/{alert['id']}/ack", {"comment": "on it"}, ACK)
    acked = stream.wait_for(lambda m: any(a["acked"] for a in m.get("alerts", [])))["alerts"][-1]["acked"]
    assert acked["by"] == "local" and acked["comment"] == "on it"
    text = daemon.cli("alerts", check=False).stdout
    assert f"{alert['id']}  sqlite_api on {PC}" in text and "(acknowledged by local: on it)" in text
    assert "(silenced until " in text and "auth_api" not in text
    assert "under maintenance until " in daemon.cli("status", check=False).stdout

    # the short one ends by itself, and what is still wrong is told then
    wait_until(lambda: opened(sink, "queue_agent"), 10)
    assert [s["id"] for s in ask(daemon, "GET", LIST)] == [quiet["id"], works["id"]]

    # all of it outlives the daemon
    daemon.kill()
    wait_until(lambda: not daemon.active(), 10)
    daemon.start()
    assert ask(daemon, "GET", LIST) == [quiet, works]
    again = wait_alert(daemon, "sqlite_api")
    assert (again["id"], again["acked"]) == (alert["id"], acked)
    assert wait_alert(daemon, "web_ui", lambda a: a["silenced"])["silenced"]["id"] == quiet["id"]
    assert daemon.wait_row("auth_api", light="down")["maintenance"]["comment"] == "new disk"

    # ended by hand
    assert opened(sink, "web_ui") == 0
    assert str(quiet["id"]) in daemon.cli("unsilence", str(quiet["id"])).stdout
    wait_until(lambda: opened(sink, "web_ui"), 10)
    assert ask(daemon, "GET", LIST) == [works]
    assert "maintenance  auth_api on aurgi-pc until " in daemon.cli("silences").stdout
    alone_s = time.monotonic() - began
    daemon.stop()
    assert {app: opened(sink, app) for app in ("sqlite_api", "web_ui", "auth_api", "queue_agent")} == {
        "sqlite_api": 1, "web_ui": 1, "auth_api": 0, "queue_agent": 1
    }  # fmt: skip
    assert not sink.wrong
    observed = {
        row["app_id"]: row["ms"]
        for row in daemon.sql("SELECT app_id, sum(observed_ms) AS ms FROM service_hour JOIN service ON id = service GROUP BY 1")
    }
    assert alone_s > 4
    assert observed["web_ui"] - observed["auth_api"] > (alone_s - 4) * 1000, observed
    (kept,) = daemon.sql(f"SELECT until_ts, made_by FROM silence WHERE id = {quiet['id']}")
    assert kept["until_ts"] < quiet["until_ts"] and kept["made_by"] == "local"
    assert daemon.sql("SELECT count(*) AS n FROM service_transition WHERE app_id = 'auth_api'")[0]["n"] > 0
