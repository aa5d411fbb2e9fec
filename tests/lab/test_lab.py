"""The lab itself: each sample service is in the state that it was made for, by systemd, ss and curl."""

import os
import re
import socket
import time
from pathlib import Path

import pytest
import yaml
from conftest import HERE, LAB_NAME, REGISTRY, lab_command, wait_until

# app: (unit, `systemctl show` ActiveState/SubState, port or None, HTTP status or None)
EXPECTED = {
    "sqlite_api": ("sqlite_api.service", "active/running", 8401, 200),
    "web_ui": ("web_ui.service", "active/running", 8402, 200),
    "auth_api": ("auth_api.service", "active/running", 8403, 200),
    "queue_agent": ("queue_agent.service", "active/running", 8404, None),
    "echo_socket": ("echo_socket.socket", "active/listening", 8405, 200),
    "backup_job": ("backup_job.timer", "active/waiting", None, None),
    "report_once": ("report_once.service", "active/exited", None, None),
    "broken_api": ("broken_api.service", "failed/failed", 8408, "refused"),
    "hang_api": ("hang_api.service", "active/running", 8409, "timeout"),
    "stolen_port": ("stolen_port.service", "active/running", 8410, 200),
}


def state_of(pc, unit):
    return "/".join(pc.show(unit, "ActiveState", "SubState").values())


def curl(pc, port):
    """The HTTP status as curl, run inside, sees it; or "refused", or "timeout"."""
    url = f"http://127.0.0.1:{port}/health"
    done = pc.run("curl", "-s", "-o", "/dev/null", "-m", "1", "-w", "%{http_code}", url, check=False)
    return {0: int(done.stdout), 7: "refused", 28: "timeout"}[done.returncode]


def listeners(pc):
    """{port: the user units in whose control groups its listening sockets are}"""
    found = {}
    for line in pc.run("ss", "-Htln", "--cgroup").stdout.splitlines():
        port = int(line.split()[3].rsplit(":", 1)[1])
        cgroup = re.search(r"cgroup:(\S+)", line)
        found.setdefault(port, set()).add(cgroup.group(1).rsplit("/", 1)[1] if cgroup else None)
    return found


@pytest.mark.parametrize("app", EXPECTED)
def test_service_is_in_its_state(lab, app):
    unit, state, port, http_status = EXPECTED[app]
    # the timer is active/running while its job runs
    wait_until(lambda: state_of(lab.pc, unit) == state, 3, 0.1, f"{unit} {state}")
    if http_status is not None:
        assert curl(lab.pc, port) == http_status


def test_ports_belong_to_their_units(lab):
    owners = listeners(lab.pc)
    for unit, port in [
        ("sqlite_api.service", 8401),
        ("web_ui.service", 8402),
        ("auth_api.service", 8403),
        ("queue_agent.service", 8404),
        # a user manager opens the sockets of .socket units itself, in its own control group
        ("init.scope", 8405),
        ("hang_api.service", 8409),
        ("squatter.service", 8410),  # and not stolen_port.service
    ]:
        assert owners[port] == {unit}
    assert 8408 not in owners


def test_ways_of_starting(lab):
    pc = lab.pc
    assert pc.show("web_ui.service", "Type")["Type"] == "notify"
    assert pc.show("report_once.service", "Type", "RemainAfterExit") == {
        "Type": "oneshot",
        "RemainAfterExit": "yes",
    }
    assert pc.show("broken_api.service", "Result", "ExecMainStatus", "NRestarts") == {
        "Result": "exit-code",
        "ExecMainStatus": "3",
        "NRestarts": "0",
    }
    assert "cannot read settings.ini" in pc.journal("broken_api.service")
    wait_until(lambda: "3 files saved" in pc.journal("backup_job.service"), 8, 0.2)
    assert pc.show("backup_job.service", "Result")["Result"] == "success"


def test_socket_activation(lab):
    pc = lab.pc
    assert pc.systemctl("is-active", "echo_socket.service", check=False) == "inactive"
    assert pc.http("/health", 8405).json()["port"] == 8405
    assert pc.systemctl("is-active", "echo_socket.service") == "active"


