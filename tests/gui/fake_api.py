#!/usr/bin/env python3
"""A daemon that never was: serves a made-up but deterministic world in the wire format of docs/protocol.md.

For edge scenes that a real daemon cannot be brought into on demand: 100 x 100 cells, 10,000 rows, hostile texts, a daemon
that hangs or dies at a given second. Plain sockets, one thread per connection, nothing but Python's standard library.

Prints "port N" when it listens. Events (--event SECONDS:WORD[:APP:PC]) count from the first WebSocket connection:
  down, up, degrade  a service changes, with its transition
  cut, heal          a PC becomes unreachable / reachable again (APP is ignored)
  alert, close       an alert opens / closes for a service
  flood              100 transitions in one delta
  hang               says nothing any more, pings included
  go-on              ends the hang
  die                closes every connection and the port; with "rise" it comes back
  rise
"""
import argparse
import base64
import hashlib
import json
import os
import random
import socket
import struct
import sys
import threading
import time
from urllib.parse import parse_qs, urlsplit

PCS = ["aurgi-pc", "home-wsl", "organic-machine.com"]
APPS = ["sqlite_api", "web_ui", "auth_api", "queue_agent", "echo_socket", "backup_job", "report_once", "broken_api",
        "hang_api", "stolen_port", "services_api"]
TITLES = ["Query API", "Web pages", "Login API", "Queue worker", "Echo service", "Backup", "Start report",
          "API that cannot start", "API that hangs", "API without its port", "Services monitor"]
HOSTILE = "<b>\u202eevil\u202c</b> \x1b[31mred\x1b[0m %s%n%n ###id \ufffe \u6f22\u5b57 \U0001F600 " + "long " * 40
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def row(app, pc, title, now, i, rnd):
    age = HOUR * (3 + rnd.randrange(150)) + rnd.randrange(HOUR)
    return {"app_id": app, "pc_id": pc, "title": title, "tag": "api", "expected": "running", "actual": "running", "light": "ok",
            "cause": None, "sentence": None, "port": 8401 + i % 1000, "systemd_state": "active", "port_listening": True,
            "http_status": 200, "latency_ms": round(0.4 + rnd.random() * 6, 3), "since_ts": now - age, "last_check_ts": now - 4000,
            "last_healthy_ts": now - 4000, "transitions_24h": rnd.randrange(3), "restarts": 0}


BAD = {
    "down": ("failed", "down", "exit-code", "exit code 1 after 3 restarts"),
    "up": ("running", "ok", None, None),
    "degrade": ("degraded", "warn", "http-timeout", "/health gives no answer within 2000 ms"),
    "unreachable": ("unreachable", "unknown", "bus-silent", "the PC does not answer (frozen, suspended or cut off)"),
    "starting": ("starting", "warn", "starting", "it is starting"),
    "stolen": ("degraded", "warn", "port-foreign", "port 8410 is held by pid 812 (python3)"),
}


