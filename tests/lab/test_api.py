"""The API: every route answers as data/openapi.yaml says, and the stream tells the same without gaps."""

import json
import time

import jsonschema
import pytest
import yaml
from conftest import SOURCE_ROOT, wait_until

PC = "aurgi-pc"
SERVICE = f"/api/services/sqlite_api/{PC}"
SPEC = yaml.safe_load((SOURCE_ROOT / "data" / "openapi.yaml").read_text())
JSON = {"Content-Type": "application/json"}


def validator(schema):
    """A schema of the OpenAPI file; its $refs are looked up in the file itself."""
    resolver = jsonschema.RefResolver("", SPEC)
    return jsonschema.Draft202012Validator(schema, resolver=resolver)


def resolve(node):
    while "$ref" in node:
        target = SPEC
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def check_reply(reply, method, template):
    """The answer is one that the OpenAPI file promises for this route."""
    responses = SPEC["paths"][template][method.lower()]["responses"]
    promised = resolve(responses.get(str(reply.status)) or responses["default"])
    for name, header in promised.get("headers", {}).items():
        validator(resolve(header)["schema"]).validate(reply.headers[name])
    assert "Access-Control-Allow-Origin" not in reply.headers
    content = promised.get("content")
    if not content:
        assert reply.body == b""
        return None
    kind = reply.headers["Content-Type"].split(";")[0]
    assert kind in content, (reply.status, kind)
    document = json.loads(reply.body.decode("utf-8", "strict"))
    validator(content[kind]["schema"]).validate(document)
    if kind == "application/problem+json":
        assert document["status"] == reply.status
    return document


def ask(daemon, method, path, template=None, status=200, **kwargs):
    reply = daemon.http(path, method=method, **kwargs)
    assert reply.status == status, (path, reply.status, reply.text)
    return check_reply(reply, method, template or path)


SERVICE_ROUTE = "/api/services/{app_id}/{pc_id}"


def test_the_validator_is_awake():
    with pytest.raises(jsonschema.ValidationError):
        validator({"$ref": "#/components/schemas/Service"}).validate({"app_id": "x"})
    row = {name: None for name in SPEC["components"]["schemas"]["ServiceRow"]["required"]}
    row.update(app_id="a", pc_id="b", expected="running", actual="running", light="ok")
    row.update(transitions_24h=0, restarts=0)
    validator({"$ref": "#/components/schemas/Service"}).validate(row)
    with pytest.raises(jsonschema.ValidationError):
        validator({"$ref": "#/components/schemas/Service"}).validate({**row, "surprise": 1})


# ---- REST --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize(
    "path", ["/api/services", "/api/pcs", "/api/transitions", "/api/alerts", "/api/health"]
)
def test_list_is_as_promised(shared_daemon, path, host):
    shared_daemon.wait_row("broken_api", actual="failed")
    document = ask(shared_daemon, "GET", path, host=host)
    if path == "/api/services":
        names = [(row["pc_id"], row["app_id"]) for row in document]
        assert names == sorted(names)
        assert len(document) == 11
    if path == "/api/pcs":
        assert [r["pc_id"] for r in document if r["is_self"]] == [PC]
        (me,) = [r for r in document if r["is_self"]]
        assert me["services"] == 11 and me["reachable"] and me["events"]
    if path == "/api/health":
        assert document["features"]["actions"] is False
        assert document["services"] == 11 and document["store"]["error"] is None


def test_detail_is_as_promised(shared_daemon):
    shared_daemon.wait_row("sqlite_api", actual="running")
    document = ask(shared_daemon, "GET", SERVICE, SERVICE_ROUTE)
    assert document["facts"]["unit"]["name"] == "sqlite_api.service"
    assert document["facts"]["port"]["number"] == 8401
    assert any("labsvc: up port=8401" in line["message"] for line in document["journal"])
    for app, _ in shared_daemon.rows():
        ask(shared_daemon, "GET", f"/api/services/{app}/{PC}", SERVICE_ROUTE)


