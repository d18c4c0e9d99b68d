"""Is a call kept as it was, and does a call go on when it cannot be kept?"""

import errno
import json
import logging
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from voicestack.core.ids import SessionId, TurnId, UtteranceId
from voicestack.session.recorder import Recorder
from voicestack.turn.actions import StartReply
from voicestack.turn.events import Event, ReplyRequested, SpeechEnded, SpeechStarted, WordsHeard
from voicestack.turn.machine import step
from voicestack.turn.policy import Policy
from voicestack.turn.replay import replay
from voicestack.turn.state import State

CALL: list[Event] = [
    SpeechStarted(10, UtteranceId(1)),
    SpeechEnded(20, UtteranceId(1), 15),
    WordsHeard(30, UtteranceId(1), "hello there hello"),
]


def converse(recorder: Recorder) -> None:
    """What a session does: a policy, three events, and the same policy again."""
    state = State()
    recorder.policy(Policy())
    for event in CALL:
        state, actions = step(state, event, Policy())
        recorder.step(event, actions)
        recorder.policy(Policy())


def test_a_call_is_kept_line_by_line_and_decided_alike(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "calls" / "today", SessionId("sess_1"))
    converse(recorder)
    lines = (tmp_path / "calls" / "today" / "sess_1.jsonl").read_text().splitlines(keepends=True)
    assert len(lines) == 4  # all there before it is closed; an unchanged policy is no line
    recorder.policy(replace(Policy(), create_reply=False))
    recorder.close()
    lines = recorder.path.read_text().splitlines(keepends=True)
    assert len(lines) == 5
    assert replay(lines).difference is None
    assert replay(lines).session == "sess_1"


@pytest.mark.parametrize(("with_words", "text"), [(True, "hello there hello"), (False, "w1 w2 w1")])
def test_words_are_kept_only_when_asked_for(tmp_path: Path, with_words: bool, text: str) -> None:
    recorder = Recorder(tmp_path, SessionId("s"), with_words=with_words)
    converse(recorder)
    recorder.close()
    header, *_, last = map(json.loads, recorder.path.read_text().splitlines())
    assert header["words"] == ("verbatim" if with_words else "placeholders")
    assert last["event"]["text"] == last["actions"][0]["words"] == text


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "calls", SessionId("s"))
    converse(recorder)
    recorder.close()
    assert stat.S_IMODE(recorder.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(recorder.path.parent.stat().st_mode) == 0o700


def test_a_name_cannot_lead_out_of_the_directory(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "calls", SessionId("../../etc/x.y"))
    assert recorder.path == tmp_path / "calls" / "______etc_x_y.jsonl"


def test_after_closing_nothing_is_written(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, SessionId("s"))
    converse(recorder)
    recorder.close()
    recorder.close()
    size_bytes = recorder.path.stat().st_size
    recorder.step(ReplyRequested(40), (StartReply(TurnId(9), ""),))
    assert recorder.path.stat().st_size == size_bytes


def test_a_call_without_events_leaves_no_file(tmp_path: Path) -> None:
    Recorder(tmp_path, SessionId("s")).close()
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_there_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    recorder = Recorder(tmp_path / "file", SessionId("s"))
    converse(recorder)
    recorder.close()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "not recorded any further" in caplog.text


def test_a_recording_is_never_written_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "s.jsonl").write_text("precious")
    recorder = Recorder(tmp_path, SessionId("s"))
    converse(recorder)
    assert (tmp_path / "s.jsonl").read_text() == "precious"
    assert len(caplog.records) == 1


def test_a_full_disk_ends_the_recording_and_not_the_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/dev/full is a disk without room: it opens, and every write to it fails."""
    monkeypatch.setattr(Recorder, "_open", lambda _: os.open("/dev/full", os.O_WRONLY))
    recorder = Recorder(tmp_path, SessionId("s"))
    open_before = set(os.listdir("/proc/self/fd"))
    converse(recorder)
    recorder.close()
    assert set(os.listdir("/proc/self/fd")) == open_before
    assert len(caplog.records) == 1
    assert os.strerror(errno.ENOSPC) in caplog.text
