"""Somebody who has used up their minute: the session goes on, and says why it does not answer."""

from dataclasses import replace

from tests.support.dialogue import SETTINGS, Dialogue, converse, speech
from voicestack.access.spending import Spender
from voicestack.core.commands import CreateReply
from voicestack.core.errors import RateLimited
from voicestack.core.notes import Problem, ReplyEnded, ReplyStarted, UserSaid
from voicestack.core.settings import ReplyOptions, ServerVad
from voicestack.core.standing import Standing

ONE = Spender("key 1", responses_per_minute=1)


async def ask(d: Dialogue, then_ms: int = 4000) -> None:
    await d.peer.say(speech(1000))
    await d.peer.be_silent(then_ms)


def ends(d: Dialogue) -> list[ReplyEnded]:
    return [note for note in d.peer.notes(ReplyEnded) if isinstance(note, ReplyEnded)]


def refusals(d: Dialogue) -> list[Problem]:
    problems = [note for note in d.peer.notes(Problem) if isinstance(note, Problem)]
    assert all(isinstance(problem.error, RateLimited) for problem in problems)
    return problems


def test_without_limits_there_is_nothing_to_tell() -> None:
    (end,) = ends(converse(ask))
    assert end.standings == ()


def test_who_speaks_too_often_is_heard_and_told_and_answered_later() -> None:
    async def script(d: Dialogue) -> None:
        await ask(d)
        await ask(d)
        await ask(d, then_ms=61_000)
        await ask(d)

    d = converse(script, spender=ONE)
    assert len(d.peer.notes(UserSaid)) == 4
    assert len(d.peer.notes(ReplyStarted)) == 2
    assert len(refusals(d)) == 2
    assert [end.standings[0].remaining for end in ends(d)] == [0, 0]
    assert 55 < ends(d)[0].standings[0].reset_s < 60
    assert [role for role, _ in d.context()] == ["user", "agent", "user", "agent"]
    assert d.context()[2][1].count("what time is it") == 3


def test_a_reply_that_is_asked_for_is_refused_by_the_name_of_the_wish() -> None:
    async def script(d: Dialogue) -> None:
        await ask(d)
        d.peer.send(CreateReply(event_id="e1"))
        d.peer.send(CreateReply(ReplyOptions(aside=True, tag="t1"), "e2"))
        await ask(d)

    d = converse(script, spender=ONE)
    assert [problem.event_id for problem in refusals(d)] == ["e1", "e2", None]
    assert len(d.peer.notes(ReplyStarted)) == 1


def test_a_draft_costs_nothing_and_is_dropped_when_another_session_was_quicker() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(1000))
        await d.peer.be_silent(140)  # a draft has begun
        d.peer.send(CreateReply(ReplyOptions(aside=True, modality="text", tag="t1")))
        await d.peer.be_silent(3000)

    d = converse(script, spender=ONE)
    assert d.figures.drafts == [False]
    (started,) = d.peer.notes(ReplyStarted)
    assert isinstance(started, ReplyStarted)
    assert started.aside
    assert len(refusals(d)) == 1


def test_tokens_are_paid_for_after_the_reply_whatever_ended_it() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(1000))
        await d.peer.be_silent(500)
        await d.peer.say(speech(1000))  # in the middle of the answer
        await d.peer.be_silent(3000)

    d = converse(script, spender=Spender("key 1", tokens_per_minute=1000))
    first, second = ends(d)
    assert first.reason == "turn_detected"
    assert isinstance(first.standings[0], Standing)
    assert 900 < first.standings[0].remaining < 1000
    assert second.standings[0].remaining < first.standings[0].remaining


def test_a_silent_user_is_left_alone_when_there_may_be_no_reply() -> None:
    detection = ServerVad(silence_duration_ms=200, idle_timeout_ms=5000)

    async def script(d: Dialogue) -> None:
        await ask(d, then_ms=30_000)

    d = converse(script, settings=replace(SETTINGS, turn_detection=detection), spender=ONE)
    assert len(d.peer.notes(ReplyStarted)) == 1
    assert refusals(d) == []
