"""Reads events, one JSON a line, with the strict parser of a Python client, and prints what it refuses."""

import sys
from collections.abc import Callable
from typing import Any


def parser(name: str) -> Callable[[str], Any]:
    """A function that raises when the client would. Only the one package is loaded: each takes seconds."""
    if name == "pipecat":
        from pipecat.services.openai.realtime.events import parse_server_event

        found: Callable[[str], Any] = parse_server_event
    else:
        from agents.realtime.openai_realtime import get_server_event_type_adapter

        found = get_server_event_type_adapter().validate_json
    return found


parse = parser(sys.argv[1])
for line in sys.stdin:
    try:
        parse(line)
    except Exception as error:  # noqa: BLE001 (whatever the parser raises)
        print(" ".join(f"{line.strip()}: {error}".split()))
print("end")