def test_detail_obeys_its_limits(daemon):
    daemon.wait_row("sqlite_api", actual="running")
    time.sleep(4)  # the first booking; transitions take it to the disk
    for i in range(3):
        daemon.pc.kill("sqlite_api.service")
        daemon.wait_row("sqlite_api", actual="running", restarts=i + 1)
    for _ in range(4):
        ask(daemon, "POST", SERVICE + "/check", SERVICE_ROUTE + "/check", body="{}", headers=JSON)
    wait_until(lambda: len(daemon.get(SERVICE + "?points=100")["latency"]) >= 1, 10)
    document = wait_until(lambda: (d := daemon.get(SERVICE)) and d["hours"] and d, 10, 0.2)
    check_reply(daemon.http(SERVICE), "GET", SERVICE_ROUTE)
    assert len(document["transitions"]) == 6
    ids = [row["id"] for row in document["transitions"]]
    assert ids == sorted(ids, reverse=True)
    assert sum(hour["transitions"] for hour in document["hours"]) <= 6
    assert all(0 <= hour["healthy_ratio"] <= 1 for hour in document["hours"])
    few = ask(daemon, "GET", SERVICE + "?transitions=1&hours=0&points=1&journal=2", SERVICE_ROUTE)
    assert [row["id"] for row in few["transitions"]] == ids[:1]
    assert few["hours"] == [] and len(few["latency"]) <= 1 and len(few["journal"]) == 2
    none = ask(daemon, "GET", SERVICE + "?transitions=0&hours=0&points=0&journal=0", SERVICE_ROUTE)
    assert none["transitions"] == none["hours"] == none["latency"] == [] and "journal" not in none


def test_transitions_since_and_limit(daemon):
    daemon.wait_row("auth_api", actual="running")
    begin = int(time.time() * 1000)
    for i in range(3):
        daemon.pc.kill("auth_api.service")
        daemon.wait_row("auth_api", actual="running", restarts=i + 1)

    def of_auth(query):
        rows = ask(daemon, "GET", "/api/transitions" + query, "/api/transitions")
        return [row for row in rows if row["app_id"] == "auth_api"]

    rows = wait_until(lambda: len(r := of_auth(f"?since={begin - 1}")) == 6 and r, 5)
    stamps = [row["ts"] for row in rows]
    assert stamps == sorted(stamps, reverse=True)
    later = [row["id"] for row in of_auth(f"?since={stamps[2]}")]  # their evidence may have grown
    assert later == [row["id"] for row in rows if row["ts"] > stamps[2]]
    newest = ask(daemon, "GET", "/api/transitions?limit=2", "/api/transitions")
    assert len(newest) == 2
    assert ask(daemon, "GET", f"/api/transitions?since={2**53}", "/api/transitions") == []


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=-1", "limit=10001", "limit=x", "limit=", "since=-1", "since=1e9", f"since={10**20}"],
)
def test_bad_query_is_refused(shared_daemon, query):
    ask(shared_daemon, "GET", "/api/transitions?" + query, "/api/transitions", status=400)


@pytest.mark.parametrize(
    "query", ["transitions=10001", "hours=-1", "points=2001", "journal=1001", "journal=all"]
)
def test_bad_query_of_detail_is_refused(shared_daemon, query):
    ask(shared_daemon, "GET", f"{SERVICE}?{query}", SERVICE_ROUTE, status=400)


def test_check_looks_now(shared_daemon):
    shared_daemon.wait_row("sqlite_api", actual="running")
    before = int(time.time() * 1000)
    row = ask(shared_daemon, "POST", SERVICE + "/check", SERVICE_ROUTE + "/check", body="{}", headers=JSON)
    assert row["app_id"] == "sqlite_api" and row["last_check_ts"] >= before
    assert shared_daemon.row("sqlite_api")["last_check_ts"] >= before
    for app in ("queue_agent", "report_once", "backup_job", "broken_api", "hang_api"):
        before = int(time.time() * 1000)
        path = f"/api/services/{app}/{PC}/check"
        row = ask(shared_daemon, "POST", path, SERVICE_ROUTE + "/check", body="", headers=JSON)
        assert row["last_check_ts"] >= before, app


def test_check_tells_of_a_change_at_once(daemon):
    daemon.wait_row("queue_agent", actual="running")
    daemon.pc.systemctl("stop", "queue_agent.service")
    path = f"/api/services/queue_agent/{PC}/check"
    row = ask(daemon, "POST", path, SERVICE_ROUTE + "/check", body="{}", headers=JSON)
    assert row["actual"] == "inactive"


