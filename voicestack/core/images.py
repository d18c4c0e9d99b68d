"""What is a picture in a conversation?"""

from dataclasses import dataclass, field
from typing import Literal

Detail = Literal["auto", "low", "high"]

IMAGE_TOKENS = 1_000
"""A guess at what a picture takes of a model's context: some hundred to somewhat over a thousand tokens."""

MAX_IMAGE_BYTES = 5 * 1024 * 1024
"""Of one picture: a photograph of a telephone at full resolution."""

MAX_IMAGES_BYTES = 20 * 1024 * 1024
"""Of one conversation, as they are kept: four such photographs."""


@dataclass(frozen=True, slots=True)
class Image:
    """A picture that the user shows.

    Attributes:
        data_uri: `data:image/png;base64,...`, as models are given it. In no representation, hence in no log.
        detail: How closely the model should look.
    """

    data_uri: str = field(repr=False)
    detail: Detail = "auto"
