"""Where models are kept."""

from pydantic import BaseModel

from voicestack.config.kinds import STRICT


class ModelsSection(BaseModel):
    """Files that `voicestack models pull` fetches and engines load."""

    model_config = STRICT

    folder: str = ""
    """Where they lie; empty for voicestack/models in the user's data folder."""
    mirror: str = ""
    """Fetch from here and not from the hub: the address of a server with the hub's layout
    (`OWNER/NAME/resolve/REVISION/FILE`), or a folder with that layout, or another machine's models folder."""
