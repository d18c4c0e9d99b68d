"""What do the sections of the configuration have in common: strictness, and how a section is blamed?"""

from collections.abc import Sequence

from pydantic import ConfigDict
from pydantic_core import PydanticCustomError

STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def blame(key: str, message: str, value: object, *, because: Sequence[str]) -> PydanticCustomError:
    """An error of a whole section: `key` cannot be as it is, because others are as they are."""
    about = {"message": message, "key": key, "value": value, "because": because}
    return PydanticCustomError("section", "{message}", about)
