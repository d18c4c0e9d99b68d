"""Where is llama.cpp's server, and how is it built?

It comes as source, inside the package `llama-cpp-python`, and only the one program is compiled. The result
lies in the user's cache, under a name that holds everything the build depends on: clones share it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import tempfile
from pathlib import Path

from voicestack.bootstrap.environment import LOCKED, PIP
from voicestack.bootstrap.steps import ROOT, SetupFailed, locked, run_step

PATH_VARIABLE = "VOICESTACK_LLAMA_SERVER"
"""Names another llama-server to use; then none is built."""

VERSION = "0.3.36"
"""Of llama-cpp-python; its llama.cpp is of the same week."""
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"

FLAGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DCMAKE_EXE_LINKER_FLAGS=-s",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",  # would be downloaded
    "-DLLAMA_OPENSSL=OFF",  # it listens on loopback only
    "-DGGML_NATIVE=OFF",  # a native build crashes with q4 and q8 weights on hosts that have AMX
)
X86_FLAGS = {
    "GGML_SSE42": "sse4_2",
    "GGML_AVX": "avx",
    "GGML_AVX2": "avx2",
    "GGML_BMI2": "bmi2",
    "GGML_FMA": "fma",
    "GGML_F16C": "f16c",
}
"""ggml's option for each flag of /proc/cpuinfo. Without GGML_NATIVE they are on unless told otherwise."""

FASTER = """\
# Tokens are computed in ggml and llama: those keep upstream's optimisation, or nearly. Argument parsing,
# JSON, HTTP and images take half of the compile time and no part of an answer's.
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
"""Included by llama.cpp's own CMake files after `project()`; about a third less to compile."""


def llama_server_path() -> Path:
    """Where llama.cpp's server is, or will be once `build` has run."""
    override = os.environ.get(PATH_VARIABLE)
    if override:
        return Path(override)
    recipe = "\0".join([platform.machine(), *_flags_here(), FASTER])
    name = f"llama-server-{VERSION}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "voicestack" / name / "llama-server"


def flags(machine: str, cpuinfo: str) -> tuple[str, ...]:
    """CMake's arguments for a machine.

    Args:
        machine: What `platform.machine()` says.
        cpuinfo: The text of /proc/cpuinfo.
    """
    if machine != "x86_64":
        return FLAGS
    line = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    has = line[1].split() if line else []
    return (*FLAGS, *(f"-D{option}={'ON' if flag in has else 'OFF'}" for option, flag in X86_FLAGS.items()))


def _flags_here() -> tuple[str, ...]:
    cpuinfo = Path("/proc/cpuinfo")
    return flags(platform.machine(), cpuinfo.read_text() if cpuinfo.exists() else "")


def missing_for_build() -> list[str]:
    """Debian's name of what `build` still needs; nothing if it has run already."""
    if llama_server_path().exists() or any(map(shutil.which, ("c++", "g++", "clang++"))):
        return []
    return ["g++"]


def build() -> None:
    """Download, compile and install llama.cpp's server, in a folder of its own until it is complete.

    Raises:
        SetupFailed: a step failed.
    """
    path = llama_server_path()
    if os.environ.get(PATH_VARIABLE) and not path.exists():
        raise SetupFailed(f"{PATH_VARIABLE} names {path}, which does not exist", code=2)
    cache = path.parent.parent
    with locked(cache / "build.lock"):
        for left_over in cache.glob("build-*/"):  # of a set-up that was killed
            shutil.rmtree(left_over, ignore_errors=True)
        if path.exists():
            return
        work = Path(tempfile.mkdtemp(prefix="build-", dir=cache))
        try:
            _compile(_source(work), work)
            (work / "build" / "bin").rename(path.parent)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _source(work: Path) -> Path:
    """Fetch the build tools and the sources; returns the folder of llama.cpp."""
    advice = "check the network and the free disk space (1 GB), then run the same make again"
    tools: list[str | Path] = [*PIP, "install", *LOCKED, "--target", work / "tools"]
    tools += ["-r", ROOT / "requirements-build.lock"]
    run_step("Fetching cmake and ninja", tools, advice=advice)
    wanted = work / "source.txt"
    wanted.write_text(f"llama-cpp-python=={VERSION} --hash=sha256:{SHA256}\n")
    download: list[str | Path] = [*PIP, "download", "--no-deps", "--require-hashes", "-d", work, "-r", wanted]
    # pip asks a source package for its metadata: without isolation that takes the locked build tools
    download += ["--no-binary", "llama-cpp-python", "--no-build-isolation"]
    run_step("Downloading llama.cpp", download, advice=advice, env=_tools_env(work))
    (archive,) = work.glob("*.tar.gz")
    member = f"llama_cpp_python-{VERSION}/vendor/llama.cpp"
    unpack: list[str | Path] = ["tar", "-xzf", archive, "-C", work, member]
    run_step("Unpacking llama.cpp", unpack, advice=advice)
    return work / member


def _compile(source: Path, work: Path) -> None:
    faster, build = work / "faster.cmake", work / "build"
    faster.write_text(FASTER)
    advice = f"check that g++ works, or set {PATH_VARIABLE} to a llama-server that you have"
    configure: list[str | Path] = ["cmake", "-G", "Ninja", "-S", source, "-B", build, *_flags_here()]
    configure += [f"-DCMAKE_PROJECT_llama.cpp_INCLUDE={faster}"]
    run_step("Configuring llama.cpp", configure, advice=advice, env=_tools_env(work))
    n_cores = len(os.sched_getaffinity(0))
    run_step(
        f"Compiling llama.cpp on {n_cores} core{'s' if n_cores > 1 else ''}",
        ["cmake", "--build", build, "--target", "llama-server", "-j", str(n_cores)],
        advice=advice,
        env=_tools_env(work),
        progress=ninja_progress,
    )
    run_step("Trying llama-server", [build / "bin" / "llama-server", "--version"], advice=advice)


def _tools_env(work: Path) -> dict[str, str]:
    path = os.pathsep.join([str(work / "tools" / "bin"), os.environ.get("PATH", os.defpath)])
    return {"PATH": path, "PYTHONPATH": str(work / "tools")}


def ninja_progress(line: str) -> str:
    """`[40/160] Building ...` -> `25 % (40 of 160 files)`."""
    at = re.match(r"\[(\d+)/(\d+)\] ", line)
    return f"{100 * int(at[1]) // int(at[2])} % ({at[1]} of {at[2]} files)" if at else ""
