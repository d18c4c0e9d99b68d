"""What can be configured of the smaller LLM that says the first words when time is short?"""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, SecretStr, model_validator

from voicestack.config.kinds import STRICT, HttpUrl, Names, blame

Count = Annotated[int, Field(ge=1, le=10_000)]


class OpenerSection(BaseModel):
    """For the rung `small_opener`: it writes the first clause, the LLM of `llm` goes on from there."""

    model_config = STRICT

    engine: Literal["off", "llama_server", "openai"] = "off"
    """`llama_server` starts a second one; `openai` is any server with that API. `off` takes the replicas of
    `fleet` that are small, if there are any."""
    url: HttpUrl = ""
    """Where the API is, up to and including /v1. For `openai`."""
    model: str = ""
    """Its name at the API (`openai`), or a GGUF file (`llama_server`): its path, or a name that `voicestack
    models list` knows; empty for SmolLM2."""
    api_key: SecretStr = SecretStr("")
    """Better set as VOICESTACK__OPENER__API_KEY than in a file."""
    slots: Count = 2
    """Conversations whose prefix stays in its KV cache (`llama_server`)."""
    context_tokens: int = Field(default=2_048, ge=256)
    """Longest conversation per slot."""
    threads: int = Field(default=0, ge=0, le=1_024)
    """CPU threads of llama-server; 0 takes what it finds best."""
    avoid: Names = (
        *("yes", "no", "yeah", "nope", "sorry", "I'm sorry", "I am sorry", "I apologize", "unfortunately"),
        *("I can't", "I cannot", "I'm unable", "I am unable", "I'm not able", "I don't know", "as an AI"),
    )
    """Openers that begin so are not used: a small model must neither refuse nor say yes. In other languages
    than English, name theirs."""
    rehearse_s: float = Field(default=15.0, ge=1.0, le=3_600.0)
    """So often it writes an opener for nobody: only what was measured of late counts when it matters."""

    @model_validator(mode="after")
    def _has_address(self) -> "OpenerSection":
        for key, value in (("url", self.url), ("model", self.model)):
            if self.engine == "openai" and not value:
                raise blame(key, "is needed when opener.engine is 'openai'", value, because=["engine"])
        return self
