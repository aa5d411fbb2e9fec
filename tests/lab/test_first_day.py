"""docs/first-day.md, walked: its commands in its order, its configuration, a real mail server, the real window.

FIRST_DAY_OUT=DIR writes the document anew into DIR, with what was printed now, and its pictures, and takes the time
that the document says instead of a shorter one.
"""

import contextlib
import email
import os
import re
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from conftest import FN_UID, LAB_NAME, SANITIZER_ENV, SOURCE_ROOT, daemon_program, in_network, wait_until
from test_install import TREE, pc  # noqa: F401  # pylint: disable=unused-import

DOC = (SOURCE_ROOT / "docs/first-day.md").read_text()
OUT = os.environ.get("FIRST_DAY_OUT")
HERE_IT_IS = {"script/install": f"{TREE}/script/install --build {TREE}/build"}  # there is no compiler in the lab
FAULTY = ["broken_api.service", "hang_api.service", "stolen_port.service", "squatter.service"]


class MailServer:
    """Takes every mail; port 25 of the PC."""

    def __init__(self, the_pc):
        self.mails = []
        self.sock = in_network(the_pc, self._listen)
        threading.Thread(target=self._accept, daemon=True).start()

    @staticmethod
    def _listen():
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 25))
        sock.listen(8)
        return sock

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self.sock.accept()[0],), daemon=True).start()

    def _serve(self, connection):
        with contextlib.closing(connection), connection.makefile("rwb") as stream, contextlib.suppress(OSError):
            data = None

            def answer(text):
                stream.write(text + b"\r\n")
                stream.flush()

            answer(b"220 mail.example.org ESMTP")
            for line in stream:
                if data is not None and line.rstrip() != b".":
                    data.append(line[1:] if line.startswith(b"..") else line)
                elif data is not None:
                    self.mails.append(email.message_from_bytes(b"".join(data)))
                    data = None
                    answer(b"250 taken")
                elif line[:4].upper() == b"DATA":
                    data = []
                    answer(b"354 go on")
                elif line[:4].upper() == b"QUIT":
                    answer(b"221 bye")
                    return
                else:
                    answer(b"250 mail.example.org" if line[:4].upper() in (b"EHLO", b"HELO") else b"250 ok")

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


class Walk:
    """The document's commands, one after the other; the test says what to expect of each."""

    def __init__(self, the_pc):
        self.pc = the_pc
        self.commands = re.findall(r"(?m)^\$ (.*)$", DOC)
        self.text = []  # of each step
        self.mails = []

    def step(self, begins, codes=(0,)):
        """Runs the next command of the document, which must begin like this; returns what it printed."""
        command = self.commands.pop(0)
        assert command.startswith(begins), f"the next step of the document is: {command}"
        return self.run(command, codes)

    def run(self, command, codes=(0,)):
        inside = HERE_IT_IS.get(command, command)
        done = self.pc.run(f"export PATH=$HOME/.local/bin:$PATH; exec 2>&1; {inside}", check=False, timeout=60)
        assert done.returncode in codes, (command, done.returncode, done.stdout)
        self.text.append(f"$ {command}\n{done.stdout}")
        return done.stdout


    def document(self):
        """The document with these texts in the place of those that it has."""
        texts, mails = iter(self.text), iter(self.mails)
        blocks = re.split(r"(?ms)^(```(?:console|text)\n.*?^```\n)", DOC)
        for at, block in enumerate(blocks):
            if block.startswith("```console"):
                steps = len(re.findall(r"(?m)^\$ ", block))
                blocks[at] = "```console\n" + "".join(next(texts) for _ in range(steps)) + "```\n"
            elif block.startswith("```text"):
                blocks[at] = f"```text\n{next(mails)}```\n"
        return "".join(blocks)


def mail_text(mail):
    body = mail.get_payload(decode=True).decode().replace("\r\n", "\n").strip()
    return f"Subject: {mail['Subject']}\n\n{body}\n"