class World:
    def __init__(self, args):
        self.args = args
        self.fixed = args.now
        self.rnd = random.Random(7)
        self.lock = threading.RLock()
        self.seq, self.next_id = 100, 1_000_000
        self.stream = "0f1e2d3c4b5a6978"
        self.services, self.pcs, self.transitions, self.alerts = {}, {}, [], {}
        self.silences, self.next_silence = [], 500
        self.clients = []
        now = self.now()
        n_pcs, n_apps = {"small": (3, 11), "grid": (100, 100), "one": (1, 11), "empty": (0, 0), "calm": (3, 11)}[args.world]
        pcs = (PCS + [f"node-{i:03d}" for i in range(3, n_pcs)])[:n_pcs]
        apps = (APPS + [f"service-{i:02d}" for i in range(11, n_apps)])[:n_apps]
        for k, pc in enumerate(pcs):
            self.pcs[pc] = {"pc_id": pc, "is_self": k == 0, "reachable": True, "lag_ms": 0.13 + 1.4 * (k > 0),
                            "version_uname": "Linux 6.1.0-28-amd64 x86_64", "cause": None, "sentence": None,
                            "since_ts": now - 3 * DAY - k * HOUR, "events": k != 2, "skew_ms": 0 if k < 2 else -3200,
                            "last_check_ts": now - 4000, "services": n_apps, "may_sleep": k == 1}
            for i, app in enumerate(apps):
                if n_pcs <= 3 and app == "services_api" and k > 0:
                    continue
                title = TITLES[i] if i < len(TITLES) else ""
                self.services[(pc, app)] = row(app, pc, title, now, i, self.rnd)
        if args.world == "small":
            self.trouble(now)
        elif args.world == "grid":
            self.grid_trouble()
        if args.hostile:
            for r in self.services.values():
                r["title"] = HOSTILE[:100]
                if r["light"] != "ok":
                    r["sentence"] = HOSTILE
            for p in self.pcs.values():
                p["version_uname"] = HOSTILE[:140]

    def now(self):
        return self.fixed or int(time.time() * 1000)

    def trouble(self, now):
        def put(app, pc, word, ago):
            self.turn(self.services[(pc, app)], word)
            self.services[(pc, app)]["since_ts"] = now - ago
        put("broken_api", "aurgi-pc", "down", 17 * MINUTE)
        put("hang_api", "aurgi-pc", "degrade", 38 * MINUTE)
        put("stolen_port", "home-wsl", "stolen", 3 * HOUR)
        put("report_once", "home-wsl", "starting", 25_000)
        del self.services[("home-wsl", "echo_socket")]
        del self.services[("organic-machine.com", "broken_api")]
        off = self.services[("organic-machine.com", "queue_agent")]
        off.update(expected="stopped", actual="inactive", systemd_state="inactive", port_listening=False, http_status=None, latency_ms=None)
        self.services[("organic-machine.com", "web_ui")]["hints"] = ["not-enabled"]
        self.services[("aurgi-pc", "backup_job")].update(port=None, port_listening=None, http_status=None, latency_ms=None)
        for i in range(60):
            pc, app = sorted(self.services)[self.rnd.randrange(len(self.services))]
            t = now - i * 37 * MINUTE - self.rnd.randrange(MINUTE)
            self.transitions.append(self.transition(app, pc, *(("running", "failed") if i % 2 else ("failed", "running")), t))
        self.transitions.append({"id": 77, "ts": now - 9 * HOUR, "app_id": None, "pc_id": "home-wsl", "from": "running",
                                 "to": "unreachable", "cause": "bus-silent", "sentence": BAD["unreachable"][3]})
        self.alerts["1"] = {"id": "1", "kind": "service", "app_id": "broken_api", "pc_id": "aurgi-pc", "opened_ts": now - 12 * MINUTE,
                            "closed_ts": None, "state": "open", "cause": "exit-code", "sentence": "exit code 1 after 3 restarts",
                            "behind": [["broken_api", "aurgi-pc"]], "acked": None}
        self.alerts["2"] = {"id": "2", "kind": "pc", "app_id": None, "pc_id": "home-wsl", "opened_ts": now - 9 * HOUR,
                            "closed_ts": now - 8 * HOUR, "state": "closed", "cause": "bus-silent", "sentence": BAD["unreachable"][3],
                            "behind": [[a, "home-wsl"] for a in APPS[:9]], "acked": None}

    def grid_trouble(self):
        for key in sorted(self.services):
            k = self.rnd.randrange(100)
            if k > 97:
                del self.services[key]
            elif k > 88:
                self.turn(self.services[key], ["down", "degrade", "starting", "unreachable"][k % 4])

    def transition(self, app, pc, before, after, ts, evidence=True):
        self.next_id += 1
        t = {"id": self.next_id, "ts": ts, "app_id": app, "pc_id": pc, "from": before, "to": after,
             "cause": "signal" if after == "failed" else None, "sentence": "killed by SIGKILL" if after == "failed" else None}
        if evidence and after == "failed":
            t["evidence"] = {"signal": "KILL", "result": "signal", "invocation_id": "9f0c" * 8,
                             "journal": [{"ts": ts - 900, "priority": 3, "message": f"{app}: database is locked"},
                                         {"ts": ts, "priority": 4, "message": "Main process exited, code=killed, status=9/KILL"}]}
        return t

    def turn(self, r, word):
        actual, light, cause, sentence = BAD[word]
        r.update(actual=actual, light=light, cause=cause, sentence=sentence)
        r["systemd_state"] = "failed" if word == "down" else "active"
        if word in ("down", "degrade", "unreachable"):
            r.update(http_status=None, latency_ms=None)
        if word == "up":
            r.update(http_status=200, latency_ms=1.25)

    # ---- events ----
    def event(self, word, app, pc):
        with self.lock:
            now = self.now()
            delta = {"pcs": [], "services": [], "checks": [], "removed": [], "transitions": [], "alerts": []}
            if word in ("down", "up", "degrade"):
                r = self.services[(pc, app)]
                before = r["actual"]
                self.turn(r, word)
                r.update(since_ts=now, last_check_ts=now)
                t = self.transition(app, pc, before, r["actual"], now)
                self.transitions.insert(0, t)
                delta["services"].append(r)
                delta["transitions"].append(t)
            elif word in ("cut", "heal"):
                p = self.pcs[pc]
                p.update(reachable=word == "heal", cause=None if word == "heal" else "bus-silent",
                         sentence=None if word == "heal" else BAD["unreachable"][3], since_ts=now)
                delta["pcs"].append(p)
                for (q, _), r in self.services.items():
                    if q == pc:
                        self.turn(r, "up" if word == "heal" else "unreachable")
                        delta["services"].append(r)
                t = {"id": self.next_id + 500_000, "ts": now, "app_id": None, "pc_id": pc,
                     "from": "unreachable" if word == "heal" else "running", "to": "running" if word == "heal" else "unreachable",
                     "cause": p["cause"], "sentence": p["sentence"]}
                self.next_id += 1
                delta["transitions"].append(t)
                self.alerts["9"] = {"id": "9", "kind": "pc", "app_id": None, "pc_id": pc, "opened_ts": now,
                                    "closed_ts": now if word == "heal" else None, "state": "closed" if word == "heal" else "open",
                                    "cause": "bus-silent", "sentence": BAD["unreachable"][3],
                                    "behind": [[a, q] for (q, a) in self.services if q == pc], "acked": None}
                delta["alerts"].append(self.alerts["9"])
            elif word in ("alert", "close"):
                self.alerts["5"] = {"id": "5", "kind": "service", "app_id": app, "pc_id": pc, "opened_ts": now,
                                    "closed_ts": now if word == "close" else None, "state": "closed" if word == "close" else "open",
                                    "cause": "exit-code", "sentence": "exit code 1", "behind": [], "acked": None}
                delta["alerts"].append(self.alerts["5"])
            elif word == "flood":
                for i in range(100):
                    delta["transitions"].append(self.transition(APPS[i % 10], PCS[0], "running", "degraded", now + i))
            elif word in ("hang", "go-on"):
                self.args.hung = word == "hang"
                return
            elif word in ("die", "rise"):
                self.args.dead = word == "die"
                for c in list(self.clients):
                    c.shutdown(socket.SHUT_RDWR)
                return
            self.seq += 1
            self.send_all({"type": "delta", "seq": self.seq, "ts": now, **delta})

    def check_all(self):
        with self.lock:
            now = self.now()
            self.seq += 1
            checks = [[a, p, now, r["latency_ms"]] for (p, a), r in self.services.items() if r["light"] != "unknown"]
            for r in self.services.values():
                r["last_check_ts"] = now
            self.send_all({"type": "delta", "seq": self.seq, "ts": now, "checks": checks})

    def send_all(self, message):
        data = frame(1, json.dumps(message).encode())
        for c in list(self.clients):
            self.send_raw(c, data)

    def send_raw(self, client, data):
        if self.args.hung:
            return
        try:
            client.sendall(data)
        except OSError:
            if client in self.clients:
                self.clients.remove(client)

    # ---- REST ----
    def detail(self, app, pc):
        r = dict(self.services[(pc, app)])
        now = self.now()
        rnd = random.Random(app + pc)
        hours, bad = [], 0
        start = now - now % HOUR - 167 * HOUR
        for h in range(168):
            bad = rnd.randrange(1, 4) if rnd.randrange(100) < 4 else max(bad - 1, 0)
            ratio = None if 40 <= h < 47 else round(1 - bad * rnd.random() * 0.3, 4)
            if r["light"] == "down" and h > 165:
                ratio = 0.2 if h == 166 else 0.0
            hours.append({"hour": start + h * HOUR, "healthy_ratio": ratio, "transitions": bad,
                          "observed_ms": 0 if ratio is None else HOUR})
        latency = [[now - (720 - i) * 10_000, None if 300 <= i < 308 else round(1.1 + rnd.random() * 2.4 + (i % 97 == 0) * 40, 3)]
                   for i in range(720)] if r["port"] else []
        words = [("running", "failed"), ("failed", "running")]
        seen = [self.transition(app, pc, *words[i % 2], now - (i * i + 1) * 23 * MINUTE) for i in range(20)]
        if r["light"] == "ok":
            seen = seen[1:]
        messages = ["listening on 127.0.0.1:%s" % r["port"], "GET /health 200", "slow query: 412 ms", "database is locked", "retrying in 2 s"]
        journal = [{"ts": now - (60 - i) * 7000, "priority": [6, 6, 4, 3, 5][i % 5],
                    "message": HOSTILE if self.args.hostile and i % 3 == 0 else messages[i % 5]} for i in range(60)]
        r.update(facts={"unit": {"name": app + ".service", "load": "loaded", "active": r["systemd_state"], "main_pid": 4711}},
                 transitions=seen, hours=hours, latency=latency, journal=journal)
        return r

    # ---- actions: what each answers ----
    def action(self, key, verb):
        if not self.args.actions:
            return 403, {"title": "Forbidden", "status": 403, "detail": "actions are switched off"}
        unit = key[1] + ".service"
        if verb == "stop":
            return 502, {"title": "The action failed", "status": 502,
                         "detail": f"stop of {unit} on {key[0]} failed: it failed: exit code 3"}
        outcome = "requested" if verb == "start" else "done"
        return 202 if verb == "start" else 200, {**self.services[key], "action": {
            "id": 7, "action": verb, "unit": unit, "outcome": outcome, "sentence": None, "requested_ts": self.now(),
            "ended_ts": None}}

    # ---- acknowledge, silence, maintenance ----
    def ack(self, alert_id, comment):
        alert = self.alerts.get(alert_id)
        if not alert or alert["state"] == "closed":
            return 404, {"title": "Not found", "status": 404, "detail": "no alert that is open or pending has this id"}
        alert["acked"] = {"ts": self.now(), "by": "local", "comment": comment}
        self.tell(alerts=[alert])
        return 200, alert

    def silence(self, wish):
        self.next_silence += 1
        now = self.now()
        s = {"id": self.next_silence, "kind": wish["kind"], "app_id": wish.get("app_id"), "pc_id": wish.get("pc_id"), "from_ts": now,
             "until_ts": now + 1000 * wish["for_s"], "comment": wish.get("comment", ""), "by": "local", "created_ts": now}
        self.silences.append(s)
        self.cover()
        return 201, s

    def unsilence(self, silence_id):
        gone = [s for s in self.silences if s["id"] == silence_id]
        if not gone:
            return 404, {"title": "Not found", "status": 404, "detail": "no silence that is in force or still to come has this id"}
        self.silences.remove(gone[0])
        self.cover()
        return 200, {**gone[0], "until_ts": self.now()}

    def covered(self, kind, app, pc):
        for s in self.silences:
            if s["kind"] == kind and s["app_id"] in (None, app) and s["pc_id"] in (None, pc):
                return s
        return None

    def cover(self):
        for alert in self.alerts.values():
            s = self.covered("silence", alert["app_id"], alert["pc_id"])
            alert["silenced"] = s and {"id": s["id"], "until_ts": s["until_ts"], "comment": s["comment"]}
        for (pc, app), row_ in self.services.items():
            s = self.covered("maintenance", app, pc)
            row_.pop("maintenance", None)
            if s:
                row_["maintenance"] = {"until_ts": s["until_ts"], "comment": s["comment"]}
        self.tell(alerts=list(self.alerts.values()), services=list(self.services.values()))

    def tell(self, **news):
        self.seq += 1
        self.send_all({"type": "delta", "seq": self.seq, "ts": self.now(), **news})

    def rest(self, method, target, body=b""):
        url = urlsplit(target)
        path, query = url.path, parse_qs(url.query)
        parts = path.strip("/").split("/")
        with self.lock:
            if path == "/api/services":
                return 200, list(self.services.values())
            if path == "/api/pcs":
                return 200, list(self.pcs.values())
            if path == "/api/alerts":
                return 200, list(self.alerts.values())
            if parts[:2] == ["api", "alerts"] and parts[3:] == ["ack"] and method == "POST":
                return self.ack(parts[2], json.loads(body)["comment"])
            if path == "/api/silences":
                return self.silence(json.loads(body)) if method == "POST" else (200, self.silences)
            if parts[:2] == ["api", "silences"] and method == "DELETE":
                return self.unsilence(int(parts[2]))
            if path == "/api/transitions":
                ordered = sorted(self.transitions, key=lambda t: -t["ts"])
                return 200, ordered[: int(query.get("limit", ["100"])[0])]
            if parts[:2] == ["api", "services"] and len(parts) >= 4 and (parts[3], parts[2]) in self.services:
                key = (parts[3], parts[2])
                if len(parts) == 4:
                    return 200, self.detail(parts[2], parts[3])
                if method == "POST" and parts[4] == "check":
                    self.services[key]["last_check_ts"] = self.now()
                    return 200, self.services[key]
                if method == "POST" and parts[4] == "action":
                    return self.action(key, json.loads(body)["action"])
        return 404, {"title": "Not Found", "status": 404, "detail": "there is no " + path}


