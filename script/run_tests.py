"""What script/test does once the packages are there: builds, runs the layers, sums up.

Layers other than "lab" are meson test suites of the same name; each runs in the build that suits it.
A test that was skipped counts as failed: a green run must mean that everything was tried.
"""

import argparse
import json
import os
import pwd
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

BUILDS = {
    "build": ["--buildtype=debugoptimized", "--werror"],
    "build-san": ["--buildtype=debugoptimized", "--werror", "-Db_sanitize=address,undefined"],
    "build-tsan": ["--buildtype=debugoptimized", "--werror", "-Db_sanitize=thread"],
}
LAYERS = {
    "tools": "build",
    "unit": "build-san",
    "sim": "build-san",
    "fuzz": "build-san",
    "threads": "build-tsan",
    "gui": "build-san",
    "lab": "build-san",
}
# Layers that must not be empty. Without this a suite that lost its name in a meson.build would pass.
NEVER_EMPTY = {"tools", "unit", "sim", "fuzz", "threads", "gui", "lab"}

SANITIZER_ENV = {
    "ASAN_OPTIONS": "halt_on_error=1:detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}
LOG_TAIL = 60  # lines of a failing test's output


def say(text):
    print(text, flush=True)


class Summary:
    def __init__(self):
        self.stages = []  # (name, seconds)
        self.tests = []  # (seconds, layer, name)
        self.passed = 0
        self.failures = []  # one line each

    def add_pass(self, layer, name, seconds):
        self.passed += 1
        self.tests.append((seconds, layer, name))

    def add_failure(self, layer, name, seconds, why):
        self.failures.append(f"{layer}: {name}: {why}")
        self.tests.append((seconds, layer, name))

    def broken(self, stage, why):
        """A stage that could not do its work is one failure."""
        say(f"{stage}: {why}")
        self.failures.append(f"{stage}: {why}")

    def print(self):
        say("\n== time per stage")
        for name, seconds in self.stages:
            say(f"{seconds:8.1f} s  {name}")
        say(f"{sum(seconds for _, seconds in self.stages):8.1f} s  in all")
        if self.tests:
            say("== the ten slowest tests")
            for seconds, layer, name in sorted(self.tests, reverse=True)[:10]:
                say(f"{seconds:8.1f} s  {layer}: {name}")
        if self.failures:
            say("== failed")
            for line in self.failures:
                say(f"  {line}")
        say(f"{self.passed} passed, {len(self.failures)} failed")


class Stage:
    """Says what is being done, and keeps how long it took."""

    def __init__(self, summary, name):
        self.summary = summary
        self.name = name

    def __enter__(self):
        say(f"\n== {self.name}")
        self.started = time.monotonic()

    def __exit__(self, *exc):
        self.summary.stages.append((self.name, time.monotonic() - self.started))


def as_owner():
    """Through sudo, what is built must belong to the caller, if the tree does."""
    user = os.environ.get("SUDO_USER", "root")
    if os.geteuid() == 0 and user != "root" and ROOT.stat().st_uid == pwd.getpwnam(user).pw_uid:
        return ["runuser", "-u", user, "--"]
    return []


def quiet_layout():
    """TSan and ASan of gcc 12 know the address layouts up to 28 bits of randomness only."""
    try:
        bits = int(Path("/proc/sys/vm/mmap_rnd_bits").read_text())
    except OSError:
        bits = 0
    return ["setarch", "-R"] if bits > 28 else []


def build(name):
    """Returns None, or why it failed."""
    directory = ROOT / name
    arguments = BUILDS[name]
    stamp = directory / "setup-arguments"
    if not (directory / "build.ninja").exists() or (
        stamp.exists() and stamp.read_text() != "\n".join(arguments)
    ):
        shutil.rmtree(directory, ignore_errors=True)
        setup = [*as_owner(), "meson", "setup", name, *arguments]
        if subprocess.run(setup, cwd=ROOT, check=False).returncode != 0:
            return "meson setup failed"
        stamp.write_text("\n".join(arguments))
    if subprocess.run([*as_owner(), "ninja", "-C", name], cwd=ROOT, check=False).returncode != 0:
        return "the build failed"
    return None


def registered_tests(directory, layer, pattern):
    """Names of the tests of a suite that contain the pattern."""
    text = subprocess.run(
        ["meson", "introspect", "--tests", directory], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return [
        test["name"]
        for test in json.loads(text)
        if any(suite.split(":")[-1] == layer for suite in test["suite"]) and pattern in test["name"]
    ]


def run_meson_layer(summary, layer, pattern):
    directory = LAYERS[layer]
    names = registered_tests(directory, layer, pattern)
    if not names:
        if layer in NEVER_EMPTY and not pattern:
            summary.broken(layer, "no test is registered in this suite")
        else:
            say("no such test")
        return
    log = ROOT / directory / "meson-logs" / f"testlog-{layer}.json"
    log.unlink(missing_ok=True)
    command = [*as_owner(), *(quiet_layout() if "san" in directory else [])]
    command += ["meson", "test", "-C", directory, "--no-rebuild", "--suite", layer]
    command += ["--logbase", f"testlog-{layer}"]
    if "san" in directory:
        command += ["--timeout-multiplier", "4"]
    if pattern:
        command += names
    subprocess.run(command, cwd=ROOT, check=False, env={**SANITIZER_ENV, **os.environ})

    results = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    for test in results:
        name = test["name"].split(" / ")[-1]
        if test["result"] in ("OK", "EXPECTEDFAIL"):
            summary.add_pass(layer, name, test["duration"])
            continue
        why = f"{test['result'].lower()}, exit code {test['returncode']}"
        summary.add_failure(layer, name, test["duration"], why)
        output = (test.get("stdout") or "") + (test.get("stderr") or "")
        say(f"\n-- {layer}: {name}: {why}")
        say("\n".join(output.splitlines()[-LOG_TAIL:]))
    if len(results) < len(names):
        summary.broken(layer, f"{len(names) - len(results)} of {len(names)} tests have no result")


def run_lab(summary, pattern):
    if os.geteuid() != 0:
        summary.broken("lab", "it boots real systemd PCs and needs root: sudo script/test lab")
        return
    report = ROOT / "build-san" / "meson-logs" / "pytest-lab.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-B", "-m", "pytest", "tests/lab", "-v", "--tb=short"]
    command += ["-p", "no:cacheprovider", f"--junitxml={report}"]
    command += ["-n", "2", "--dist", "load"]  # two labs: most of the time is waiting for systemd and ssh
    if pattern:
        command += ["-k", pattern]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode

    cases = {}
    if report.exists():
        for case in ElementTree.parse(report).iter("testcase"):
            name = f"{Path(case.get('classname', '').replace('.', '/')).name}::{case.get('name')}"
            seconds, why = cases.get(name, (0.0, None))
            for verdict in case:
                expected = verdict.get("type") == "pytest.xfail"
                if verdict.tag in ("failure", "error", "skipped") and not expected:
                    lines = (verdict.get("message") or "").splitlines()
                    why = f"{verdict.tag}: {lines[0][:200] if lines else ''}"
            cases[name] = (seconds + float(case.get("time", 0)), why)
    failed = 0
    for name, (seconds, why) in cases.items():
        if why:
            failed += 1
            summary.add_failure("lab", name, seconds, why)
        else:
            summary.add_pass("lab", name, seconds)
    # 0 all passed, 1 some failed, 5 none was selected; everything else is pytest itself in trouble
    if code not in (0, 1, 5) and not failed:
        summary.broken("lab", f"pytest ended with exit code {code}")
    if not cases and not pattern:
        summary.broken("lab", "no test was found")


def main():
    parser = argparse.ArgumentParser(prog="script/test", usage="script/test [LAYER...] [-k PATTERN]")
    parser.add_argument("layers", nargs="*", metavar="LAYER", help=", ".join(LAYERS))
    parser.add_argument("-k", dest="pattern", default="", help="only tests whose name has this in it")
    options = parser.parse_args()
    unknown = [name for name in options.layers if name not in LAYERS]
    if unknown:
        parser.error(f"no such layer: {' '.join(unknown)} (there are: {', '.join(LAYERS)})")
    layers = [name for name in LAYERS if name in options.layers or not options.layers]
    builds = list(BUILDS) if not options.layers else list(dict.fromkeys(LAYERS[name] for name in layers))

    summary = Summary()
    summary.stages.append(("packages", float(os.environ.get("BOOTSTRAP_SECONDS", 0))))
    usable = set()
    for name in builds:
        with Stage(summary, f"build {name}"):
            why = build(name)
            if why:
                summary.broken(name, why)
            else:
                usable.add(name)
    for layer in layers:
        if LAYERS[layer] not in usable:
            say(f"\n== {layer}: not run, there is no {LAYERS[layer]}")
            continue
        with Stage(summary, layer):
            if layer == "lab":
                run_lab(summary, options.pattern)
            else:
                run_meson_layer(summary, layer, options.pattern)
    if not summary.tests and not summary.failures:
        summary.broken("script/test", "no test was run")
    summary.print()
    return 1 if summary.failures else 0


if __name__ == "__main__":
    sys.exit(main())
