"""What can be configured of the answers that are remembered?"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from voicestack.config.kinds import STRICT


def _said(text: str) -> str:
    if not any(map(str.isalnum, text)):
        raise ValueError("should have words in it")
    return text


Words = Annotated[str, AfterValidator(_said)]


class AnswersSection(BaseModel):
    """Answers to first questions that were answered before, word for word: for the rung `cached`."""

    model_config = STRICT

    mode: Literal["off", "rung", "always"] = "off"
    """`rung`: given when the LLM would be too late. `always`: given whenever there is one."""
    known: dict[Words, Words] = {}
    """What you answer to certain questions, spoken ahead at start. For sessions with `session.instructions`
    as they are: a client that sets others makes somebody else of the agent."""
    ttl_s: int = Field(default=3_600, ge=1, le=31_536_000)
    """An answer of the LLM's is given again for so long."""
    max_answers: int = Field(default=1_000, ge=1, le=1_000_000)
    """Answers of the LLM's that are kept in memory, about 1 kB each; a quarter of them for one tenant."""
    audit_ratio: float = Field(default=0.02, ge=0.0, le=1.0)
    """So many of the answers given are asked of the LLM again, in the background, and compared."""
    wrong_ratio_max: float = Field(default=0.05, ge=0.0, le=1.0)
    """With more different answers than that among the newest 100 compared, only `known` ones are given."""