# run.py writes the token where the window looks for it
ACTION_HEADERS = ("Bearer a-token-of-the-tests", "application/json")


def frame(opcode, payload):
    n = len(payload)
    head = bytes([0x80 | opcode])
    if n < 126:
        return head + bytes([n]) + payload
    if n < 65536:
        return head + b"\x7e" + struct.pack(">H", n) + payload
    return head + b"\x7f" + struct.pack(">Q", n) + payload


def read_head(conn):
    data = b""
    while b"\r\n\r\n" not in data and len(data) < 16384:
        chunk = conn.recv(4096)
        if not chunk:
            return None
        data += chunk
    return data


def upgrade(world, conn, headers):
    key = headers["sec-websocket-key"]
    accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
    conn.sendall(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode())
    with world.lock:
        now = world.now()
        hello = {"type": "hello", "protocol": 1, "stream": world.stream, "seq": world.seq, "ts": now, "version": world.args.version,
                 "features": {"actions": world.args.actions, "auto_fix": False}}
        snapshot = {"type": "snapshot", "seq": world.seq, "ts": now, "pcs": list(world.pcs.values()),
                    "services": list(world.services.values()), "alerts": list(world.alerts.values())}
        world.send_raw(conn, frame(1, json.dumps(hello).encode()))
        world.send_raw(conn, frame(1, json.dumps(snapshot).encode()))
        world.clients.append(conn)
        if not world.args.started:
            world.args.started = True
            threading.Thread(target=play, args=(world,), daemon=True).start()
    while conn.recv(4096):
        pass


