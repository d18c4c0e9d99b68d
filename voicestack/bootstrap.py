"""What does a fresh machine need before voicestack runs on it, and how does it get that?

`make run` and its sisters come here. Standard library only, because this runs before anything is installed,
and no syntax newer than Python 3.9, so that an old `python3` gets as far as finding a newer one.
Everything is done once: a second call finds the stamps and takes milliseconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from subprocess import DEVNULL
from typing import BinaryIO

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
LOGS = ROOT / "build" / "setup"
PYTHONS = ((3, 11), (3, 12), (3, 13))
"""What pyproject.toml allows."""

LLAMA_VERSION = "0.3.36"
"""Of llama-cpp-python, whose source package carries the whole of llama.cpp."""
LLAMA_SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
LLAMA_FLAGS = (
    *("-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=OFF", "-DCMAKE_EXE_LINKER_FLAGS=-s"),
    *("-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_APP=OFF"),
    *("-DLLAMA_BUILD_UI=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF", "-DLLAMA_OPENSSL=OFF"),
    "-DGGML_NATIVE=OFF",  # a native build crashes with q4 and q8 weights on hosts that have AMX
)
X86_FLAGS = {
    **{"GGML_SSE42": "sse4_2", "GGML_AVX": "avx", "GGML_AVX2": "avx2"},
    **{"GGML_BMI2": "bmi2", "GGML_FMA": "fma", "GGML_F16C": "f16c"},
}
"""ggml's option for each flag of /proc/cpuinfo; without GGML_NATIVE they are all on unless told otherwise."""
LLAMA_CMAKE = """\
# Where tokens are computed (ggml, llama) upstream's optimisation stays; argument parsing, JSON, HTTP and images
# take half of the compile time and nothing of an answer's. Measured: 860 s of CPU become about 560 s.
function(voicestack_compile_faster)
  foreach(target mtmd llama-common server-context llama-server-impl cpp-httplib)
    target_compile_options(${target} PRIVATE -O1)
  endforeach()
  target_compile_options(llama PRIVATE -O2)
  get_target_property(sources mtmd SOURCES)
  list(FILTER sources EXCLUDE REGEX "^models/.*[.]cpp$")
  list(TRANSFORM sources PREPEND ${CMAKE_SOURCE_DIR}/tools/mtmd/)
  set_source_files_properties(${sources} DIRECTORY tools/mtmd PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  set_target_properties(mtmd PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 24)
  target_precompile_headers(llama-common PRIVATE common/chat.h common/chat-auto-parser.h common/peg-parser.h
    common/json-schema.h <algorithm> <functional> <map> <regex>)
  target_precompile_headers(server-context PRIVATE common/chat.h <algorithm> <functional> <map> <regex>)
endfunction()
cmake_language(DEFER DIRECTORY ${CMAKE_SOURCE_DIR} CALL voicestack_compile_faster)
"""

Progress = Callable[[str], str]
"""Reads a line of a step's output; returns how far the step is, or '' when the line does not say."""


class SetupFailed(Exception):
    """A step of the set-up did not work; the message says which, where its log is and what to do."""

    def __init__(self, message: str, *, code: int = 1):
        super().__init__(message)
        self.code = code


def run_step(
    title: str,
    command: Sequence[str | Path],
    *,
    advice: str,
    env: dict[str, str] | None = None,
    progress: Progress = lambda line: "",
) -> None:
    """Run a command with its output in a log, showing how far it is.

    Raises:
        SetupFailed: it did not exit with 0.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    path = LOGS / (re.sub(r"\W+", "-", title.lower()) + ".log")
    began_s = time.monotonic()
    meter = _Meter(title)
    with path.open("w+b") as log:
        child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
        )
        try:
            for line in _lines(child, log, meter):
                meter.far = progress(line) or meter.far
        finally:
            if child.poll() is None:
                child.terminate()
            code = child.wait()
        log.seek(0)
        tail = log.read().decode("utf-8", "replace").splitlines()[-15:]
    took = spoken_time(time.monotonic() - began_s)
    if code == 0:
        meter.close(f"done in {took}")
        return
    meter.close(f"FAILED after {took} (exit code {code})")
    raise SetupFailed(
        f"'{title}' failed. The last lines of its log:\n"
        + "".join(f"  | {line}\n" for line in tail)
        + f"  Full log:   {path}\n  What to do: {advice}"
    )


class _Meter:
    """One line that moves on a terminal; elsewhere a new line now and then."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.far = ""
        self._began_s = self._told_s = time.monotonic()
        self._moves = sys.stdout.isatty()
        self._tell("...")

    def tick(self) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s >= (1 if self._moves else 10):
            self._told_s = now_s
            self._tell(", ".join([*([self.far] if self.far else []), spoken_time(now_s - self._began_s)]))

    def close(self, words: str) -> None:
        self._tell(words)
        print(end="\n" if self._moves else "", flush=True)

    def _tell(self, words: str) -> None:
        text = f"  {self.title}: {words}"
        print(f"\r\033[K{text}" if self._moves else text, end="" if self._moves else "\n", flush=True)


