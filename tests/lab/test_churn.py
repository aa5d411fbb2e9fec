"""R29: clients that come and go as they like. Whatever was cut off in whatever moment, what a client knows after it
came back, by the deltas it missed or by a snapshot, is what REST says.

SOAK_DISCONNECTS (default 500) says how many, SOAK_SEED repeats a run's choices.
"""

import contextlib
import os
import random
import socket
import struct
import time
from collections import Counter

from conftest import API_PORT, Stream, wait_until
from test_api import World, follow, settle
from test_notify import SEED, signal_unit

DISCONNECTS = int(os.environ.get("SOAK_DISCONNECTS", "500"))
CLIENTS = 12
UNITS = ("auth_api.service", "sqlite_api.service", "echo_socket.service")


class Client:
    def __init__(self, daemon, generator):
        self.daemon, self.generator = daemon, generator
        self.world = World()
        self.stream = None

    def connect(self):
        """Returns how it goes on: "resume", "snapshot", or "refused" when what it wanted cannot be."""
        choice = self.generator.random()
        path = "/api/ws/services"
        if self.world.stream and choice < 0.8:
            wrong = choice > 0.7
            path += f"?stream={self.world.stream}&since={self.world.seq + 1000000 * wrong}"
        self.stream = Stream(self.daemon.pc.connect(API_PORT), path, API_PORT)
        wanted = "?" in path
        hello = self.stream.next()
        assert hello["type"] == "hello"
        resumed = wanted and hello["stream"] == self.world.stream and not wrong
        self.world.apply(hello)
        if resumed:
            return "resume"
        snapshot = self.stream.next()
        assert snapshot["type"] == "snapshot", snapshot["type"]
        self.world.apply(snapshot)
        return "refused" if wanted else "snapshot"

    def read(self, seconds):
        follow(self.world, self.stream, seconds)
        assert self.stream.close_code is None, self.stream.close_code

    def cut(self):
        """Politely, not at all, or in the middle of a frame."""
        sock = self.stream.sock
        how = self.generator.choice(["close", "reset", "half"])
        with contextlib.suppress(OSError):
            if how == "half":
                sock.sendall(b"\x89\xfe\x00")  # the first bytes of a ping
            elif how == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        return how


def test_clients_that_come_and_go_know_what_rest_says(make_daemon):
    generator = random.Random(SEED)
    daemon = make_daemon()
    daemon.wait_row("auth_api", actual="running")
    pid, pc = daemon.pid(), daemon.pc.name
    clients = [Client(daemon, generator) for _ in range(CLIENTS)]
    counts = Counter(client.connect() for client in clients)
    kill_at, kills, slowest = 0.0, 0, 0.0
    for i in range(DISCONNECTS):
        if time.monotonic() >= kill_at:
            kills += signal_unit(pc, generator.choice(UNITS))
            kill_at = time.monotonic() + generator.uniform(0, 0.15)
        client = generator.choice(clients)
        if generator.random() < 0.5:
            client.read(generator.uniform(0, 0.02))
        counts[client.cut()] += 1
        begin = time.monotonic()
        counts[client.connect()] += 1
        slowest = max(slowest, time.monotonic() - begin)
        if generator.random() < 0.1:
            clients[i % CLIENTS].read(0.01)
    for client in clients:
        settle(client.world, client.stream, daemon, 15)
    print(
        f"soak: R29: seed {SEED}: {DISCONNECTS} disconnects while {kills} processes were killed: {dict(counts)};"
        f" slowest return {slowest * 1000:.0f} ms; {CLIENTS} pictures equal REST"
    )
    assert counts["resume"] and counts["snapshot"] and counts["refused"] and kills
    assert daemon.pid() == pid
    for client in clients:
        client.cut()
    wait_until(lambda: daemon.get("/api/health")["clients"] == 0, 10)
