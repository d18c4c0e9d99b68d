"""What must be carried to a GPU host that has Python, torch and transformers, and no network?

`python -m tests.bench.gpu.bundle` fetches the wheels by name, leaves out what a Hopper GPU and a dense model
do not need, and packs the rest into archives that are small enough to be handed over one by one.
"""

import argparse
import lzma
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

LIMIT_BYTES = 64 * 2**20
"""Of one archive."""
VLLM = "vllm==0.26.0"
"""The last release for torch 2.11."""

RESOLVED = (
    *("blake3", "cachetools", "cbor2", "cloudpickle", "einops", "fastapi==0.136.3", "httpx", "httpx2"),
    *("ijson", "jsonschema", "llguidance>=1.7,<1.8", "loguru", "model-hosting-container-standards<1"),
    *("msgspec", "openai>=2", "openai-harmony", "orjson", "partial-json-parser"),
    *("prometheus-fastapi-instrumentator>=8", "psutil", "py-cpuinfo", "pybase64", "pydantic>=2.12"),
    *("python-json-logger", "python-multipart", "pyzmq", "regex", "requests", "rich", "setproctitle"),
    *("six", "tiktoken", "uvicorn", "uvloop", "watchfiles", "websockets"),
)
"""What vLLM and voicestack import, with whatever these depend on."""
ALONE = (
    *("apache-tvm-ffi==0.1.10", "astor", "compressed-tensors==0.17.0", "depyf==0.20.0", "dill", "diskcache"),
    *("lark==1.2.2", "xgrammar<1"),
)
"""The same, without what these depend on: torch, transformers and numpy are there already."""
SPEECH = ("ctranslate2", "faster-whisper", "espeakng-loader")
AUDIO = ("av", "onnxruntime", "flatbuffers")
VOICE = ("ml-dtypes", "num2words", "onnx", "pathvalidate", "piper-tts", "protobuf")
"""All alone. The first is Whisper and a voice, the second what faster-whisper imports beside it; the third is
Piper, and what makes a voice of random numbers for it."""

LEFT_OUT = (
    r"vllm/vllm_flash_attn/_vllm_fa2_C",  # FlashAttention 2: Hopper has 3
    r"vllm/_moe_C_stable_libtorch",  # mixtures of experts
    r"vllm/(_flashmla|_qutlass|cumem_x|vllm-rs)",
    r"vllm/third_party/(deep_gemm|flashmla|fmha_sm100|qutlass)/",
    r".*/(tests?|__pycache__)/",
)
"""Members of the wheels, by the beginning of their path, that a dense model on a Hopper GPU does not need."""
KERNELS = r"vllm/_C_stable_libtorch"
"""By far the largest file: it fills an archive."""

PYTHON, PLATFORMS = "3.12", ("2_35", "2_34", "2_31", "2_28", "2_27", "2_26", "2_24", "2_17", "2_12", "2_5")


def download_command(names: Sequence[str], target: Path, *, alone: bool) -> list[str]:
    """How pip is asked for wheels of another Python than this one."""
    line = [sys.executable, "-m", "pip", "download", "-qq", "--dest", str(target)]
    line += ["--only-binary=:all:", "--python-version", PYTHON, "--implementation", "cp"]
    for platform in (*(f"manylinux_{tag}_x86_64" for tag in PLATFORMS), "manylinux2014_x86_64", "any"):
        line += ["--platform", platform]
    return [*line, *(["--no-deps"] if alone else []), *names]


def is_kept(member: str) -> bool:
    """Whether a file of a wheel travels."""
    return not any(re.match(pattern, member) for pattern in LEFT_OUT) and not member.endswith("/")


def place_of(member: str) -> str | None:
    """Where a file of a wheel lies when it is installed; None for scripts and headers."""
    parts = PurePosixPath(member).parts
    if not parts[0].endswith(".data"):
        return member
    return str(PurePosixPath(*parts[2:])) if parts[1] in ("purelib", "platlib") else None


def unpack(wheels: Iterable[Path], site: Path) -> None:
    """Install wheels for another Python: a wheel is an archive of what it installs."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                place = place_of(member) if is_kept(member) else None
                if place is not None:
                    path = site / place
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(archive.read(member))


def pack(archive: Path, site: Path, files: Sequence[Path]) -> int:
    """Write an archive. Returns its size in bytes."""
    with tarfile.open(archive, "w:xz", preset=6) as tar:
        for path in sorted(files):
            tar.add(path, arcname=str(path.relative_to(site)), recursive=False)
    return archive.stat().st_size


def main(argv: Sequence[str] | None = None) -> int:
    """Make the archives. Returns 1 when one is too large."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/gpu"), help="where the archives go")
    parser.add_argument("--only", default="vllm,speech,audio,voice", help="groups (default: %(default)s)")
    args = parser.parse_args(argv)
    groups: dict[str, list[tuple[tuple[str, ...], bool]]] = {
        "vllm": [(RESOLVED, False), ((*ALONE, VLLM), True)],
        "speech": [(SPEECH, True)],
        "audio": [(AUDIO, True)],
        "voice": [(VOICE, True)],
    }
    fits = True
    for group in args.only.split(","):
        wheels, site = args.out / "wheels" / group, args.out / "trees" / group
        for names, alone in groups[group]:
            subprocess.run(download_command(names, wheels, alone=alone), check=True)
        unpack(sorted(wheels.glob("*.whl")), site)
        files = [path for path in site.rglob("*") if path.is_file()]
        large = [path for path in files if re.match(KERNELS, str(path.relative_to(site)))]
        parts = {group: [path for path in files if path not in large]}
        if large:
            parts[f"{group}-kernels"] = large
        for name, chosen in parts.items():
            size = pack(args.out / f"{name}.tar.xz", site, chosen)
            fits = fits and size <= LIMIT_BYTES
            verdict = "" if size <= LIMIT_BYTES else f", more than {LIMIT_BYTES / 2**20:.0f}"
            sys.stdout.write(f"{name}.tar.xz: {size / 2**20:.1f} MiB, {len(chosen)} files{verdict}\n")
    return 0 if fits else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (subprocess.CalledProcessError, OSError, lzma.LZMAError) as failed:
        sys.exit(f"bundle: {failed}")
