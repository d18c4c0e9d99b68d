"""Where are a model's files? Engines ask here, and never fetch anything themselves."""

import os
from pathlib import Path

from voicestack.core.errors import ConfigError


def models_folder(configured: str) -> Path:
    """Where models lie: as configured, or in the user's data folder."""
    if configured:
        return Path(configured).expanduser()
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "voicestack" / "models"


def find_model(named: str, folder: Path) -> Path:
    """The folder of a model, or its file: the path `named`, else the model of that name in the store.

    Raises:
        ConfigError: it is not there; the message has the command that fetches it.
    """
    path = Path(named).expanduser()
    if path.exists():
        return path
    if (stored := folder / named).exists():
        return stored
    raise ConfigError(f"there is no model '{named}': run `voicestack models pull {named}`")
