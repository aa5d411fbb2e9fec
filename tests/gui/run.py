#!/usr/bin/env python3
"""Runs one scripted test of the window: a made-up daemon, services_monitor --script, and the pictures it took.

    run.py MONITOR SCRIPT [--update]

Lines of the script that start with "# fake:" are arguments of fake_api.py, "# monitor:" of services_monitor. In the script
OUT/ is a folder for pictures; a picture OUT/NAME.png that has a reference (reference/NAME.png) is compared with it: at most
0.5 % of the pixels may differ by more than 12 %. --update makes new references instead.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
NOW = "1795507200000"
FUZZ, TOLERANCE = "12%", 0.005


def header(text, word):
    args = []
    for line in text.splitlines():
        if line.startswith(f"# {word}:"):
            args += line.split(":", 1)[1].replace("NOW", NOW).split()
    return args


def compare(picture, reference):
    size = subprocess.run(["identify", "-format", "%w %h", str(picture)], capture_output=True, text=True, check=True).stdout.split()
    done = subprocess.run(["compare", "-metric", "AE", "-fuzz", FUZZ, str(picture), str(reference), "null:"], capture_output=True, text=True)
    try:
        different = float(done.stderr.split()[0])
    except (IndexError, ValueError):
        return f"{picture.name}: cannot be compared: {done.stderr.strip()}"
    part = different / (int(size[0]) * int(size[1]))
    return None if part <= TOLERANCE else f"{picture.name}: {part:.2%} of the pixels differ from {reference}"


def main():
    monitor, script = sys.argv[1], pathlib.Path(sys.argv[2])
    update = "--update" in sys.argv
    text = script.read_text(encoding="utf-8")
    fake = subprocess.Popen([sys.executable, str(HERE / "fake_api.py"), *header(text, "fake")], stdout=subprocess.PIPE, text=True)
    failures = []
    try:
        port = fake.stdout.readline().split()[1]
        with tempfile.TemporaryDirectory(prefix="gui-") as out:
            copy = pathlib.Path(out) / script.name
            copy.write_text(text.replace("OUT/", out + "/"), encoding="utf-8")
            token = pathlib.Path(out, "services_api", "token")
            token.parent.mkdir()
            token.write_text("a-token-of-the-tests\n", encoding="utf-8")
            token.chmod(0o600)
            env = dict(os.environ, TZ="UTC", LANG="C", LC_ALL="C", HOME=out, XDG_CONFIG_HOME=out)
            env.pop("LANGUAGE", None)
            done = subprocess.run([monitor, "--url", f"http://127.0.0.1:{port}", "--script", str(copy), *header(text, "monitor")],
                                  env=env, timeout=240)
            if done.returncode != 0:
                failures.append(f"{script.name}: exit status {done.returncode}")
            for picture in sorted(pathlib.Path(out).glob("*.png")):
                reference = HERE / "reference" / picture.name
                if update:
                    reference.parent.mkdir(exist_ok=True)
                    subprocess.run(["convert", str(picture), "-strip", "-colors", "255", f"png8:{reference}"], check=True)
                elif reference.exists():
                    failures += filter(None, [compare(picture, reference)])
                else:
                    failures.append(f"{picture.name}: there is no reference")
    finally:
        fake.kill()
        fake.wait()
    for line in failures:
        print(line, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