def test_too_many_checks_are_refused(make_daemon):
    daemon = make_daemon()
    daemon.wait_row("sqlite_api", actual="running")
    path = f"/api/services/report_once/{PC}/check"
    seen = {daemon.http(path, method="POST", body="{}", headers=JSON).status for _ in range(110)}
    assert seen == {200, 429}
    reply = daemon.http(path, method="POST", body="{}", headers=JSON)
    assert reply.status == 429
    check_reply(reply, "POST", SERVICE_ROUTE + "/check")


@pytest.mark.parametrize("action", ["start", "stop", "restart"])
def test_action_is_forbidden(shared_daemon, action):
    body = json.dumps({"action": action})
    document = ask(
        shared_daemon, "POST", SERVICE + "/action", SERVICE_ROUTE + "/action", 403, body=body, headers=JSON
    )
    assert "features.actions" in document["detail"]
    assert shared_daemon.pc.systemctl("is-active", "sqlite_api.service") == "active"


def test_etag(shared_daemon):
    for path in ("/api/services", "/api/pcs"):

        def same(path=path):
            first = shared_daemon.http(path)
            tag = first.headers["ETag"]
            again = shared_daemon.http(path, headers={"If-None-Match": tag})
            return again.status == 304 and (first, again)

        first, again = wait_until(same, 5)  # nothing happened between the two
        assert again.body == b""
        check_reply(first, "GET", path)
        check_reply(again, "GET", path)
        assert shared_daemon.http(path, headers={"If-None-Match": '"00000000-0"'}).status == 200


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/", 404),
        ("GET", "/api", 404),
        ("GET", "/api/services/", 404),
        ("GET", "/api/nothing", 404),
        ("GET", "/api/services/nobody/aurgi-pc", 404),
        ("GET", "/api/services/sqlite_api/nowhere", 404),
        ("GET", "/api/services/sqlite_api", 404),
        ("GET", SERVICE + "/more", 404),
        ("POST", "/api/services/nobody/aurgi-pc/check", 404),
        ("POST", "/api/services", 405),
        ("PUT", "/api/health", 405),
        ("DELETE", SERVICE, 405),
        ("GET", SERVICE + "/check", 405),
        ("OPTIONS", "/api/services", 405),
        ("GET", "/api/services/..%2f..%2fetc/aurgi-pc", 400),
        ("GET", "/api/services/../health", 400),
        ("GET", "//api/health", 400),
        ("GET", "/api/services/sqlite_api/%61urgi-pc", 400),
        ("GET", "/api/ws/services", 426),
    ],
)
def test_wrong_requests_get_a_problem(shared_daemon, method, path, status):
    body = "{}" if method == "POST" else None
    reply = shared_daemon.http(path, method=method, body=body, headers=JSON if body else None)
    assert reply.status == status, reply.text
    assert reply.headers["Content-Type"].startswith("application/problem+json")
    problem = reply.json()
    validator({"$ref": "#/components/schemas/Problem"}).validate(problem)
    assert problem["status"] == status
    if status == 405:
        assert reply.headers["Allow"]


@pytest.mark.parametrize(
    "headers, body, status",
    [
        ({"Content-Type": "text/plain"}, "{}", 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "a=b", 415),
        ({}, "{}", 415),
        (JSON, "x" * (64 * 1024 + 1), 413),
    ],
)
def test_wrong_bodies_are_refused(shared_daemon, headers, body, status):
    reply = shared_daemon.http(SERVICE + "/check", method="POST", body=body, headers=headers)
    assert reply.status == status
    check_reply(reply, "POST", SERVICE_ROUTE + "/check")


def test_head_is_get_without_a_body(shared_daemon):
    reply = shared_daemon.http("/api/health", method="HEAD")
    assert reply.status in (200, 405) and reply.body == b""


def test_every_route_of_the_file_is_there(shared_daemon):
    """Nothing is promised that does not exist, but what is marked x-planned."""
    for template, item in SPEC["paths"].items():
        for method, operation in item.items():
            if method not in ("get", "post", "delete") or operation.get("x-planned"):
                continue
            path = template.replace("{app_id}", "sqlite_api").replace("{pc_id}", PC)
            path = path.replace("{alert_id}", "1").replace("{silence_id}", "1")
            body = "{}" if method == "post" else None
            reply = shared_daemon.http(path, method=method.upper(), body=body, headers=JSON if body else None)
            assert reply.status != 405 and "There is nothing at this path" not in reply.text, (method, template)


