"""Which addresses may be called, which tools are offered under which names, and which calls need approval."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestack.core.history import CallItem, Item, OutputItem, messages_of
from voicestack.core.ids import ItemId
from voicestack.core.offers import NAME_CHARS, offer_of
from voicestack.core.served import (
    EVERY_TOOL,
    Approval,
    RemoteCall,
    ServedTool,
    ToolFailure,
    ToolFilter,
    ToolOutcome,
    ToolSource,
    is_place,
    may_reach,
)
from voicestack.core.tools import Tool, Toolbox, ToolCall, ToolChoice

READS = ServedTool("read", annotations={"readOnlyHint": True})
WRITES = ServedTool("write")


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://mcp.example.com/mcp", "mcp.example.com"),
        ("https://MCP.example.com:443/mcp?x=1", "mcp.example.com"),
        ("https://mcp.example.com./mcp", "https://mcp.example.com"),
        ("https://mcp.example.com:8443", "mcp.example.com:8443"),
        ("https://a.b.example.com/sse", "*.example.com"),
        ("http://127.0.0.1:9000/mcp", "http://127.0.0.1:9000"),
        ("http://[::1]:9000/mcp", "http://[::1]:9000"),
    ],
)
def test_addresses_that_may_be_called(url: str, place: str) -> None:
    assert is_place(place)
    assert may_reach(url, ["elsewhere.example", place])


@pytest.mark.parametrize(
    "url",
    [
        "http://mcp.example.com/mcp",  # not encrypted
        "https://mcp.example.com:8443/mcp",
        "https://example.com/mcp",
        "https://evil-mcp.example.com/",
        "https://mcp.example.com.evil.com/",
        "https://mcp.example.com@127.0.0.1/",
        "https://127.0.0.1#@mcp.example.com/",
        "https://127.0.0.1\\@mcp.example.com/",
        "https://mcp.example.com:99999999/",
        "https://127.0.0.1/?mcp.example.com",
        "https://mcp.example.com\n.evil.com/",
        "//mcp.example.com/",
        "file:///etc/passwd",
        "https://2130706433/",
        "https://sub.wild.example@127.0.0.1/",
        "https://wild.example/",  # `*.` is below it only
        "",
    ],
)
def test_addresses_that_may_not(url: str) -> None:
    assert not may_reach(url, ["mcp.example.com", "*.wild.example"])
    assert not may_reach(url, [])


@given(st.text())
def test_no_text_is_an_allowed_address_by_accident(url: str) -> None:
    assert not may_reach(url, ["mcp.example.com"]) or url.lower().startswith("https://mcp.example.com")


@pytest.mark.parametrize("place", ["*", "", "a/b", "ftp://x", "x y", "https://", "*.*.x", "user@x"])
def test_what_is_no_place(place: str) -> None:
    assert not is_place(place)


@pytest.mark.parametrize(
    ("approval", "needed"),
    [
        (Approval(), (True, True)),
        (Approval(never=EVERY_TOOL), (False, False)),
        (Approval(never=ToolFilter(read_only=True)), (False, True)),
        (Approval(never=ToolFilter(frozenset({"write"}))), (True, False)),
        (Approval(always=ToolFilter(frozenset({"write"}))), (True, True)),
        (Approval(ToolFilter(frozenset({"write"})), EVERY_TOOL), (False, True)),
        (Approval(never=ToolFilter(frozenset({"write"}), read_only=True)), (True, True)),
    ],
)
def test_which_calls_need_approval(approval: Approval, needed: tuple[bool, bool]) -> None:
    assert (approval.is_needed(READS), approval.is_needed(WRITES)) == needed


def source(label: str, **changes: object) -> ToolSource:
    return ToolSource(label, f"https://{label}.example", **changes)  # type: ignore[arg-type]  # a test's


def test_names_are_kept_where_nobody_else_has_them() -> None:
    one, two = source("one"), source("two")
    box = Toolbox((Tool("write"),), servers=(one, two))
    listed = {
        one: [READS, WRITES, ServedTool("a.b"), ServedTool("x" * 100)],
        two: [READS, ServedTool("other")],
    }
    offer = offer_of(box, listed)
    assert [tool.name for tool in offer.toolbox.tools] == [
        *("write", "one__read", "one__write", "one__a_b"),
        f"one__{'x' * (NAME_CHARS - 5)}",
        *("two__read", "other"),
    ]
    assert offer.served["two__read"].source is two
    assert offer.served["one__write"].tool is WRITES
    assert "write" not in offer.served, "the peer's own function"
    assert offer.toolbox.servers == ()
    assert offer_of(box, listed) == offer, "the same every time"


@given(st.lists(st.text(min_size=1, max_size=80), max_size=8), st.lists(st.text(min_size=1), max_size=8))
def test_every_tool_has_a_name_of_its_own_that_models_take(first: list[str], second: list[str]) -> None:
    one, two = source("one"), source("two")
    box = Toolbox((Tool("f"),), servers=(one, two))
    offer = offer_of(box, {one: [ServedTool(n) for n in first], two: [ServedTool(n) for n in second]})
    names = [tool.name for tool in offer.toolbox.tools]
    assert len(set(names)) == len(names) == 1 + len(first) + len(second)
    assert all(name.isascii() and len(name) <= NAME_CHARS for name in names)


def test_only_allowed_tools_are_offered() -> None:
    one = source("one", allowed=ToolFilter(frozenset({"read"})))
    offer = offer_of(Toolbox(servers=(one,)), {one: [READS, WRITES]})
    assert list(offer.served) == ["read"]


@pytest.mark.parametrize(
    ("name", "names", "mode"),
    [(None, ["read", "write"], "required"), ("write", ["write"], "required"), ("nobody", [], "auto")],
)
def test_a_choice_of_a_servers_tool(name: str | None, names: list[str], mode: str) -> None:
    one, two = source("one"), source("two")
    box = Toolbox((Tool("f"),), ToolChoice("required", name, "one"), (one, two))
    offer = offer_of(box, {one: [READS, WRITES], two: [ServedTool("other")]})
    assert [tool.name for tool in offer.toolbox.usable()] == names
    assert offer.toolbox.choice.mode == mode


def test_keys_do_not_show() -> None:
    assert "secret" not in repr(source("one", headers=(("Authorization", "Bearer secret"),)))


def test_calls_made_together_are_one_message_and_their_outputs_follow() -> None:
    failed = ToolOutcome(failure=ToolFailure("tool_execution_error", "cold"))
    calls = [ToolCall(f"c{n}", "f", "{}") for n in range(4)]
    entries = (
        Item(ItemId("u"), "user", "go"),
        CallItem(ItemId("0"), calls[0]),
        CallItem(ItemId("1"), calls[1], remote=RemoteCall("s", "t", outcome=ToolOutcome("fine"))),
        CallItem(ItemId("2"), calls[2], remote=RemoteCall("s", "t", outcome=failed)),
        CallItem(ItemId("3"), calls[3], remote=RemoteCall("s", "t")),  # not over
        OutputItem(ItemId("o"), "c0", "mine"),
        OutputItem(ItemId("p"), "c3", "forged"),
    )
    assert [(m.role, m.text, m.calls, m.call_id) for m in messages_of(entries, "")] == [
        ("user", "go", (), None),
        ("agent", "", tuple(calls[:3]), None),
        ("tool", "fine", (), "c1"),
        ("tool", "Error: cold", (), "c2"),
        ("tool", "mine", (), "c0"),
    ]
