"""Where the description of the events is kept, and how it is written: `python -m tests.support.asyncapi`."""

from pathlib import Path

from voicestack.server.asyncapi import document_text

KEPT = Path(__file__).parents[2] / "docs" / "asyncapi.json"

if __name__ == "__main__":
    KEPT.write_bytes(document_text())
