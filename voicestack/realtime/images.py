"""Is this a picture that the language model can be shown?"""

from typing import Any

from pybase64 import b64decode

from voicestack.core.errors import PeerProtocolError
from voicestack.core.images import MAX_IMAGE_BYTES, Image
from voicestack.realtime.checks import JsonObject, choice, record, shown, text

_BEGINNINGS = {
    "data:image/png;base64,": b"\x89PNG\r\n\x1a\n",
    "data:image/jpeg;base64,": b"\xff\xd8\xff",
}
"""The API's two formats, and how their files begin."""

_MAX_CHARS = MAX_IMAGE_BYTES * 4 // 3 + 64

_image = record(
    {"image_url": text(), "detail": choice("auto", "low", "high")},
    required=("image_url",),
)


def image_of(part: Any, path: str, *, taken: bool) -> Image:
    """The picture in a part of type `input_image`.

    Args:
        part: The part.
        path: Its place.
        taken: Whether the language model takes pictures at all.

    Raises:
        PeerProtocolError: it does not, or the part is no PNG or JPEG of at most `MAX_IMAGE_BYTES` in a data
            URI. Nothing is ever fetched: an address could be one that only this machine can reach.
    """
    if not taken:
        raise PeerProtocolError(
            "Content of type 'input_image' is not supported by this server.",
            code="invalid_value",
            param=f"{path}.type",
        )
    fields: JsonObject = _image(part, path)
    uri, place = fields["image_url"], f"{path}.image_url"
    if len(uri) > _MAX_CHARS:
        raise PeerProtocolError(
            f"Invalid '{place}': an image can have at most {MAX_IMAGE_BYTES} bytes.",
            code="string_above_max_length",
            param=place,
        )
    head, _, encoded = uri.partition(",")
    beginning = _BEGINNINGS.get(f"{head.lower()},")
    if beginning is None:
        raise PeerProtocolError(
            f"Invalid '{place}': expected a data URI, 'data:image/png;base64,...' or "
            f"'data:image/jpeg;base64,...', but got {shown(head)}. Images are not fetched from addresses.",
            code="invalid_value",
            param=place,
        )
    try:
        data = b64decode(encoded, validate=True)
    except ValueError:
        data = b""
    if not data.startswith(beginning):
        raise PeerProtocolError(
            f"Invalid '{place}': it is not an image of that format in base64.",
            code="invalid_value",
            param=place,
        )
    return Image(f"{head.lower()},{encoded}", fields.get("detail", "auto"))
