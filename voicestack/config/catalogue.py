"""Which models does this version know? The tables in `configs/models`, beside the profiles."""

import tomllib

from voicestack.config.load import PROFILE_DIRS
from voicestack.core.catalogue import BadCatalogue, Catalogue, read_catalogue
from voicestack.core.errors import ConfigError

FOLDER = "models"


def load_catalogue() -> Catalogue:
    """Read it.

    Raises:
        ConfigError: a file is damaged.
    """
    folder = next((path / FOLDER for path in PROFILE_DIRS if (path / FOLDER).is_dir()), None)
    if folder is None:
        raise ConfigError("the catalogue of models (configs/models) is not installed")
    try:
        tables = [(path.name, tomllib.loads(path.read_text())) for path in sorted(folder.glob("*.toml"))]
        return read_catalogue(tables)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, BadCatalogue) as error:
        raise ConfigError(f"{folder}: {error}") from None
