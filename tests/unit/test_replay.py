"""Does a recorded call come out the same, and is the first difference the one that is reported?"""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicestack.core.ids import TurnId, UtteranceId
from voicestack.turn import actions, events
from voicestack.turn.machine import step
from voicestack.turn.policy import Policy
from voicestack.turn.replay import (
    BrokenRecording,
    Fields,
    Pseudonyms,
    decode_action,
    decode_event,
    encode_action,
    encode_event,
    encode_header,
    encode_policy,
    encode_step,
    replay,
)
from voicestack.turn.state import State

AT = st.integers(0, 10**12)
UTTERANCE = st.integers(1, 4).map(UtteranceId)
TURN = st.integers(1, 6).map(TurnId)
TEXT = st.sampled_from(["", "yes", "Yes", "yes please", "please", "no", "Café  crème ☕"])
EVENT = st.one_of(
    st.builds(events.SpeechStarted, AT, UTTERANCE),
    st.builds(events.SpeechPaused, AT, UTTERANCE, AT),
    st.builds(events.SpeechResumed, AT, UTTERANCE),
    st.builds(events.SpeechEnded, AT, UTTERANCE, AT),
    st.builds(events.WordsSettled, AT, UTTERANCE, TEXT),
    st.builds(events.WordsHeard, AT, UTTERANCE, TEXT),
    st.builds(events.ReplyRequested, AT),
    st.builds(events.ReplyCancelled, AT),
    st.builds(events.ReplyAudible, AT, TURN),
    st.builds(events.ReplyEnded, AT, TURN),
    st.builds(events.ReplyFailed, AT, TURN, st.booleans()),
    st.builds(events.Tick, AT),
)
POLICY = st.builds(Policy, st.booleans(), st.booleans(), st.booleans(), st.integers(0, 3), st.integers(0, 2))
CALL = st.lists(st.one_of(EVENT, EVENT, EVENT, EVENT, POLICY), max_size=40)


def dumps(fields: Fields) -> str:
    return json.dumps(fields) + "\n"


def record(call: list[events.Event | Policy], hidden: Pseudonyms | None) -> list[str]:
    """What a recorder writes for these events."""
    policy, state = Policy(), State()
    lines = [dumps(encode_header("s1", policy, "verbatim"))]
    for happened in call:
        if isinstance(happened, Policy):
            policy = happened
            lines.append(dumps(encode_policy(policy)))
        else:
            state, done = step(state, happened, policy)
            lines.append(dumps(encode_step(happened, done, hidden)))
    return lines


@settings(max_examples=300, deadline=None)
@given(CALL, st.booleans())
def test_a_recorded_call_is_decided_alike_with_and_without_its_words(
    call: list[events.Event | Policy], hide: bool
) -> None:
    result = replay(record(call, Pseudonyms() if hide else None))
    assert result.difference is None
    assert result.n_events == sum(not isinstance(happened, Policy) for happened in call)


def test_without_its_words_a_call_holds_none_of_them() -> None:
    said = events.WordsHeard(1, UtteranceId(1), "my card number is four four four")
    ended = events.SpeechEnded(1, UtteranceId(1), 0)
    started = events.SpeechStarted(0, UtteranceId(1))
    lines = record([started, ended, said], Pseudonyms())
    assert json.loads(lines[-1])["event"]["text"] == "w1 w2 w3 w4 w5 w5 w5"
    assert json.loads(lines[-1])["actions"][0]["words"] == "w1 w2 w3 w4 w5 w5 w5"
    assert not any(word in "".join(lines) for word in said.text.split())


def test_nothing_of_a_word_stays() -> None:
    assert Pseudonyms().hide("It's 3.50, it's  déjà-vu!\n") == "w1 w2 w3  w4\n"


@given(st.lists(TEXT, min_size=2, max_size=6))
def test_pseudonyms_keep_what_the_machine_can_see(texts: list[str]) -> None:
    hidden = Pseudonyms()
    names = [hidden.hide(text) for text in texts]
    for text, name in zip(texts, names, strict=True):
        assert bool(text) == bool(name)
        assert [a == text for a in texts] == [b == name for b in names]
    assert hidden.hide(f"{texts[0]} {texts[1]}".strip()) == f"{names[0]} {names[1]}".strip()


@given(EVENT)
def test_events_survive(event: events.Event) -> None:
    assert decode_event(json.loads(json.dumps(encode_event(event)))) == event


