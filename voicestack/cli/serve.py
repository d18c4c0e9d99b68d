"""`voicestack serve`: run the server."""

import argparse
import os
import sys

import uvloop

from voicestack.config.load import load
from voicestack.server.lifecycle import Running, serve
from voicestack.telemetry.logs import set_up_logs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument(
        "--config", default=None, metavar="PROFILE|FILE", help="a profile's name or a TOML file (embedded)"
    )
    parser.add_argument("--host", default=None, help="address to listen on")
    parser.add_argument("--port", type=int, default=None, help="port to listen on; 0 takes any")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set one key, e.g. llm.max_tokens=40"
    )


def run(args: argparse.Namespace) -> int:
    """Serve until stopped. Raises ConfigError when the configuration cannot be used."""
    sets = list(args.set)
    sets += [f"server.host={args.host}"] if args.host else []
    sets += [f"server.port={args.port}"] if args.port is not None else []
    config = load(args.config, env=os.environ, sets=sets).config
    set_up_logs(config.telemetry.log_level, config.telemetry.log_format, sys.stderr)
    print(f"voicestack: profile {config.profile}; starting the engines ...", flush=True)
    told = False

    def on_ready(running: Running) -> None:
        nonlocal told
        if told:
            return
        told = True
        address = f"{config.server.host}:{running.port}"
        print(
            f"\n  voicestack is ready on http://{address}"
            f"   (a spoken test turn was answered in {running.turn.response_ms:.0f} ms)\n\n"
            f"  talk to it   .venv/bin/voicestack talk question.wav --url ws://{address}\n"
            f"  any client   ws://{address}/v1/realtime   (OpenAI Realtime API)\n"
            f"  figures      http://{address}/metrics\n"
            "  stop         Ctrl-C\n",
            flush=True,
        )

    uvloop.run(serve(config, on_ready))
    return 0
