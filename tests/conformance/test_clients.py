"""Six client libraries, exactly as their authors publish them, hold conversations with the server.

Each runs in a process of its own, in the way that its own users would write it (`clients/`). What the library
told its program is compared with what went over the wire, and every frame of ours is checked strictly.
"""

import json

import pytest

from tests.conformance.calls import Client, Outcome, refused, run_clients
from tests.support.realtime_check import check_server_frames
from tests.support.relay import Connection

CLIENTS = {
    client.name: client
    for client in [
        # those that take longest first
        Client("livekit-agents", "livekit_agents.py"),
        Client("openai-agents-python", "openai_agents.py"),
        Client("pipecat", "pipecat_service.py"),
        Client("openai-agents-js", "agents_realtime.mjs"),
        Client("openai-python", "openai_python.py"),
        Client("openai-node", "openai_node.mjs", tls=True),
    ]
}
PARIS = "paris"

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """What happened to each client that a selected test asks about."""
    asked = {
        item.callspec.params.get("name")
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    }
    chosen = [client for name, client in CLIENTS.items() if name in asked and client.is_there]
    return run_clients(chosen, tmp_path_factory.mktemp("calls"))


@pytest.fixture
def outcome(outcomes: dict[str, Outcome], name: str) -> Outcome:
    if not CLIENTS[name].is_there:
        pytest.skip(f"{name} is not installed: `make test` does that, given Node.js 20 for the Node clients")
    return outcomes[name]


def saw(outcome: Outcome, scenario: str) -> dict[str, object]:
    """What the program saw, after a check that it got to its end."""
    assert scenario not in outcome.failed, outcome.failed[scenario] + outcome.errors[-2000:]
    assert scenario in outcome.saw, f"it ended before: {outcome.errors[-4000:]}"
    return outcome.saw[scenario]


def only(outcome: Outcome, scenario: str) -> Connection:
    """The one connection of a scenario."""
    (connection,) = outcome.of(scenario)
    return connection


def words(text: object) -> list[str]:
    assert isinstance(text, str)
    return text.split()


@pytest.mark.parametrize("name", CLIENTS)
def test_connect(outcome: Outcome, name: str) -> None:
    seen = saw(outcome, "connect")
    connection = only(outcome, "connect")
    assert connection.got[0]["type"] == "session.created"
    updated = connection.of("session.updated")[-1]["session"]
    assert seen["instructions"] == updated["instructions"]
    detection = updated["audio"]["input"]["turn_detection"]
    assert detection["create_response"] is True
    assert detection["interrupt_response"] is True
    assert not connection.of("error")


@pytest.mark.parametrize("name", CLIENTS)
def test_a_voice_turn(outcome: Outcome, name: str) -> None:
    seen = saw(outcome, "voice_turn")
    connection = only(outcome, "voice_turn")
    assert "capital of france" in str(seen["user"]).lower()
    (created,) = connection.of("response.created")
    (done,) = connection.of("response.done")
    assert done["response"]["status"] == "completed"
    assert done["response"]["id"] == created["response"]["id"]
    said = done["response"]["output"][0]["content"][0]["transcript"]
    assert words(seen["agent"]) == words(said)
    assert isinstance(seen["audio_ms"], int)
    assert isinstance(seen["peak"], int)
    assert seen["audio_ms"] > 100 * len(words(said))
    assert seen["peak"] > 3000
    assert not connection.of("error")


@pytest.mark.parametrize("name", CLIENTS)
def test_barge_in_with_truncate(outcome: Outcome, name: str) -> None:
    seen = saw(outcome, "barge_in")
    connection = only(outcome, "barge_in")
    first = connection.of("response.done")[0]["response"]
    assert first["status"] == "cancelled"
    assert first["status_details"]["reason"] == "turn_detected"
    item = first["output"][0]
    assert item["status"] == "incomplete"
    asked = [event for event in connection.sent if event["type"] == "conversation.item.truncate"]
    told = connection.of("conversation.item.truncated")
    assert asked
    assert [event["item_id"] for event in told] == [item["id"]] * len(asked)
    for event in connection.of("conversation.item.retrieved"):
        if event["item"]["id"] == item["id"]:
            kept = words(event["item"]["content"][0]["transcript"])
            assert kept == words(item["content"][0]["transcript"])[: len(kept)]
            assert len(kept) <= asked[-1]["audio_end_ms"] / 100, "nobody says more in the time"
    assert words(seen["next"]), "the question that interrupted is answered"
    # livekit-agents cancels as well, after the fact, and expects this answer.
    assert {event["error"]["code"] for event in connection.of("error")} <= {"response_cancel_not_active"}


@pytest.mark.parametrize("name", CLIENTS)
def test_a_text_turn(outcome: Outcome, name: str) -> None:
    seen = saw(outcome, "text_turn")
    connection = only(outcome, "text_turn")
    (done,) = connection.of("response.done")
    part = done["response"]["output"][0]["content"][0]
    assert words(seen["agent"]) == words(part.get("text") or part["transcript"])
    assert PARIS in str(seen["agent"]).lower()
    assert not connection.of("error")


@pytest.mark.parametrize("name", CLIENTS)
def test_a_tool_call(outcome: Outcome, name: str) -> None:
    seen = saw(outcome, "tool_call")
    connection = only(outcome, "tool_call")
    assert seen["name"] == "get_weather"
    assert seen["arguments"] == {"city": "Paris"}
    assert "sunny" in str(seen["agent"])
    first, second = connection.of("response.done")
    (call,) = first["response"]["output"]
    assert (call["type"], call["name"], call["status"]) == ("function_call", "get_weather", "completed")
    assert json.loads(call["arguments"]) == {"city": "Paris"}
    assert second["response"]["status"] == "completed"
    outputs = [event["item"] for event in connection.of("conversation.item.added")]
    assert call["call_id"] in [
        item.get("call_id") for item in outputs if item["type"] == "function_call_output"
    ]
    assert not connection.of("error")


@pytest.mark.parametrize("name", CLIENTS)
def test_reconnect(outcome: Outcome, name: str) -> None:
    seen = saw(outcome, "reconnect")
    before, after = outcome.of("reconnect")
    assert before.of("response.done")
    assert PARIS in str(seen["agent"]).lower()
    assert after.of("response.done")[-1]["response"]["status"] == "completed"
    assert not after.of("error")


@pytest.mark.parametrize("name", CLIENTS)
def test_every_frame_is_exactly_as_documented(outcome: Outcome, name: str) -> None:
    assert outcome.connections
    for connection in outcome.connections:
        check_server_frames(json.dumps(event).encode() for event in connection.got)


@pytest.mark.parametrize("name", ["openai-agents-python", "openai-agents-js", "pipecat"])
def test_strict_parsers_accept_every_frame_to_anyone(
    outcome: Outcome, outcomes: dict[str, Outcome], name: str
) -> None:
    connections = [connection for each in outcomes.values() for connection in each.connections]
    events = [event for connection in connections for event in connection.got]
    assert len({event["type"] for event in events}) > 15
    broken = {"type": "response.output_text.done", "event_id": "event_1"}
    complaints = refused(CLIENTS[name], [*events, broken])
    assert [line for line in complaints if not line.startswith(json.dumps(broken))] == []
    assert len(complaints) == 1, "it would not notice"
