"""What do `make run`, `make test` and `make check` still need? The second time, nothing.

    python3 -m voicestack.bootstrap run|test|check|web

Neither this file nor its neighbours have syntax newer than Python 3.9: an old `python3` finds a newer one.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence

from voicestack.bootstrap import clients, llama, vllm, web
from voicestack.bootstrap.environment import (
    install,
    install_debian,
    is_installed,
    missing_for_venv,
    pick_python,
)
from voicestack.bootstrap.steps import LOGS, ROOT, SetupFailed, locked, say, timed

LOCKS = {"run": "requirements.lock", "test": "requirements-dev.lock", "check": "requirements-dev.lock"}
"""What `.venv` holds for each purpose. The one for tests has everything of the one for running."""


def set_up(purpose: str) -> None:
    """Install whatever the purpose still lacks.

    Raises:
        SetupFailed: something could not be had.
    """

    def has_python() -> bool:
        return is_installed(LOCKS[purpose]) or (purpose == "run" and is_installed(LOCKS["test"]))

    def has_llama() -> bool:
        return purpose == "check" or llama.llama_server_path().exists()

    def has_clients() -> bool:
        return purpose != "test" or clients.is_complete()

    def has_vllm() -> bool:
        return purpose != "test" or vllm.is_complete()

    has_the_rest = has_python() and has_llama() and has_clients() and has_vllm()
    if has_the_rest and web.is_complete(purpose):
        return
    if not has_the_rest:
        say(f"voicestack: setting up, with Python {platform.python_version()}. This happens once.")
    if not has_llama():
        say("The longest step compiles llama.cpp: 5 to 10 minutes on 2 cores.")
    with timed("voicestack: set up in"), locked(LOGS / "lock"):
        needed = missing_for_venv() + ([] if has_llama() else llama.missing_for_build())
        needed += [] if has_clients() else clients.missing_for_clients()
        if needed:
            install_debian(needed)
        if not has_python():
            install(LOCKS[purpose])
        if not has_clients():
            clients.install_clients()
        if not has_vllm():
            vllm.install_vllm()
        if not has_llama():
            llama.build()
        if not web.is_complete(purpose):
            web.set_up_page(purpose)


def build_page() -> None:
    """Build the page for browsers, and nothing else.

    Raises:
        SetupFailed: it could not be built.
    """
    if not web.is_complete("web"):
        with timed("voicestack: the page was built in"), locked(LOGS / "lock"):
            web.set_up_page("web")


def main(argv: Sequence[str]) -> int:
    """Set up for one purpose. Returns the exit code."""
    if len(argv) != 1 or argv[0] not in (*LOCKS, "web"):
        sys.stderr.write(f"usage: python3 -m voicestack.bootstrap {'|'.join(LOCKS)}|web\n")
        return 2
    try:
        python = pick_python()
        if python != sys.executable:
            os.chdir(ROOT)
            os.execv(python, [python, "-m", "voicestack.bootstrap", *argv])
        if argv[0] == "web":
            build_page()
        else:
            set_up(argv[0])
    except SetupFailed as failure:
        sys.stderr.write(f"\nvoicestack: {failure}\n")
        return failure.code
    except KeyboardInterrupt:
        sys.stderr.write("\nvoicestack: stopped. The same command goes on from here.\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