@pytest.mark.parametrize(
    "unit, comes_back", [("sqlite_api", True), ("auth_api", True), ("queue_agent", False)]
)
def test_restart_after_kill(lab, unit, comes_back):
    pc = lab.pc
    port = EXPECTED[unit][2]
    before = pc.show(f"{unit}.service", "InvocationID")
    pc.kill(f"{unit}.service")
    if comes_back:
        wait_until(lambda: pc.show(f"{unit}.service", "InvocationID") != before, 5)
        wait_until(lambda: curl(pc, port) == 200, 5)
    else:
        wait_until(lambda: pc.systemctl("is-active", f"{unit}.service", check=False) == "failed", 5)
        assert curl(pc, port) == "refused"


def test_restore_undoes_everything(lab):
    pc = lab.pc
    pc.systemctl("stop", "sqlite_api.service", "squatter.service", "backup_job.timer")
    pc.systemctl("mask", "--runtime", "--now", "web_ui.service")
    pc.systemctl("restart", "stolen_port.service")
    pc.write("/home/fn/.config/systemd/user/auth_api.service.d/test.conf", "[Service]\nNice=5\n")
    pc.mode(8403, "fail")
    assert curl(pc, 8403) == 503
    assert listeners(pc)[8410] == {"stolen_port.service"}
    pc.restore()
    for app in EXPECTED:
        test_service_is_in_its_state(lab, app)
    assert listeners(pc)[8410] == {"squatter.service"}
    assert pc.show("auth_api.service", "DropInPaths")["DropInPaths"] == ""


@pytest.mark.parametrize("mode, seen", [("fail", 503), ("slow", 200), ("hang", "hang"), ("reset", "reset")])
def test_modes_of_the_sample_service(lab, mode, seen):
    pc = lab.pc
    pc.mode(8401, mode)
    sock = pc.connect(8401, timeout=3)
    sock.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    started = time.monotonic()
    try:
        reply = sock.recv(4096)
    except socket.timeout:
        got = "hang"
    except ConnectionResetError:
        got = "reset"
    else:
        got = int(reply.split()[1])
    assert got == seen
    if mode == "slow":
        assert time.monotonic() - started >= 0.9
    sock.close()


def test_deaf_service_fills_its_accept_queue(lab):
    pc = lab.pc
    pc.mode(8401, "deaf")
    held = [pc.connect(8401) for _ in range(5)]
    queue = pc.run("ss -Htln 'sport = :8401'").stdout.split()
    assert int(queue[1]) >= 5 and queue[2] == "64"  # a daemon that still runs may knock, too
    for sock in held:
        sock.close()
    pc.mode(8401, None)
    wait_until(lambda: pc.run("ss -Htln 'sport = :8401'").stdout.split()[1] == "0", 5)


def test_sockets_inside_have_the_owner_asked_for(lab):
    """The API looks at its peer's uid; the tests must be able to be anybody."""
    for uid in (0, 1000, 4711):
        sock = lab.pc.connect(8401, uid=uid)
        local = sock.getsockname()[1]
        line = lab.pc.root(f"ss -Htne 'sport = :{local}'").stdout
        assert re.search(r"uid:(\d+)", line + " uid:0").group(1) == str(uid), line
        sock.close()


def test_registry_describes_the_lab(lab):
    """registry.yaml and the units cannot drift apart."""
    registry = yaml.safe_load(REGISTRY.read_text())
    assert [row["pc_id"] for row in registry["pcs"]] == ["aurgi-pc", "home-wsl", "organic-machine.com"]
    apps = {row["app_id"]: row for row in registry["apps"]}
    own = apps.pop("services_api")
    assert apps.pop("sshd")["unit_scope"] == "system"  # for the lab of several PCs
    assert (own["unit"], own["port"], own["is_local_only"]) == ("services_api.service", 8485, True)
    assert {name: (app["unit"], app.get("port")) for name, app in apps.items()} == {
        name: (unit, port) for name, (unit, _, port, _) in EXPECTED.items()
    }
    assert {(row["app_id"], row["pc_id"]) for row in registry["service_targets"]} == {
        (name, "aurgi-pc") for name in EXPECTED
    }
    assert lab.pc.run("hostname").stdout.strip() == "aurgi-pc"