def look(the_pc, tmp_path, script):
    """Drives the window, as fn and in the PC's network; pictures go to OUT."""
    monitor = daemon_program().resolve().parents[2] / "src/monitor/services_monitor"
    home = tmp_path / "fn"
    (home / "services_api").mkdir(parents=True, exist_ok=True)
    token = home / "services_api/token"
    token.write_text(the_pc.run("cat ~/.config/services_api/token").stdout)
    pictures = tmp_path / "pictures"
    pictures.mkdir(exist_ok=True)
    (tmp_path / "window.script").write_text(script.replace("OUT", str(pictures)))
    for path in (tmp_path, home, home / "services_api", pictures, token):
        os.chown(path, FN_UID, FN_UID)
    for path in tmp_path.parents:
        if path != path.parent and path.stat().st_mode & 0o005 != 0o005 and str(path).startswith("/tmp/"):
            path.chmod(path.stat().st_mode | 0o055)
    env = {**SANITIZER_ENV, "ASAN_OPTIONS": SANITIZER_ENV["ASAN_OPTIONS"] + ":detect_leaks=0", "HOME": str(home),
           "XDG_CONFIG_HOME": str(home), "LIBGL_ALWAYS_SOFTWARE": "1", "LC_ALL": "C", "PATH": "/usr/bin:/bin"}
    command = ["ip", "netns", "exec", f"{LAB_NAME}-{the_pc.name}", "setpriv", f"--reuid={FN_UID}", f"--regid={FN_UID}",
               "--clear-groups", str(monitor), "--no-settings", "--size", "1600x900", "--script", str(tmp_path / "window.script")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    if OUT:
        for path in pictures.iterdir():
            shutil.copy(path, OUT)


def test_first_day(pc, tmp_path):  # noqa: F811  # pylint: disable=redefined-outer-name
    for unit in FAULTY:  # a PC whose services are well
        pc.systemctl("stop", unit, check=False)
        pc.run("rm", f"/home/fn/.config/systemd/user/{unit}")
    pc.systemctl("daemon-reload")
    pc.systemctl("reset-failed")
    pc.root("sh", "-c", "echo 127.0.0.1 mail.example.org >>/etc/hosts")
    config = re.search(r"(?s)```yaml\n(.*?)```", DOC)[1]
    assert "alert_after_s: 60\n" in config
    if not OUT:
        config = config.replace("alert_after_s: 60\n", "alert_after_s: 2\n")
    server = MailServer(pc)
    walk = Walk(pc)
    try:
        walk_through(pc, walk, server, config, tmp_path)
        if OUT:
            Path(OUT, "first-day.md").write_text(walk.document())
    finally:
        server.close()


def walk_through(pc, walk, server, config, tmp_path):  # noqa: F811  # pylint: disable=redefined-outer-name
    walk.step("script/install")
    assert "7 new services on aurgi-pc" in walk.step("services_api discover --write")
    assert "replaced sqlite_api" in walk.step("services_api add sqlite_api")
    pc.write("/home/fn/.config/services_api/config.yaml", config)
    assert walk.step("services_api check-config").startswith("good: ")
    assert "mail     sent" in walk.step("services_api notify-test")
    assert len(server.mails) == 1
    walk.step("systemctl --user enable --now services_api")
    wait_until(lambda: " ok " in pc.run(".local/bin/services_api status", check=False).stdout and
               pc.run(".local/bin/services_api status", check=False).returncode == 0, 20, 0.3, "all well")
    assert "● 8 ok · 8 services on 1 PC" in walk.step("services_api status")

    walk.step("systemctl --user kill -s KILL queue_agent")
    assert "killed by SIGKILL" in walk.step("services_api status", codes=(1,))
    wait_until(lambda: len(server.mails) > 1, 90, 0.2, "the mail")
    opened = server.mails[1]
    assert "you@example.org" in opened["To"] and "queue_agent" in opened["Subject"]
    walk.mails.append(mail_text(opened))

    alerts = walk.step("services_api alerts", codes=(1,))
    assert re.search(r"■ open .*queue_agent on aurgi-pc .*killed by SIGKILL", alerts), alerts
    assert "code=killed, status=9/KILL" in walk.step("services_api logs queue_agent")
    (number,) = re.findall(r"\b\d{6,}\b", alerts)
    command = walk.commands.pop(0)
    assert re.match(r"services_api ack \d+ ", command), command
    walk.run(re.sub(r"\d+", number, command, 1))
    assert "I am on it" in walk.step("services_api alerts", codes=(0, 1))

    look(pc, tmp_path, "wait attention/aurgi-pc/queue_agent\nshot OUT/first-day-broken.png\n"
                       "go alerts\nwait-text killed by SIGKILL\nwait-text I am on it\nshot OUT/first-day-alert.png\n"
                       "go app/queue_agent/aurgi-pc\nwait action/restart\nclick action/restart\n"
                       "wait-text restart done\nwait-text Running\nframes 10\nshot OUT/first-day-restarted.png\n")
    assert pc.systemctl("is-active", "queue_agent") == "active"
    assert re.search(r"done +restart +queue_agent/aurgi-pc", walk.step("services_api audit"))
    if not OUT:  # an alert ends when all was well for 30 s, and test_notify.py has more patience
        assert walk.commands == ["services_api alerts"] and len(server.mails) == 2
        return
    wait_until(lambda: len(server.mails) > 2, 60, 0.2, "the mail of its recovery")
    recovered = server.mails[2]
    assert opened["Message-ID"].replace("-opened", "-recovered") == recovered["Message-ID"]
    walk.mails.append(mail_text(recovered))
    assert "no alerts" in walk.step("services_api alerts") and not walk.commands
    assert len(server.mails) == 3
