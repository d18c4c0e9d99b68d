"""What do the sections of the configuration have in common: strictness, and how a section is blamed?"""

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def blame(key: str, message: str, value: object, *, because: Sequence[str]) -> PydanticCustomError:
    """An error of a whole section: `key` cannot be as it is, because others are as they are."""
    about = {"message": message, "key": key, "value": value, "because": because}
    return PydanticCustomError("section", "{message}", about)


def check_url(url: str) -> str:
    """Let only plain addresses through: a key has a place of its own, where it is masked."""
    if url and not re.fullmatch(r"https?://[^/@\s]+(/[^@\s]*)?", url):
        raise PydanticCustomError("address", "should be http(s)://host:port/path with no user or password")
    return url


HttpUrl = Annotated[str, AfterValidator(check_url)]
"""Empty, or an address."""
Names = Annotated[tuple[str, ...], Field(strict=False)]
