"""Line and branch coverage of src/ in a build with -Db_coverage=true, after its tests have run.

    coverage.py BUILD [FILE...]     a table; for each FILE (src/api/x.c) also what was not reached

Files that no test program is even linked with count, with nothing of them reached. Tests themselves do not count.
Branches are gcc's; the build should not optimize, so that they are those of the source.
"""

import collections
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# BAR: every branch of these
WHOLE = ("src/api/reconcile.c", "src/api/incident.c", "src/api/gate.c", "src/common/name.c")


class File:
    def __init__(self):
        self.lines = collections.Counter()
        self.branches = collections.Counter()

    def percent(self, counter):
        reached = sum(count > 0 for count in counter.values())
        return 100 * reached / len(counter) if counter else 100.0


def measure(build):
    files = collections.defaultdict(File)
    for notes in sorted(build.glob("src/**/*.gcno")):
        command = ["gcov", "--branch-probabilities", "--json-format", "--stdout", str(notes)]
        done = subprocess.run(command, capture_output=True, cwd=build, check=False)
        if done.returncode != 0:
            sys.exit(f"{notes}: {done.stderr.decode(errors='replace').strip()}")
        for part in done.stdout.splitlines():
            for source in json.loads(part)["files"]:
                name = os.path.relpath(os.path.join(build, source["file"]), ROOT)
                if not name.startswith("src/") or "/test-" in name:
                    continue
                file = files[name]
                for line in source["lines"]:
                    number = line["line_number"]
                    file.lines[number] += line["count"]
                    for i, branch in enumerate(line["branches"]):
                        if not branch["throw"]:
                            file.branches[(number, i)] += branch["count"]
    return files


def total(files, folder):
    reached = all_lines = 0
    for name, file in files.items():
        if name.startswith(folder):
            reached += sum(count > 0 for count in file.lines.values())
            all_lines += len(file.lines)
    return 100 * reached / all_lines if all_lines else 100.0


def main():
    build, wanted = Path(sys.argv[1]).resolve(), sys.argv[2:]
    files = measure(build)
    for name in sorted(files):
        file = files[name]
        print(f"{name:44} lines {file.percent(file.lines):5.1f} %  branches {file.percent(file.branches):5.1f} %")
    for folder in sorted({"/".join(name.split("/")[:2]) for name in files}) + ["src"]:
        print(f"{folder:44} lines {total(files, folder + '/'):5.1f} %")
    for name in wanted:
        text = (ROOT / name).read_text().splitlines()
        for number in sorted(n for n, count in files[name].lines.items() if not count):
            print(f"{name}:{number}: not reached: {text[number - 1].strip()}")
        missing = collections.Counter(n for (n, _), count in files[name].branches.items() if not count)
        for number in sorted(missing):
            print(f"{name}:{number}: {missing[number]} branches: {text[number - 1].strip()}")
    broken = [name for name in WHOLE if files[name].percent(files[name].branches) < 100]
    print(f"soak: R44: lines {total(files, 'src/'):.1f} %; branches not all reached in: {' '.join(broken) or 'none'}")


if __name__ == "__main__":
    main()
