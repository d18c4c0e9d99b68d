"""Reads events, one JSON a line, with the strictest parsers of the Python clients, and prints what they refuse."""

import sys
from collections.abc import Callable
from typing import Any

from agents.realtime.openai_realtime import get_server_event_type_adapter
from pipecat.services.openai.realtime.events import parse_server_event

PARSERS: dict[str, Callable[[str], Any]] = {
    "openai-agents-python": get_server_event_type_adapter().validate_json,
    "pipecat": parse_server_event,
}

parse = PARSERS[sys.argv[1]]
for line in sys.stdin:
    try:
        accepted = parse(line)
    except Exception as error:  # noqa: BLE001 (whatever the parser raises)
        print(f"{error}\n{line}")
    else:
        if accepted is None:
            print(f"ignored: {line}")
print("end")