def test_terminal_size_and_type_reach_a_program_inside(lab):
    """`lab user PC CMD` must carry a live table: the terminal is the caller's."""
    import pty  # pylint: disable=import-outside-toplevel

    pid, master = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        script = "test -t 1 && echo $TERM && stty size"
        os.execv(HERE / "lab", ["lab", "user", "aurgi-pc", "sh", "-c", script])
    seen = b""
    try:
        while chunk := os.read(master, 1024):
            seen += chunk
    except OSError:  # what the master of a closed terminal reads
        pass
    os.waitpid(pid, 0)
    os.close(master)
    assert b"xterm-256color\r\n0 0\r\n" in seen


# ---- the script itself, in a lab of another name -----------------------------------------------------------

OTHER_NAME = LAB_NAME + "-2"


@pytest.fixture
def other_lab():
    """Runs `lab ...` on a second lab beside the first."""
    env = {**os.environ, "LAB_NAME": OTHER_NAME}

    def command(*args, check=True):
        return lab_command(*args, check=check, env=env)

    command("down")
    yield command
    command("down")


def leftovers(name):
    """Everything on this machine that belongs to the lab of that name."""
    found = [str(path) for path in Path("/run").glob(f"services-{name}")]
    found += [str(path) for path in Path("/run/netns").glob(f"{name}*")]
    found += [line for line in Path("/proc/mounts").read_text().splitlines() if f"services-{name}/" in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state = (process / "stat").read_text().rsplit(")", 1)[1].split()[0]
            if f"services-{name}" in (process / "cgroup").read_text() and state != "Z":
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            pass
    return found


def test_down_leaves_nothing(other_lab):
    other_lab("up", "aurgi-pc", "home-wsl")
    assert leftovers(OTHER_NAME)
    other_lab("freeze", "home-wsl")
    other_lab("down", "aurgi-pc")
    assert re.search(r"aurgi-pc +down\nhome-wsl +up", other_lab("status").stdout)
    other_lab("down")
    assert leftovers(OTHER_NAME) == []


def test_up_repairs_and_is_idempotent(other_lab):
    other_lab("up")
    leader = other_lab("leader", "aurgi-pc").stdout
    other_lab("cut", "aurgi-pc")
    assert other_lab("net", "ping", "-c1", "-W1", "10.77.0.11", check=False).returncode != 0
    other_lab("up")
    assert other_lab("leader", "aurgi-pc").stdout == leader
    assert other_lab("ssh", "aurgi-pc", "hostname").stdout == "aurgi-pc\n"
    # half up: nspawn died and left its PC's files, network and control group
    os.kill(int(Path(f"/run/services-{OTHER_NAME}/aurgi-pc/pid").read_text()), 9)
    wait_until(lambda: "broken" in other_lab("status").stdout)
    other_lab("up")
    assert other_lab("leader", "aurgi-pc").stdout != leader
    assert other_lab("ssh", "aurgi-pc", "systemctl --user is-active sqlite_api").stdout == "active\n"


def test_pcs_reach_each_other(other_lab):
    other_lab("up", "aurgi-pc", "organic-machine.com")
    ssh = ["ssh", "-o", "BatchMode=yes", "organic-machine.com", "hostname"]
    assert other_lab("user", "aurgi-pc", *ssh).stdout == "organic-machine.com\n"
    other_lab("freeze", "organic-machine.com")
    command = ["user", "aurgi-pc", "timeout", "1", *ssh]
    assert other_lab(*command, check=False).returncode == 124
    other_lab("thaw", "organic-machine.com")
    assert other_lab("user", "aurgi-pc", *ssh).stdout == "organic-machine.com\n"


def test_unknown_pc_is_refused(other_lab):
    done = other_lab("up", "nobody", check=False)
    assert done.returncode != 0
    assert "no PC named 'nobody'" in done.stderr
