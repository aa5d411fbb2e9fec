"""script/install as a person runs it: in, in use, over itself, out again; and the installed programs in Spanish."""

import json
import re

import pytest
from conftest import SANITIZER_ENV, SOURCE_ROOT, daemon_program, wait_until

TREE = "/home/fn/services_monitor"
INSTALL = f"{TREE}/script/install"
API = ".local/bin/services_api"
INSTALLED = [
    API,
    ".local/bin/services_monitor",
    ".local/share/systemd/user/services_api.service",
    ".local/share/man/man1/services_api.1",
    ".local/share/man/man1/services_monitor.1",
    ".local/share/applications/services_monitor.desktop",
    ".local/share/icons/hicolor/scalable/apps/services_monitor.svg",
    ".local/share/bash-completion/completions/services_api",
    ".local/share/locale/es/LC_MESSAGES/services_monitor.mo",
]
OURS = re.compile(r"(\.local|\.config)(/share|/state)?(/services_api(/.*)?)?")  # what may stay: data and config


def push_tree(pc):
    """What of the source tree and its build the installation reads."""
    build = daemon_program().resolve().parents[2]
    sources = [*(SOURCE_ROOT / "man").glob("*.1"), *(SOURCE_ROOT / "data").rglob("*.*")]
    sources += [path for path in (SOURCE_ROOT / "data/completions").iterdir()]
    sources += [SOURCE_ROOT / "script/install", SOURCE_ROOT / "script/common.sh"]
    for path in sources:
        pc.push(path, f"{TREE}/{path.relative_to(SOURCE_ROOT)}")
    for name in ("src/api/services_api", "src/monitor/services_monitor", "po/es/LC_MESSAGES/services_monitor.mo"):
        if not (build / name).is_file():
            pytest.fail(f"{build} has no {name}: build all of it first", pytrace=False)
        pc.push(build / name, f"{TREE}/build/{name}")


def files(pc):
    """All that is in fn's home but the tree."""
    return set(pc.run("find . -path ./services_monitor -prune -o -printf '%P\\n'").stdout.split("\n"))


def said(done):
    return done.stdout + done.stderr


@pytest.fixture
def pc(lab):
    the_pc = lab.pc
    the_pc.run("rm -rf ~/.local ~/.config/services_api ~/.config/systemd/user/services_api.service.d")
    push_tree(the_pc)
    # a sanitized program cannot look for leaks where ptrace is forbidden
    options = SANITIZER_ENV["ASAN_OPTIONS"] + ":detect_leaks=0"
    the_pc.write("/home/fn/.config/systemd/user/services_api.service.d/test.conf",
                 f"[Service]\nEnvironment=ASAN_OPTIONS={options} UBSAN_OPTIONS=halt_on_error=1\n")
    yield the_pc
    the_pc.systemctl("disable", "--now", "services_api", check=False)
    the_pc.run("rm -rf ~/.local ~/.config/services_api ~/.config/systemd/user/services_api.service.d")
    the_pc.root("rm", "-rf", TREE)
    the_pc.systemctl("daemon-reload")


def install(pc, *args, check=True):
    return pc.run(INSTALL, *(args or ("--build", f"{TREE}/build")), check=check, timeout=60)