def test_keep_alive_and_pipelining(shared_daemon):
    sock = shared_daemon.pc.connect(8485)
    request = b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    sock.sendall(request * 5)
    got = b""
    while got.count(b"HTTP/1.1 200") < 5:
        data = sock.recv(65536)
        assert data
        got += data
    sock.close()


# ---- WebSocket ---------------------------------------------------------------------------------------------


class World:
    """What a client knows who reads the stream alone (docs/protocol.md)."""

    def __init__(self):
        self.services, self.pcs = {}, {}
        self.seq = self.stream = None

    def apply(self, message):
        if message["type"] == "hello":
            self.stream = message["stream"]
            return
        if message["type"] == "snapshot":
            self.services, self.pcs = {}, {}
        else:
            assert message["type"] == "delta"
            assert message["seq"] == self.seq + 1, "a gap"
        self.seq = message["seq"]
        for row in message["services"]:
            self.services[(row["app_id"], row["pc_id"])] = row
        for row in message["pcs"]:
            self.pcs[row["pc_id"]] = row
        for app, pc, ts, latency in message.get("checks", []):
            row = self.services[(app, pc)]
            row["last_check_ts"], row["latency_ms"] = ts, latency
            if row["light"] == "ok":
                row["last_healthy_ts"] = ts
        for app, pc in message.get("removed", []):
            if app is None:
                self.pcs.pop(pc, None)
                self.services = {key: row for key, row in self.services.items() if key[1] != pc}
            else:
                self.services.pop((app, pc), None)


def follow(world, stream, seconds=0.0):
    for message in stream.read_for(max(seconds, 0.01)):
        world.apply(message)


def comparable(rows, without):
    return [{k: v for k, v in row.items() if k not in without} for row in rows]


def differences(world, daemon):
    """[] when the client's picture is that of REST."""
    rows = daemon.get("/api/services")
    mine = [world.services.get((row["app_id"], row["pc_id"]), {}) for row in rows]
    found = [(a, b) for a, b in zip(comparable(mine, ()), comparable(rows, ())) if a != b]
    if len(rows) != len(world.services):
        found.append((sorted(world.services), "number of rows"))
    pcs = daemon.get("/api/pcs")
    fast = ("last_check_ts", "lag_ms")
    mine = comparable([world.pcs.get(row["pc_id"], {}) for row in pcs], fast)
    found += [(a, b) for a, b in zip(mine, comparable(pcs, fast)) if a != b]
    return found


def settle(world, stream, daemon, timeout=6):
    last = []

    def check():
        follow(world, stream, 0.1)
        last[:] = differences(world, daemon)
        follow(world, stream)
        return not last

    try:
        wait_until(check, timeout, 0)
    except AssertionError:
        raise AssertionError(f"stream and REST disagree: {last}") from None


def test_hello_and_snapshot(shared_daemon):
    shared_daemon.wait_row("sqlite_api", actual="running")
    stream = shared_daemon.stream()
    hello = stream.next()
    assert hello["type"] == "hello" and hello["protocol"] == 1
    assert hello["stream"] == shared_daemon.get("/api/health")["stream"]
    assert hello["features"]["actions"] is False
    snapshot = stream.next()
    assert snapshot["type"] == "snapshot" and snapshot["seq"] == hello["seq"]
    service, pc = (validator({"$ref": f"#/components/schemas/{name}"}) for name in ("Service", "Pc"))
    assert len(snapshot["services"]) == 11
    for row in snapshot["services"]:
        service.validate(row)
    for row in snapshot["pcs"]:
        pc.validate(row)


def test_picture_of_the_stream_is_that_of_rest(make_daemon):
    daemon = make_daemon(args=["--interval-ms", "1000"])
    stream, world = daemon.stream(), World()
    follow(world, stream, 1)
    pc = daemon.pc
    for step in range(3):
        pc.kill("auth_api.service")
        pc.systemctl("stop", "queue_agent.service")
        pc.mode(8402, ["fail", "hang", "reset"][step])
        follow(world, stream, 0.5)
        pc.systemctl("start", "queue_agent.service")
        pc.mode(8402, None)
        pc.kill("sqlite_api.service")
        follow(world, stream, 0.5)
    settle(world, stream, daemon)
    service = validator({"$ref": "#/components/schemas/Service"})
    transition = validator({"$ref": "#/components/schemas/Transition"})
    for _, message in stream.messages:
        for row in message.get("services", []):
            service.validate(row)
        for row in message.get("transitions", []):
            transition.validate(row)
    # and every transition that was told is in the history, once
    told = [t["id"] for _, m in stream.messages for t in m.get("transitions", []) if not t.get("update")]
    assert len(told) == len(set(told)) > 10
    stored = {row["id"] for row in daemon.get("/api/transitions?limit=10000")}
    assert set(told) <= stored


