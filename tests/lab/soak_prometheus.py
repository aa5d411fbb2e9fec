"""Debian's Prometheus scrapes the daemon, with the rules of docs/ loaded: run by `script/soak prometheus`.

SOAK_PROMETHEUS_S (default 400) says how long; with more than 5 minutes the alert for a service that is down fires.
Nothing is installed: the package is unpacked into a directory that goes again.
"""

import json
import os
import subprocess
import tempfile
import time
import urllib.parse
from pathlib import Path

import pytest
import yaml
from conftest import LAB_NAME, SOURCE_ROOT, wait_until
from test_hostile import STRANGER, token

PC = "aurgi-pc"
SECONDS = int(os.environ.get("SOAK_PROMETHEUS_S", "400"))
RULES = SOURCE_ROOT / "docs" / "prometheus-rules.yaml"


def run(*command, **kwargs):
    done = subprocess.run([str(word) for word in command], check=False, text=True, capture_output=True, **kwargs)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture(scope="module")
def scratch():
    """Not pytest's own: that goes when others run tests, and it is closed to whom Prometheus runs as."""
    with tempfile.TemporaryDirectory(prefix="soak-prometheus-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="module")
def package(scratch):
    """Where Debian's prometheus is unpacked."""
    folder = scratch / "package"
    folder.mkdir()
    # apt fetches as a user of its own where it may
    run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", "prometheus", cwd=folder)
    (deb,) = folder.glob("*.deb")
    run("dpkg", "-x", deb, folder)
    return folder


def test_rules_are_well_formed(package):
    print(run(package / "usr/bin/promtool", "check", "rules", RULES).strip())


class Prometheus:
    def __init__(self, daemon, package, folder):
        self.daemon = daemon
        secret = folder / "token"
        secret.write_text(token(daemon))
        # what docs/prometheus.md says, but more often
        job = {
            "job_name": "services_monitor",
            "scrape_interval": "2s",
            "authorization": {"credentials_file": str(secret)},
            "static_configs": [{"targets": ["127.0.0.1:8485"]}],
        }
        config = folder / "prometheus.yml"
        config.write_text(
            yaml.safe_dump(
                {
                    "global": {"evaluation_interval": "2s"},
                    "scrape_configs": [job],
                    "rule_files": [str(folder / "rules.yaml")],
                }
            )
        )
        (folder / "rules.yaml").write_text(RULES.read_text())
        (folder / "data").mkdir()
        for path in (secret, config, folder / "rules.yaml", folder / "data", folder):
            os.chown(path, STRANGER, STRANGER)
        secret.chmod(0o600)
        run(package / "usr/bin/promtool", "check", "config", config)
        command = ["ip", "netns", "exec", f"{LAB_NAME}-{PC}"]
        command += ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"]
        command += [package / "usr/bin/prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/data"]
        command += ["--web.listen-address=127.0.0.1:9090"]
        with (folder / "log").open("w") as log:
            self.process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)

    def ask(self, path, **query):
        reply = self.daemon.pc.http(f"/api/v1/{path}?{urllib.parse.urlencode(query)}", port=9090)
        document = json.loads(reply.body)
        assert document["status"] == "success", document
        return document["data"]

    def values(self, expression):
        """{(app, pc): value} of an instant query."""
        return {
            (row["metric"].get("app"), row["metric"].get("pc")): float(row["value"][1])
            for row in self.ask("query", query=expression)["result"]
        }

    def is_ready(self):
        try:
            return self.ask("targets")["activeTargets"][0]["health"] == "up"
        except (OSError, IndexError, ValueError):
            return False

    def alerts(self):
        return {(a["labels"]["alertname"], a["labels"].get("app")): a["state"] for a in self.ask("alerts")["alerts"]}


def test_prometheus_sees_what_the_daemon_sees(make_daemon, package, scratch):
    folder = scratch / "run"
    folder.mkdir()
    daemon = make_daemon()
    daemon.wait_row("sqlite_api", actual="running")
    prometheus = Prometheus(daemon, package, folder)
    begin = time.monotonic()
    try:
        wait_until(prometheus.is_ready, 20, 0.5, "the scrape")
        wait_until(lambda: all(row["light"] != "unknown" for row in daemon.rows().values()), 10)
        time.sleep(6)
        up = prometheus.values("services_monitor_service_up")
        rows = daemon.rows()
        assert up == {key: float(row["light"] == "ok") for key, row in rows.items()}
        assert prometheus.values("services_monitor_service_restarts_total") == {
            key: float(row["restarts"]) for key, row in rows.items()
        }
        groups = prometheus.ask("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert len(rules) >= 9 and {rule["health"] for rule in rules} <= {"ok", "unknown"}, rules
        for i in range(8):
            daemon.pc.kill("sqlite_api.service")
            daemon.wait_row("sqlite_api", actual="running", restarts=i + 1)
            time.sleep(2)
        wait_until(lambda: prometheus.alerts().get(("ServiceKeepsRestarting", "sqlite_api")) == "firing", 15, 1)
        daemon.pc.systemctl("stop", "auth_api.service")
        wait_until(lambda: prometheus.alerts().get(("ServiceDown", "auth_api")) == "pending", 15, 1)
        while time.monotonic() - begin < SECONDS:
            time.sleep(5)
            assert prometheus.values("up") == {(None, None): 1}
        if SECONDS >= 400:
            assert prometheus.alerts()["ServiceDown", "auth_api"] == "firing"
        groups = prometheus.ask("rules")["groups"]
        assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
        failed = prometheus.ask("query", query='min_over_time(up{job="services_monitor"}[1h])')["result"]
        took = prometheus.ask("query", query="max_over_time(scrape_duration_seconds[1h])")["result"]
        print(
            f"soak: Prometheus: {time.monotonic() - begin:.0f} s, {len(rules)} rules without error, never down: "
            f"{failed[0]['value'][1] == '1'}, slowest scrape {float(took[0]['value'][1]) * 1000:.1f} ms, "
            f"alerts {sorted(set(prometheus.alerts().values()))}"
        )
        assert failed[0]["value"][1] == "1"
    finally:
        prometheus.process.terminate()
        prometheus.process.wait(20)
        print((folder / "log").read_text()[-2000:])