def serve(world, conn):
    try:
        data = read_head(conn)
        if not data or world.args.dead:
            return
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
        while world.args.hung:
            time.sleep(0.1)
        if headers.get("upgrade", "").lower() == "websocket":
            upgrade(world, conn, headers)
            return
        while len(body) < int(headers.get("content-length", "0")):
            body += conn.recv(4096)
        status, answer = world.rest(method, target, body)
        if target.endswith("/action") and (headers.get("authorization"), headers.get("content-type")) != ACTION_HEADERS:
            status, answer = 401, {"title": "Unauthorized", "status": 401, "detail": "no token, or no JSON"}
        text = json.dumps(answer).encode()
        kind = "application/json" if status < 400 else "application/problem+json"
        conn.sendall(f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n".encode() + text)
        conn.shutdown(socket.SHUT_WR)
        while conn.recv(4096):
            pass
    except (OSError, KeyError, ValueError):
        pass
    finally:
        with world.lock:
            if conn in world.clients:
                world.clients.remove(conn)
        conn.close()


def play(world):
    start = time.monotonic()
    for when, word, app, pc in sorted(world.args.events):
        time.sleep(max(0, start + when - time.monotonic()))
        world.event(word, app, pc)


def tick(world):
    n = 0
    while True:
        time.sleep(1)
        n += 1
        if n % 5 == 0:
            for c in list(world.clients):
                world.send_raw(c, frame(9, b"ping"))
        if world.args.checks and n % 10 == 0:
            world.check_all()


def parse_event(text):
    parts = text.split(":")
    return float(parts[0]), parts[1], parts[2] if len(parts) > 2 else "", parts[3] if len(parts) > 3 else ""


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--port", type=int, default=0)
    p.add_argument("--world", default="small", choices=["small", "grid", "one", "empty", "calm"])
    p.add_argument("--version", default="0.1.0", help="that the daemon says it is of")
    p.add_argument("--hostile", action="store_true")
    p.add_argument("--actions", action="store_true")
    p.add_argument("--checks", action="store_true", help="a delta of checks each 10 s")
    p.add_argument("--now", type=int, default=0, help="the clock stands still there (Unix ms)")
    p.add_argument("--event", dest="events", action="append", type=parse_event, default=[])
    args = p.parse_args()
    args.hung = args.dead = args.started = False
    world = World(args)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", args.port))
    listener.listen(64)
    print("port", listener.getsockname()[1], flush=True)
    threading.Thread(target=tick, args=(world,), daemon=True).start()
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=serve, args=(world, conn), daemon=True).start()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        os._exit(0)
    except OSError as e:
        sys.exit(str(e))