def test_resume_gives_exactly_what_was_missed(daemon):
    first = daemon.stream()
    hello, snapshot = first.next(), first.next()
    daemon.wait_row("auth_api", actual="running")
    for i in range(3):
        daemon.pc.kill("auth_api.service")
        daemon.wait_row("auth_api", actual="running", restarts=i + 1)
    first.read_for(0.5)
    deltas = [m for _, m in first.messages if m["type"] == "delta"]
    assert [m["seq"] for m in deltas] == list(range(snapshot["seq"] + 1, snapshot["seq"] + 1 + len(deltas)))
    for left in (0, 1, len(deltas) // 2):
        since = deltas[left]["seq"]
        second = daemon.stream(f"/api/ws/services?stream={hello['stream']}&since={since}")
        again = second.next()
        assert again["type"] == "hello" and again["stream"] == hello["stream"]
        missed = [second.next() for _ in deltas[left + 1 :]]
        assert missed == deltas[left + 1 :]
    daemon.pc.kill("auth_api.service")  # and it goes on where the others are
    assert second.wait_row("auth_api", actual="failed")
    seqs = [m["seq"] for _, m in second.messages if m["type"] == "delta"]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


@pytest.mark.parametrize(
    "query",
    [
        "stream=0000000000000000&since=0",
        "stream={stream}&since=999999999",
        "stream={stream}&since=",
        "stream={stream}&since=-1",
        "stream={stream}&since=x",
        "stream={stream}",
        "since=1",
        "stream=&since=1",
        "stream={stream}{stream}&since=1",
        "x=y",
    ],
)
def test_resume_that_cannot_be_gets_a_snapshot(shared_daemon, query):
    name = shared_daemon.get("/api/health")["stream"]
    stream = shared_daemon.stream("/api/ws/services?" + query.format(stream=name))
    assert stream.next()["type"] == "hello"
    assert stream.next()["type"] == "snapshot"


def test_stream_of_a_new_life_is_another(daemon):
    old = daemon.stream().next()["stream"]
    daemon.restart()
    stream = daemon.stream(f"/api/ws/services?stream={old}&since=0")
    assert stream.next()["stream"] != old
    assert stream.next()["type"] == "snapshot"


def test_stop_says_goodbye(daemon):
    stream = daemon.stream()
    stream.next()
    daemon.pc.systemctl("stop", "--no-block", daemon.unit)
    wait_until(lambda: stream.read_for(0.1) is None or stream.close_code, 5)
    assert stream.close_code == 1001


def test_registry_changes_reach_the_stream(daemon):
    import test_daemon  # pylint: disable=import-outside-toplevel

    stream, world = daemon.stream(), World()
    follow(world, stream, 1)
    daemon.registry(test_daemon.registry_with({"app_id": "more", "port": 8401}, without=["web_ui"]))
    follow(world, stream, 1)
    smaller = test_daemon.registry_with(without=["auth_api"])
    smaller["pcs"] = smaller["pcs"][:2]
    daemon.registry(smaller)
    follow(world, stream, 1)
    settle(world, stream, daemon)
    assert ("auth_api", PC) not in world.services and ("web_ui", PC) in world.services
    assert "organic-machine.com" not in world.pcs


def test_many_clients_see_the_same(daemon):
    streams = [daemon.stream() for _ in range(30)]
    for stream in streams:
        stream.wait_for(lambda m: m["type"] == "snapshot")
    daemon.pc.kill("sqlite_api.service")
    rows = [stream.wait_row("sqlite_api", actual="failed") for stream in streams]
    assert all(row == rows[0] for row in rows)
    assert daemon.get("/api/health")["clients"] == 30
    for stream in streams:
        stream.close()
    wait_until(lambda: daemon.get("/api/health")["clients"] == 0, 5)
