"""The description of the events is the one that is kept, valid, and complete in both directions."""

from typing import Any, get_args

import pytest
from openai.types.realtime import RealtimeClientEvent

from tests.support.asyncapi import KEPT
from tests.support.realtime_check import EVENT_TYPES, EXTENSIONS, NEVER_SENT, make_protocol
from voicestack.realtime.wire import ClientEvent, ClientExtensionEvent, ExtensionEvent, ServerEvent
from voicestack.server.asyncapi import document, document_text

NOT_SENT = {
    *NEVER_SENT,
    "conversation.item.input_audio_transcription.segment",  # no engine tells speakers apart
    "input_audio_buffer.dtmf_event_received",
}
"""What the API has and this server does not send, so far: telephones' events."""


def kinds(union: Any) -> set[str]:
    return {get_args(event.__annotations__["type"])[0] for event in get_args(union)}


def test_the_kept_document_is_the_one_that_is_served() -> None:
    assert document_text() == KEPT.read_bytes(), "write it again: make asyncapi"


def test_every_reference_leads_somewhere() -> None:
    whole = document()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(ref := value.get("$ref"), str):
                target: Any = whole
                for name in ref.removeprefix("#/").split("/"):
                    target = target[name]
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(whole)


def test_what_clients_may_send_is_what_the_protocol_takes() -> None:
    assert kinds(ClientEvent) == set(make_protocol()._takers)
    every = kinds(ClientEvent) | kinds(ClientExtensionEvent)
    assert every == set(make_protocol(extensions=True)._takers)
    models = get_args(get_args(RealtimeClientEvent)[0])
    known = {get_args(model.model_fields["type"].annotation)[0] for model in models}
    assert known == kinds(ClientEvent)


def test_what_clients_receive_is_all_of_the_api_but_what_is_named() -> None:
    assert kinds(ServerEvent) == set(EVENT_TYPES) - NOT_SENT
    assert kinds(ExtensionEvent) == set(EXTENSIONS)


EVERY = sorted(
    kind
    for union in (ServerEvent, ClientEvent, ExtensionEvent, ClientExtensionEvent)
    for kind in kinds(union)
)


@pytest.mark.parametrize("kind", EVERY)
def test_every_event_is_explained(kind: str) -> None:
    message = document()["components"]["messages"][kind.replace(".", "_")]
    assert message["summary"].endswith(".")
