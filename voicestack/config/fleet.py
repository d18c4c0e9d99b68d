"""What can be configured of the replicas that answer, here and in other regions?"""

from pydantic import BaseModel, Field

from voicestack.config.kinds import STRICT


class FleetSection(BaseModel):
    """Where this server is, and who else can answer."""

    model_config = STRICT

    region: str = Field(default="local", pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")
    """The name of the place; in the ledger of every turn."""
