"""`voicestack serve`: run the server."""

import argparse
import os
import sys
from importlib.resources import files
from pathlib import Path

import uvloop

from voicestack.aio.clock import SystemClock
from voicestack.config.load import load
from voicestack.config.schema import Config
from voicestack.server.assembly_llm import llm_command
from voicestack.server.lifecycle import Running, keys_file_of, serve
from voicestack.server.needed_models import require_models
from voicestack.server.readiness import QUESTION_FILE
from voicestack.telemetry.logs import set_up_logs

QUESTION = Path(str(files("voicestack.server") / QUESTION_FILE))
"""A spoken question that is always there."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument(
        "--config", default=None, metavar="PROFILE|FILE", help="a profile's name or a TOML file (embedded)"
    )
    parser.add_argument("--host", default=None, help="address to listen on")
    parser.add_argument("--port", type=int, default=None, help="port to listen on; 0 takes any")
    parser.add_argument("--tls", action="store_true", help="encrypt, with a self-signed certificate")
    parser.add_argument("--tls-cert", metavar="FILE", help="encrypt, with this certificate (PEM)")
    parser.add_argument("--tls-key", metavar="FILE", help="its private key (PEM)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set one key, e.g. llm.max_tokens=40"
    )
    parser.add_argument(
        "--show-llm-command",
        action="store_true",
        help="print the command line of the language model's server, and start nothing",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until stopped. Raises ConfigError when the configuration cannot be used."""
    sets = list(args.set)
    sets += [f"server.host={args.host}"] if args.host else []
    sets += [f"server.port={args.port}"] if args.port is not None else []
    sets += ["tls.self_signed=true"] if args.tls else []
    sets += [f"tls.cert_file={args.tls_cert}"] if args.tls_cert else []
    sets += [f"tls.key_file={args.tls_key}"] if args.tls_key else []
    config = load(args.config, env=os.environ, sets=sets).config
    require_models(config)
    set_up_logs(config.telemetry.log_level, config.telemetry.log_format, sys.stderr)
    if args.show_llm_command:
        print(llm_command(config, SystemClock()) or "llm.engine starts no server")
        return 0
    print(f"voicestack: profile {config.profile}; starting the engines ...", flush=True)
    told = False

    def on_ready(running: Running) -> None:
        nonlocal told
        if told:
            return
        told = True
        address = f"{_reachable(config.server.host)}:{running.port}"
        s = "s" if config.tls.is_on else ""
        insecure = " --insecure" if config.tls.self_signed else ""
        print(
            f"\n  voicestack is ready on http{s}://{address}"
            f"   (a spoken test turn was answered in {running.turn.response_ms:.0f} ms)\n\n"
            f"  talk to it   open http{s}://{address}/ in a browser and click Start talking\n"
            f"  or           {_program()} talk {_near(QUESTION)} --url ws{s}://{address}{insecure}\n"
            f"  any client   ws{s}://{address}/v1/realtime   (OpenAI Realtime API)\n"
            f"  let in       {_who_comes_in(config)}\n"
            f"  figures      http{s}://{address}/metrics\n"
            "  stop         Ctrl-C\n",
            flush=True,
        )

    uvloop.run(serve(config, on_ready))
    return 0


def _who_comes_in(config: Config) -> str:
    if config.access.open_to_anyone:
        return "anybody who reaches this address, without a key"
    if keys_file_of(config).stamp() is None:
        return "anybody on this machine, without a key"
    return "whoever has an API key (voicestack keys list)"


def _reachable(host: str) -> str:
    """An address to type, for one that may stand for all addresses."""
    named = "127.0.0.1" if host in ("", "0.0.0.0", "::") else host
    return f"[{named}]" if ":" in named else named


def _program() -> str:
    """How this program was called, for a line that can be pasted."""
    path = Path(sys.argv[0])
    return "python -m voicestack" if path.name == "__main__.py" else _near(path)


def _near(path: Path) -> str:
    """The path as one would type it here."""
    full = path.absolute()
    return str(full.relative_to(Path.cwd())) if full.is_relative_to(Path.cwd()) else str(full)
