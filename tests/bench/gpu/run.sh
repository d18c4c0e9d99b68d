#!/usr/bin/env bash
# On the GPU host, in a checkout: unpacks the archives that lie in build/gpu and runs the bench with them.
#   tests/bench/gpu/run.sh --part llm
#   OUT=/some/folder tests/bench/gpu/run.sh --part speech --set asr.engine=whisper
set -euo pipefail
root=$(cd "$(dirname "$0")/../../.." && pwd)
bundle=${BUNDLE:-$root/build/gpu}
site=${SITE:-$bundle/site}
out=${OUT:-$bundle}
python=${PYTHON:-python3}

mkdir -p "$site" "$out"
for archive in "$bundle"/*.tar.xz; do
    [ -e "$archive" ] || { echo "run.sh: there are no archives in $bundle; see README.md" >&2; exit 2; }
    done_mark="$site/.$(basename "$archive").unpacked"
    if [ ! "$done_mark" -nt "$archive" ]; then
        tar -xJf "$archive" -C "$site"
        "$python" -m compileall -q -j 0 "$site" || true  # some of it is for other Pythons
        touch "$done_mark"
    fi
done

# CTranslate2 opens cuBLAS 12 by name and calls what cuBLAS 13 has under the same names.
cublas=$("$python" -c 'import glob, site; print("\n".join(p for d in site.getsitepackages() for p in glob.glob(d + "/nvidia/**/libcublas.so.13", recursive=True)))' | head -n 1)
if [ -n "$cublas" ]; then
    mkdir -p "$site/cuda12"
    ln -sf "$cublas" "$site/cuda12/libcublas.so.12"
    ln -sf "$(dirname "$cublas")/libcublasLt.so.13" "$site/cuda12/libcublasLt.so.12"
    export LD_LIBRARY_PATH="$site/cuda12:$(dirname "$cublas")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
fi

export PYTHONPATH="$site:$root${PYTHONPATH:+:$PYTHONPATH}"
cd "$root"
exec "$python" -m tests.bench.gpu.run --device cuda --work "$bundle/work" --json "$out/bench-gpu-$(date +%H%M%S).json" "$@"
