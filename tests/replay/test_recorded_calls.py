"""Does the machine still decide as it did in the calls recorded here, and do new calls replay?"""

import json
from pathlib import Path
from typing import get_args

import pytest

from tests.replay.make_calls import calls, record
from voicestack.turn.actions import Action
from voicestack.turn.events import Event
from voicestack.turn.replay import replay

RECORDINGS = sorted(Path(__file__).parent.glob("*.jsonl"))


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_it_decides_as_it_did(path: Path) -> None:
    with path.open() as lines:
        result = replay(lines)
    assert result.difference is None
    assert not result.cut_off
    assert result.n_events >= 5


def test_the_recordings_hold_every_kind_of_event_and_action() -> None:
    seen: set[str] = set()
    for path in RECORDINGS:
        for line in map(json.loads, path.read_text().splitlines()[1:]):
            if "event" in line:
                seen |= {line["event"]["type"], *(action["type"] for action in line["actions"])}
    assert {kind.__name__ for kind in (*get_args(Event), *get_args(Action))} - seen == set()


@pytest.mark.parametrize("name", calls())
def test_a_call_of_today_can_be_decided_again(name: str, tmp_path: Path) -> None:
    with record(tmp_path, name, calls()[name]).open() as lines:
        result = replay(lines)
    assert (result.difference, result.cut_off) == (None, False)
    assert result.n_events >= 5
