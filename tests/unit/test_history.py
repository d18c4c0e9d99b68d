"""The conversation as heard."""

import itertools

import pytest

from voicestack.core.history import CallItem, History, Item, Message, OutputItem
from voicestack.core.ids import ItemId
from voicestack.core.prompt_room import fit_context, tool_tokens_of
from voicestack.core.tools import Tool, ToolCall


def item(name: str, role: str = "user", text: str | None = "x") -> Item:
    return Item(ItemId(name), role, text)  # type: ignore[arg-type]


def names(history: History) -> list[str]:
    return [i.id for i in history]


def test_items_go_to_the_end_the_front_or_after_another() -> None:
    history = History()
    assert history.add(item("a")) is None
    assert history.add(item("b")) == "a"
    assert history.add(item("c"), after=ItemId("a")) == "a"
    assert history.add(item("d"), after="root") is None
    assert names(history) == ["d", "a", "c", "b"]
    with pytest.raises(KeyError):
        history.add(item("e"), after=ItemId("nobody"))
    assert names(history) == ["d", "a", "c", "b"]


def test_a_cut_keeps_the_words_that_were_said_to_their_end() -> None:
    history = History()
    history.add(Item(ItemId("a"), "agent", "", spoken=True))
    for text, ms in (("One", 200), ("", 100), (" two", 200), (" three.", 300)):
        history.speech(ItemId("a")).append(text, ms)
    history.say(ItemId("a"), "One two three.")
    assert history.cut(ItemId("a"), 800).text == "One two three."
    assert history.cut(ItemId("a"), 800).status == "completed"
    assert history.cut(ItemId("a"), 799).text == "One two"
    assert history.cut(ItemId("a"), 499).text == "One"
    assert history.cut(ItemId("a"), 199).text == ""
    assert history.cut(ItemId("a"), 499).status == "incomplete"
    assert history.spoken_ms(ItemId("a")) == 800


def test_messages_leave_out_what_was_not_heard_and_join_what_one_side_said_twice() -> None:
    history = History()
    history.add(item("1", "user", "what time"))
    history.add(item("2", "agent", ""))
    history.add(item("3", "user", None))
    history.add(item("4", "user", "in Paris"))
    history.add(item("5", "agent", "Five."))
    assert history.messages("Be brief.", "and in Rome") == (
        Message("system", "Be brief."),
        Message("user", "what time in Paris"),
        Message("agent", "Five."),
        Message("user", "and in Rome"),
    )
    assert history.messages("") == (Message("user", "what time in Paris"), Message("agent", "Five."))


def test_a_long_conversation_loses_its_oldest_turns_in_large_steps() -> None:
    history = History()
    firsts: list[str] = []
    for n in range(60):
        history.add(item(f"u{n}", "user", f"question {n} " + "x" * 60))
        whole = history.messages("Be brief.")
        kept = fit_context(whole, 600)
        assert kept[0] == Message("system", "Be brief.")
        assert kept[-1] == whole[-1]
        assert kept[1].role == "user"
        assert kept[1:] == whole[-(len(kept) - 1) :], "a suffix, with no holes"
        assert sum(len(m.text) // 3 + 8 for m in kept) <= 600
        firsts.append(kept[1].text)
        history.add(item(f"a{n}", "agent", "answer " + "y" * 60))
    changes = sum(a != b for a, b in itertools.pairwise(firsts))
    assert 5 <= changes <= 20, "the prefix stays the same for several turns"


def test_the_newest_message_is_kept_however_long() -> None:
    huge = (Message("user", "a"), Message("agent", "b"), Message("user", "c" * 10_000))
    assert fit_context(huge, 100) == huge[-1:]


def test_tools_take_room_too() -> None:
    small = Tool("f", "Does it.")
    large = Tool("g", "x" * 300, {"type": "object", "properties": {"city": {"type": "string"}}})
    assert 0 < tool_tokens_of([small]) < 20
    assert tool_tokens_of([small, large]) > tool_tokens_of([small]) + 100
    assert tool_tokens_of([]) == 0


def test_an_output_is_awaited_for_the_newest_calls_only() -> None:
    history = History()
    assert not history.awaits_output()
    history.add(item("u1"))
    for n in (1, 2):
        history.add(CallItem(ItemId(f"c{n}"), ToolCall(f"call_{n}", "f", "{}")))
    history.add(OutputItem(ItemId("o1"), "call_1", "x"))
    assert history.awaits_output()
    history.add(OutputItem(ItemId("o2"), "call_2", "x"))
    assert not history.awaits_output()
    history.add(CallItem(ItemId("c3"), ToolCall("call_3", "f", "{}"), status="incomplete"))
    assert not history.awaits_output(), "nobody will make it"
    history.add(CallItem(ItemId("c4"), ToolCall("call_4", "f", "{}")))
    assert history.awaits_output()
    history.add(item("u2"))
    assert not history.awaits_output(), "the user has gone on"
