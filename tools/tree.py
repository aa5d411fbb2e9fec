"""What the checks of this folder share: the list of files, C without its comments, findings, self-tests.

A check is a program of its own that prints `file:line: message` for each finding and exits 1 if there was one. Run with
--self-test it builds small trees that break its rules and proves that it sees each of them: a check that has gone blind
must not look like a clean tree.
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile

C_SUFFIXES = ('.c', '.h')
C_AND_CXX_SUFFIXES = ('.c', '.h', '.cpp')


class Findings:
    """Collected `file:line: message` lines, without doubles."""

    def __init__(self):
        self.rows = []

    def add(self, path, line, message):
        row = (path, line, message)
        if row not in self.rows:
            self.rows.append(row)

    def __bool__(self):
        return bool(self.rows)

    def print(self):
        for path, line, message in self.rows:
            print(f'{path}:{line}: {message}')

    def has(self, path, line, part):
        return any(p == path and (line is None or n == line) and part in m for p, n, m in self.rows)


def walk(root):
    """The files below root when there is no git: all but hidden ones and build folders."""
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(d for d in subfolders if not d.startswith('.') and d != '__pycache__'
                               and not os.path.exists(os.path.join(folder, d, 'meson-private')))
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), root)


def git_files(root):
    """Tracked files and those that would be tracked; None without git or where git refuses the folder."""
    if not os.path.exists(os.path.join(root, '.git')):
        return None
    with contextlib.suppress(FileNotFoundError):
        run = subprocess.run(['git', '-C', root, 'ls-files', '-co', '--exclude-standard', '-z'],
                             capture_output=True, check=False)
        if run.returncode == 0:
            return [os.fsdecode(name) for name in run.stdout.split(b'\0') if name]
    return None


def files(root, suffixes=None, below=None):
    """Paths relative to root, sorted. suffixes: only those; below: only in these top folders."""
    names = git_files(root)
    if names is None:
        names = walk(root)
    return sorted({n for n in names
                   if (not suffixes or n.endswith(suffixes))
                   and (not below or n.split('/', 1)[0] in below)
                   and os.path.isfile(os.path.join(root, n))})


def read(root, path):
    with open(os.path.join(root, path), encoding='utf-8', errors='replace') as f:
        return f.read()


TOKEN = re.compile(r'''//[^\n]*|/\*.*?(?:\*/|\Z)|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*\'''', re.S)


def blank(text):
    """The same shape without the content: newlines stay, so line numbers do too."""
    return re.sub(r'[^\n]', ' ', text)


def without_comments(text):
    """C with comments blanked, strings kept."""
    return TOKEN.sub(lambda m: blank(m[0]) if m[0].startswith(('//', '/*')) else m[0], text)


def bare(text):
    """C with comments and the content of literals blanked."""
    def shorten(m):
        token = m[0]
        return blank(token) if token.startswith(('//', '/*')) else token[0] + blank(token[1:-1]) + token[-1]
    return TOKEN.sub(shorten, text)


def line_of(text, offset):
    return text.count('\n', 0, offset) + 1


def is_test(path):
    """Tests may use what the program may not: they play the hostile peer."""
    return path.startswith('tests/') or os.path.basename(path).startswith('test-')


@contextlib.contextmanager
def scratch(content):
    """A temporary tree: {path: text}. A text that begins with '#!' becomes executable."""
    with tempfile.TemporaryDirectory(prefix='check-') as root:
        for path, text in content.items():
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, 'w', encoding='utf-8', newline='') as f:
                f.write(text)
            if text.startswith('#!'):
                os.chmod(full, 0o755)
        yield root


class SelfTest:
    """Counts expectations; a failed one says what was found instead."""

    def __init__(self):
        self.count = 0
        self.failed = 0

    def _note(self, ok, text, findings):
        self.count += 1
        if not ok:
            self.failed += 1
            print(f'self-test: {text}; findings: {findings.rows}')

    def sees(self, findings, path, line, part):
        self._note(findings.has(path, line, part), f'did not see {path}:{line}: ...{part}...', findings)

    def clean(self, findings, what):
        self._note(not findings, f'saw something wrong in {what}', findings)

    def same(self, got, want, what):
        self._note(got == want, f'{what}: got {got!r}, want {want!r}', Findings())

    def result(self):
        print(f'self-test: {self.count} expectations, {self.failed} failed')
        return 1 if self.failed or not self.count else 0


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('--root', default=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                        help='the tree to check (default: the one this program is in)')
    parser.add_argument('--self-test', action='store_true', help='prove that violations are seen, then exit')
    return parser


def main(description, check, self_test):
    """For checks that need nothing but the tree: check(root, findings) and self_test(SelfTest)."""
    options = arguments(description).parse_args()
    if options.self_test:
        test = SelfTest()
        self_test(test)
        return test.result()
    findings = Findings()
    check(options.root, findings)
    return finish(findings)


def finish(findings):
    findings.print()
    return 1 if findings else 0


if __name__ == '__main__':
    sys.exit('a module of the checks beside it, not a program')