def _lines(child: subprocess.Popen[bytes], log: BinaryIO, meter: _Meter) -> Iterator[str]:
    assert child.stdout
    rest = b""
    while True:
        if select.select([child.stdout], [], [], 1.0)[0]:
            chunk = os.read(child.stdout.fileno(), 65_536)
            if not chunk:
                return
            log.write(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in lines)
        meter.tick()


def spoken_time(seconds_s: float) -> str:
    """`42 s`, `3 min 05 s`."""
    minutes, rest = divmod(round(seconds_s), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def ninja_progress(line: str) -> str:
    """`[40/160] Building ...` -> `25 % (40 of 160 files)`."""
    at = re.match(r"\[(\d+)/(\d+)\] ", line)
    return f"{100 * int(at[1]) // int(at[2])} % ({at[1]} of {at[2]} files)" if at else ""


def pip_progress(lock: str) -> Progress:
    """Counts the packages of the lock file as pip says that it takes them."""
    total, seen = len(re.findall(r"^[^\s#].*==", lock, re.MULTILINE)), set()

    def far(line: str) -> str:
        at = re.match(r"\s*(?:Collecting|Ignoring|Requirement already satisfied:) ([\w.-]+)", line)
        if at:
            seen.add(at[1])
            return f"{100 * len(seen) // max(total, len(seen))} % ({at[1]})"
        return "putting them in place" if line.startswith("Installing collected") else ""

    return far


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, so that two set-ups at once do the work one after the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("  Another set-up is at work; waiting for it ...", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


# --- Python and Debian packages -----------------------------------------------------------------------------


def pick_python() -> str:
    """The Python that the environment is made with: this one if it can be, else the newest that is installed.

    Raises:
        SetupFailed: there is none.
    """
    if sys.version_info[:2] in PYTHONS:
        return sys.executable
    names = [f"python{major}.{minor}" for major, minor in reversed(PYTHONS)]
    for path in filter(None, map(shutil.which, names)):
        if subprocess.run([path, "-c", ""], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return path  # not one of pyenv's shims for a Python that is not enabled
    raise SetupFailed(
        f"voicestack needs Python 3.11, 3.12 or 3.13; this is {platform.python_version()} ({sys.executable}).\n"
        "  What to do: on Debian 12 or later `apt-get install python3 python3-venv`",
        code=2,
    )


def install_debian(packages: Sequence[str], become: Sequence[str]) -> None:
    """Install through apt-get; `become` is what makes a command run as root."""
    print(f"  Missing Debian packages: {' '.join(packages)}", flush=True)
    apt = [*become, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    advice = f"run `apt-get install {' '.join(packages)}` yourself and see what it says"
    run_step("Reading Debian's package lists", [*apt, "update"], advice=advice)
    install = [*apt, "install", "-y", "--no-install-recommends", *packages]
    run_step("Installing Debian packages", install, advice=advice)


def way_to_root() -> list[str] | None:
    """What to put before a command so that it runs as root without a question; None if there is no way."""
    if not shutil.which("apt-get"):
        return None
    if os.geteuid() == 0:
        return []
    sudo = ["sudo", "-n"]
    asks = not shutil.which("sudo") or subprocess.call([*sudo, "true"], stdout=DEVNULL, stderr=DEVNULL)
    return None if asks else sudo


def missing_debian() -> list[str]:
    """Debian's names of what the set-up itself needs and does not find."""
    packages = []
    if not VENV_PYTHON.exists() and subprocess.call(
        [sys.executable, "-c", "import ensurepip"], stderr=DEVNULL
    ):
        packages.append(f"python{sys.version_info[0]}.{sys.version_info[1]}-venv")
    if not llama_server_path().exists() and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        packages.append("g++")
    return packages


# --- the Python environment ---------------------------------------------------------------------------------


def stamp_of(lock: str) -> str:
    """What the environment was made from; another value means that it has to be made again."""
    parts = [str(ROOT), (ROOT / lock).read_text(), (ROOT / "pyproject.toml").read_text()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def is_installed(lock: str) -> bool:
    """Whether the environment holds exactly what the lock file says."""
    stamp = VENV / f"{lock}.stamp"
    return VENV_PYTHON.exists() and stamp.exists() and stamp.read_text() == stamp_of(lock)


def install_python(lock: str) -> None:
    """Make `.venv`, with the packages of the lock file and voicestack itself, which stays where it is."""
    for old in VENV.glob("*.stamp"):
        old.unlink()
    advice = "check the network and the free disk space, then run the same make again"
    usable = [VENV_PYTHON, "-c", f"import pip, sys; sys.exit(sys.version_info[:2] not in {PYTHONS})"]
    if not VENV_PYTHON.exists() or subprocess.call(usable, stderr=DEVNULL):
        make = [sys.executable, "-m", "venv", "--clear", VENV]
        run_step("Creating the Python environment .venv", make, advice="delete .venv and try again")
    pip = [VENV_PYTHON, "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    wanted = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", ROOT / lock]
    far = pip_progress((ROOT / lock).read_text())
    run_step("Installing Python packages", [*pip, *wanted], advice=advice, progress=far)
    for packages in VENV.glob("lib/python3*/site-packages"):
        (packages / "voicestack.pth").write_text(f"{ROOT}\n")
    command_file = VENV / "bin" / "voicestack"
    command_file.write_text(f'#!/bin/sh\nexec "{VENV_PYTHON}" -P -m voicestack "$@"\n')
    command_file.chmod(0o755)
    (VENV / f"{lock}.stamp").write_text(stamp_of(lock))


# --- llama.cpp's server -------------------------------------------------------------------------------------


def llama_flags(machine: str, cpuinfo: str) -> tuple[str, ...]:
    """CMake's arguments for a machine: `platform.machine()` and the text of /proc/cpuinfo."""
    if machine not in ("x86_64", "AMD64"):
        return LLAMA_FLAGS
    found = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    has = found[1].split() if found else []
    return (*LLAMA_FLAGS, *(f"-D{name}={'ON' if flag in has else 'OFF'}" for name, flag in X86_FLAGS.items()))


def _flags_here() -> tuple[str, ...]:
    cpuinfo = Path("/proc/cpuinfo")
    return llama_flags(platform.machine(), cpuinfo.read_text() if cpuinfo.exists() else "")


def llama_server_path() -> Path:
    """Where llama.cpp's server is, or will be once it is built.

    `VOICESTACK_LLAMA_SERVER` names another one. Clones of one user share it: the folder's name has everything
    that the build depends on.
    """
    override = os.environ.get("VOICESTACK_LLAMA_SERVER")
    if override:
        return Path(override)
    recipe = "\0".join([platform.machine(), *_flags_here(), LLAMA_CMAKE])
    name = f"llama-server-{LLAMA_VERSION}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "voicestack" / name / "llama-server"


def build_llama() -> None:
    """Download, compile and install llama.cpp's server, in a folder of its own until it is complete.

    Raises:
        SetupFailed: a step failed.
    """
    path = llama_server_path()
    if "VOICESTACK_LLAMA_SERVER" in os.environ and not path.exists():
        raise SetupFailed(f"VOICESTACK_LLAMA_SERVER names {path}, which does not exist", code=2)
    cache = path.parent.parent
    with locked(cache / "build.lock"):
        for left_over in cache.glob("llama-build-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        if path.exists():
            return
        work = Path(tempfile.mkdtemp(prefix="llama-build-", dir=cache))
        try:
            _compile_llama(work)
            shutil.rmtree(path.parent, ignore_errors=True)
            (work / "build" / "bin").rename(path.parent)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _compile_llama(work: Path) -> None:
    tools, n_jobs = work / "tools", len(os.sched_getaffinity(0))
    pip = [VENV_PYTHON, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    env = {"PYTHONPATH": str(tools), "PATH": f"{tools / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"}
    network = "check the network, then run the same make again"
    locked_tools = [
        "--no-deps",
        "--require-hashes",
        "--only-binary",
        ":all:",
        "-r",
        ROOT / "requirements-build.lock",
    ]
    run_step("Fetching cmake and ninja", [*pip, "install", "--target", tools, *locked_tools], advice=network)
    (work / "source.txt").write_text(f"llama-cpp-python=={LLAMA_VERSION} --hash=sha256:{LLAMA_SHA256}\n")
    # pip asks the package for its metadata, with the build tools of the lock file and not with fresh ones
    source = ["--no-deps", "--no-build-isolation", "--no-binary", "llama-cpp-python", "--require-hashes"]
    download = [*pip, "download", *source, "-d", work, "-r", work / "source.txt"]
    run_step("Downloading llama.cpp", download, advice=network, env=env)
    (archive,) = work.glob("*.tar.gz")
    unpack = [
        "tar",
        "-xzf",
        archive,
        "-C",
        work,
        "--strip-components=1",
        f"llama_cpp_python-{LLAMA_VERSION}/vendor/llama.cpp",
    ]
    run_step("Unpacking llama.cpp", unpack, advice="check the free disk space (1 GB is enough)")
    (work / "faster.cmake").write_text(LLAMA_CMAKE)
    aim = ["-S", work / "vendor" / "llama.cpp", "-B", work / "build", "-G", "Ninja", *_flags_here()]
    faster = f"-DCMAKE_PROJECT_llama.cpp_INCLUDE={work / 'faster.cmake'}"
    compiler = "check that g++ works; or set VOICESTACK_LLAMA_SERVER to a llama-server that you have"
    run_step("Configuring llama.cpp", ["cmake", *aim, faster], advice=compiler, env=env)
    make = ["cmake", "--build", work / "build", "--target", "llama-server", "-j", str(n_jobs)]
    title = f"Compiling llama.cpp on {n_jobs} core{'s' if n_jobs > 1 else ''}"
    run_step(title, make, advice=compiler, env=env, progress=ninja_progress)
    run_step("Trying llama-server", [work / "build" / "bin" / "llama-server", "--version"], advice=compiler)


# --- all of it ----------------------------------------------------------------------------------------------

LOCKS = {"run": "requirements.lock", "test": "requirements-dev.lock", "check": "requirements-dev.lock"}
"""What the environment holds for each purpose. The one for tests is the one for running, and more."""


def set_up(purpose: str) -> None:
    """Install whatever the purpose still lacks.

    Raises:
        SetupFailed: something could not be had.
    """

    def is_python_done() -> bool:
        return is_installed(LOCKS[purpose]) or (purpose == "run" and is_installed(LOCKS["test"]))

    def is_llama_done() -> bool:
        return purpose == "check" or llama_server_path().exists()

    if is_python_done() and is_llama_done():
        return
    began_s = time.monotonic()
    print(
        f"voicestack: setting up with Python {platform.python_version()}. This is done once; the longest step,"
    )
    print("compiling llama.cpp, takes 5 to 10 minutes on 2 cores.", flush=True)
    with locked(LOGS / "lock"):
        missing, become = missing_debian(), way_to_root()
        if missing and become is None:
            command = f"sudo apt-get update && sudo apt-get install -y {' '.join(missing)}"
            raise SetupFailed(f"Run this once, then the same make again:\n\n    {command}\n", code=2)
        if purpose == "test" and not shutil.which("flite") and become is not None:
            missing.append("flite")  # a voice that is not the agent's, for questions that no file holds
        if missing:
            install_debian(missing, become or [])
        if not is_python_done():
            install_python(LOCKS[purpose])
        if not is_llama_done():
            build_llama()
    print(f"voicestack: set up in {spoken_time(time.monotonic() - began_s)}.\n", flush=True)


def main(argv: Sequence[str]) -> int:
    """Set up for `run`, `test` or `check`. Returns the exit code."""
    if len(argv) != 1 or argv[0] not in LOCKS:
        print(f"usage: python3 -m voicestack.bootstrap {'|'.join(LOCKS)}", file=sys.stderr)
        return 2
    try:
        python = pick_python()
        if python != sys.executable:
            os.execv(python, [python, __file__, *argv])
        set_up(argv[0])
    except SetupFailed as failure:
        print(f"\nvoicestack: {failure}", file=sys.stderr)
        return failure.code
    except KeyboardInterrupt:
        print("\nvoicestack: stopped; the same command goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