def in_spanish_too(pc):
    """The same picture in another language, found without any variable but the locale; machines see no difference."""
    spanish = "LANG=es_ES.UTF-8 "
    text = pc.run(f"{spanish}{API} status", check=False).stdout
    assert re.search(r"● sqlite_api +en marcha ", text) and re.search(r"■ broken_api +fallido ", text), text
    assert "código de salida 3" in text and re.search(r"\d+ servicios en 1 PC", text), text
    assert "C.UTF-8" not in text and pc.run(f"LANG=C.UTF-8 LANGUAGE=es {API} --help").stdout.startswith("Uso: ")
    done = pc.run(f"{spanish}{API} check nobody", check=False)
    assert done.returncode == 2 and "el registro no tiene ninguna aplicación 'nobody'" in done.stderr
    # columns stand under each other, whatever the words are
    columns = [match.start() for match in (re.search(r" :\d{4}\b", line) for line in text.splitlines()) if match]
    assert len(columns) > 5 and len(set(columns)) == 1, text

    def machine(language):
        status = json.loads(pc.run(f"{language}{API} status --json", check=False).stdout)
        stable = ("app_id", "pc_id", "actual", "cause", "sentence", "light", "systemd_state", "port")
        return [[row[key] for key in stable] for row in status["services"]], pc.run(f"{language}{API} export").stdout

    assert machine("") == machine(spanish)
    # nor does the daemon, whose words go to everybody
    pc.systemctl("set-environment", "LANG=es_ES.UTF-8")
    pc.systemctl("restart", "services_api")
    pc.systemctl("unset-environment", "LANG")

    def sentence():
        rows = {row["app_id"]: row for row in pc.http("/api/services").json()}
        return rows["broken_api"]["sentence"] == "exit code 3"

    wait_until(sentence, 5, 0.1, "the daemon's English")


def test_install_use_upgrade_uninstall(pc):
    before = files(pc)
    linger = "/var/lib/systemd/linger/fn"
    pc.root("mv", linger, "/tmp/linger")
    try:
        text = said(install(pc))
    finally:
        pc.root("mv", "/tmp/linger", linger)
    assert "linger is off" in text and "loginctl enable-linger fn" in text
    assert "services_api discover --write" in text and "systemctl --user enable --now services_api" in text
    assert set(INSTALLED) <= files(pc), sorted(set(INSTALLED) - files(pc))

    pc.run(API, "discover", "--write")
    pc.systemctl("enable", "--now", "services_api")
    assert "active (running)" in pc.systemctl("status", "services_api")
    assert pc.show("services_api", "FragmentPath")["FragmentPath"] == f"/home/fn/{INSTALLED[2]}"

    def steady():
        text = pc.run(f"{API} status", check=False).stdout
        return "sqlite_api" in text and "not checked yet" not in text and "starting" not in text

    wait_until(steady, 15, 0.2, "a first picture")
    in_spanish_too(pc)

    # over itself: it restarts, what is no longer part of it goes, what is theirs stays
    registry = pc.run(API, "export").stdout
    pid = pc.show("services_api", "MainPID")["MainPID"]
    pc.write("/home/fn/.local/share/services_monitor/part/of-the-past", "")
    pc.run("printf '%s\\n' ~/.local/share/services_monitor/part/ ~/.local/share/services_monitor/part/of-the-past "
           ">>~/.local/share/services_monitor/installed-files")
    text = said(pc.root("env", "SUDO_USER=fn", INSTALL, "--build", f"{TREE}/build"))  # as sudo calls it
    assert not pc.run("find .local ! -user fn").stdout
    assert "removed /home/fn/.local/share/services_monitor/part/of-the-past" in text
    assert "linger" not in text and "discover" not in text  # nothing to say about them now
    assert not any("part" in path.split("/") for path in files(pc))
    wait_until(lambda: pc.show("services_api", "MainPID")["MainPID"] not in (pid, "0"), 10, 0.1, "a new process")
    assert pc.run(API, "export").stdout == registry

    # root alone has no services of its own here
    done = pc.root(INSTALL, "--build", f"{TREE}/build", check=False)
    assert done.returncode == 1 and "installs for one person" in said(done)

    text = said(install(pc, "--uninstall"))
    assert "what is yours was left" in text
    assert pc.systemctl("is-active", "services_api", check=False) == "inactive"
    assert pc.show("services_api", "LoadState")["LoadState"] == "not-found"
    left = {path for path in files(pc) - before if not OURS.fullmatch(path)}
    assert not left, left
    assert ".local/share/services_api/registry.db" in files(pc)
    done = install(pc, "--uninstall", check=False)
    assert done.returncode == 1 and "nothing is installed" in said(done)
