"""Pictures that a client shows: taken where the language model takes them, and never sent back or logged."""

import json
from base64 import b64encode
from typing import Any

import pytest

from tests.support.realtime_check import check_server_frames, make_protocol
from voicestack.core.commands import AddItem, CreateReply
from voicestack.core.history import History, Item, Message
from voicestack.core.ids import ItemId, SessionId, TurnId
from voicestack.core.images import IMAGE_TOKENS, MAX_IMAGE_BYTES, Image
from voicestack.core.notes import ItemAdded, ItemRetrieved
from voicestack.core.prompt_room import fit_context
from voicestack.core.settings import SessionSettings
from voicestack.engines.chat_body import LlmSettings, content_of, plain_plan
from voicestack.engines.native_calls import native_plan
from voicestack.ports import LlmRequest
from voicestack.realtime.protocol import RealtimeProtocol

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
JPEG = b"\xff\xd8\xff\xe0" + bytes(20)


def data_uri(data: bytes = PNG, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{b64encode(data).decode()}"


def seeing() -> RealtimeProtocol:
    return make_protocol(SessionSettings(takes_images=True))


def shown(*content: dict[str, Any], role: str = "user") -> str:
    item = {"type": "message", "role": role, "id": "mine", "content": list(content)}
    return json.dumps({"type": "conversation.item.create", "item": item})


def picture(uri: Any = None, **fields: Any) -> dict[str, Any]:
    return {"type": "input_image", "image_url": data_uri() if uri is None else uri, **fields}


def error_of(protocol: RealtimeProtocol, frame: str) -> tuple[str, str]:
    received = protocol.receive(frame)
    assert not received.commands
    (event,) = check_server_frames(received.answers)
    return event["error"]["code"], event["error"]["param"]


def test_pictures_between_words_are_one_item() -> None:
    frame = shown(
        {"type": "input_text", "text": "What is"},
        picture(detail="low"),
        {"type": "input_text", "text": "this?"},
        picture(data_uri(JPEG, "IMAGE/JPEG")),
    )
    (command,) = seeing().receive(frame).commands
    images = (Image(data_uri(), "low"), Image(data_uri(JPEG, "image/jpeg"), "auto"))
    item = Item(ItemId("mine"), "user", "What is\nthis?", images=images)
    assert command == AddItem(item)


def test_what_is_in_them_is_not_sent_back() -> None:
    protocol = seeing()
    (command,) = protocol.receive(shown(picture(detail="high"))).commands
    assert isinstance(command, AddItem)
    assert isinstance(command.item, Item)
    for note in (ItemAdded(command.item, None), ItemRetrieved(command.item)):
        for event in check_server_frames(protocol.tell(note)):
            assert event["item"]["content"] == [{"type": "input_image", "detail": "high"}]
    words = Item(ItemId("mine"), "user", "Look.", images=command.item.images)
    (event,) = check_server_frames(protocol.tell(ItemRetrieved(words)))
    assert [part["type"] for part in event["item"]["content"]] == ["input_text", "input_image"]


def test_what_is_in_them_is_in_no_representation() -> None:
    (command,) = seeing().receive(shown(picture())).commands
    assert "base64" not in repr(command)
    assert "base64" not in repr(Message("user", "", images=command.item.images))  # type: ignore[union-attr]


def test_a_response_can_be_to_a_picture() -> None:
    item = json.loads(shown(picture()))["item"]
    frame = json.dumps({"type": "response.create", "response": {"conversation": "none", "input": [item]}})
    (command,) = seeing().receive(frame).commands
    assert isinstance(command, CreateReply)
    assert command.options.entries is not None
    assert command.options.entries[0].images  # type: ignore[union-attr]


def test_where_the_language_model_takes_none_they_are_refused() -> None:
    assert error_of(make_protocol(), shown(picture())) == ("invalid_value", "item.content[0].type")


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("https://example.com/cat.png", "invalid_value"),
        ("http://169.254.169.254/latest", "invalid_value"),
        ("file:///etc/passwd", "invalid_value"),
        ("", "invalid_value"),
        (3, "invalid_value"),
        (data_uri(kind="image/gif"), "invalid_value"),
        (data_uri(kind="text/html"), "invalid_value"),
        (data_uri(JPEG), "invalid_value"),
        (data_uri(b""), "invalid_value"),
        ("data:image/png;base64,!!!!", "invalid_value"),
        ("data:image/png," + "A" * 40, "invalid_value"),
        (data_uri(PNG + bytes(MAX_IMAGE_BYTES + 48)), "string_above_max_length"),
    ],
)
def test_what_is_no_picture_is_refused_and_nothing_is_fetched(uri: Any, code: str) -> None:
    assert error_of(seeing(), shown(picture(uri))) == (code, "item.content[0].image_url")


def test_only_users_show_pictures() -> None:
    assert error_of(seeing(), shown(picture(), role="system"))[0] == "invalid_value"
    missing = {"type": "input_image"}
    assert error_of(seeing(), shown(missing)) == ("missing_required_parameter", "item.content[0].image_url")
    assert error_of(seeing(), shown(picture(detail="best")))[1] == "item.content[0].detail"


def test_the_language_model_is_given_them_with_the_words() -> None:
    history = History()
    image = Image(data_uri(), "low")
    history.add(Item(ItemId("a"), "user", "", images=(image,)))
    history.add(Item(ItemId("b"), "user", "What is this?"))
    (message,) = history.messages("")
    assert message == Message("user", "What is this?", images=(image,))
    assert content_of(message) == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": data_uri(), "detail": "low"}},
    ]
    assert content_of(Message("user", "", images=(image,)))[0] == content_of(message)[1]
    assert content_of(Message("user", "Hi.")) == "Hi."
    request = LlmRequest(SessionId("s"), TurnId(1), (message,))
    for plan in (plain_plan(request), native_plan(request, LlmSettings())):
        assert plan.messages == [{"role": "user", "content": content_of(message)}]


def test_pictures_take_room_in_the_context() -> None:
    image = Image(data_uri())
    old, answer, new = Message("user", "", images=(image,)), Message("agent", "A."), Message("user", "B?")
    assert fit_context((old, answer, new), IMAGE_TOKENS + 100) == (old, answer, new)
    assert fit_context((old, answer, new), IMAGE_TOKENS) == (answer, new)
