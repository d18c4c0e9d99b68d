"""A stand-in for vLLM's interpreter: says a version and options, and is healthy on a Unix socket.

Writes its arguments to `arguments` beside itself at every start.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

METRICS = b"# TYPE vllm:prompt_tokens counter\nvllm:prompt_tokens_total 12.0\n"
OPTIONS = ("model", "served-model-name", "uds", "max-model-len", "max-num-seqs", "max-num-queued-reqs")


def interpreter(folder: Path) -> Path:
    """An executable that runs this file instead of vLLM."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{__file__}" "{folder}" "$@"\n')
    path.chmod(0o755)
    return path


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    body = METRICS if b"/metrics" in head else b"{}"
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    await writer.drain()
    writer.close()


async def _serve(socket: str) -> None:
    server = await asyncio.start_unix_server(_answer, socket)
    await server.serve_forever()


def main(folder: Path, arguments: list[str]) -> None:
    """What an interpreter with vLLM does, as far as it is asked."""
    if arguments[0] == "-c":
        sys.stdout.write("0.30.0\n")
    elif "--help=all" in arguments:
        sys.stdout.write("".join(f"  --{option} X\n" for option in OPTIONS))
    else:
        (folder / "arguments").write_text(json.dumps([os.environ.get("PYTHONPATH"), arguments]))
        asyncio.run(_serve(arguments[arguments.index("--uds") + 1]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
