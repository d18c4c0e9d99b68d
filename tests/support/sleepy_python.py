"""An interpreter that seems to have vLLM: whoever starts the server with it gets the pretended one."""

import sys
from pathlib import Path

from tests.support import sleepy_vllm

FLAGS = (
    "--max-model-len --max-num-seqs --max-num-batched-tokens --scheduling-policy --enable-sleep-mode "
    "--gpu-memory-utilization --enable-prefix-caching"
)


def write_python(folder: Path) -> Path:
    """Write it, and return its path. The command line of each server is kept beside it."""
    path = folder / "python"
    path.write_text(
        f"""#!/bin/sh
case "$1" in
-c) echo 0.32.0; exit 0;;
esac
shift 2
if [ "$1" = "--help=all" ]; then echo "{FLAGS}"; exit 0; fi
echo "dev=$VLLM_SERVER_DEV_MODE $*" >> {folder}/lines
while [ "$1" != "--uds" ]; do shift; done
exec {sys.executable} -I -S {sleepy_vllm.__file__} "$2"
"""
    )
    path.chmod(0o755)
    return path