@pytest.mark.parametrize(
    "action",
    [
        actions.StartReply(TurnId(1), "hello", draft=True),
        actions.CommitReply(TurnId(1), "hello"),
        actions.StopReply(TurnId(1), "turn_detected"),
        actions.Apologise(TurnId(2)),
    ],
)
def test_actions_survive(action: actions.Action) -> None:
    assert decode_action(json.loads(json.dumps(encode_action(action)))) == action


def spoken() -> list[events.Event | Policy]:
    return [
        events.SpeechStarted(10, UtteranceId(1)),
        events.SpeechEnded(20, UtteranceId(1), 15),
        Policy(max_drafts=1),
        events.WordsHeard(30, UtteranceId(1), "hello"),
        events.ReplyEnded(40, TurnId(1)),
    ]


def test_the_first_difference_is_reported_where_it_is() -> None:
    lines = record(spoken(), None)
    changed = json.loads(lines[4])
    changed["actions"][0]["words"] = "goodbye"
    lines[4] = dumps(changed)
    result = replay(lines)
    assert result.difference is not None
    assert (result.difference.index, result.difference.line, result.n_events) == (3, 5, 3)
    assert result.difference.event == events.WordsHeard(30, UtteranceId(1), "hello")
    assert result.difference.expected == (actions.StartReply(TurnId(1), "goodbye"),)
    assert result.difference.got == (actions.StartReply(TurnId(1), "hello"),)
    assert result.difference.before.awaited == (UtteranceId(1),)


def test_a_policy_counts_from_where_it_stands() -> None:
    lines = record(spoken(), None)
    lines[3] = dumps(encode_policy(replace(Policy(), create_reply=False)))
    difference = replay(lines).difference
    assert difference is not None
    assert difference.got == ()


def test_a_last_line_that_was_cut_off_is_left_out() -> None:
    lines = record(spoken(), None)
    result = replay([*lines[:-1], lines[-1][:-5]])
    assert (result.n_events, result.difference, result.cut_off) == (3, None, True)
    assert not replay(lines).cut_off


def put(line: int, fields: object) -> list[str]:
    lines = record(spoken(), None)
    lines[line - 1] = json.dumps(fields) + "\n"
    return lines


HEADER = encode_header("s1", Policy(), "verbatim")
EVENT_LINE: Fields = {"event": encode_event(events.Tick(1)), "actions": []}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "line 1: this is not a recorded call"),
        (["RIFF\x00\x00WAVE\n"], "line 1: this is not a recorded call"),
        (["[1]\n"], "line 1: this is not a recorded call"),
        (put(1, {"event": {}}), "line 1: this is not a recorded call"),
        (put(1, {**HEADER, "voicestack_call": 2}), "line 1: version 2 of the format; this program reads 1"),
        (put(1, {**HEADER, "policy": None}), "line 1: the Policy is not a JSON object"),
        (put(1, {**HEADER, "policy": {"x": 1}}), "line 1: Policy: missing or unknown: x"),
        (put(2, [1]), "line 2: not a JSON object"),
        ([*record(spoken(), None), "{]\n"], "line 7: not JSON"),
        ([*record(spoken(), None), "[" * 100_000 + "\n"], "line 7: not JSON"),
        (put(3, {"event": {}}), "line 3: neither a decision nor a policy"),
        (put(3, {"policy": {**HEADER["policy"], "max_drafts": True}}), "line 3: Policy.max_drafts cannot be"),
        (put(3, {**EVENT_LINE, "actions": 3}), "line 3: neither a decision nor a policy"),
        (put(3, {**EVENT_LINE, "event": 3}), "line 3: the event is not a JSON object"),
        (put(3, {**EVENT_LINE, "event": {"type": "State"}}), "line 3: there is no event called 'State'"),
        (put(3, {**EVENT_LINE, "event": {"type": []}}), r"line 3: there is no event called \[\]"),
        (put(3, {**EVENT_LINE, "event": {"type": "Tick", "at_ns": 1.5}}), "line 3: Tick.at_ns cannot be 1.5"),
        (
            put(3, {**EVENT_LINE, "actions": [{"type": "StopReply", "turn": 1, "reason": "x"}]}),
            "line 3: StopReply.reason cannot be 'x'",
        ),
    ],
)
def test_what_is_not_a_recording_is_refused_with_its_line(lines: list[str], message: str) -> None:
    with pytest.raises(BrokenRecording, match=message):
        replay(lines)
