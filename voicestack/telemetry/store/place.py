"""Where is the ledger kept? What `ledger.store` says, as a URL for SQLAlchemy."""

from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from voicestack.core.errors import ConfigError

AUTO = "auto"
FILE_NAME = "ledger.db"

SCHEMES = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


def url_of(store: str, beside: Path) -> URL | None:
    """The URL; None for no store.

    Args:
        store: What the configuration says.
        beside: The keys file; `auto` is in the same folder.

    Raises:
        ConfigError: it is no such URL, or its driver is not installed.
    """
    if not store:
        return None
    if store == AUTO:
        return URL.create("sqlite", database=str(beside.with_name(FILE_NAME)))
    try:
        url = make_url(store)
    except ArgumentError:
        url = None
    if url is None or url.drivername not in SCHEMES:
        raise ConfigError(
            "ledger.store is no URL of a database that can be used: write sqlite:///PATH or "
            "postgresql://USER@HOST/DATABASE, or auto, or nothing for no store"
        )
    if url.drivername == "sqlite" and not url.database:
        raise ConfigError("ledger.store names no file: write sqlite:///PATH")
    url = url.set(drivername=SCHEMES[url.drivername])
    if url.drivername != "sqlite" and find_spec("psycopg") is None:
        raise ConfigError(
            "ledger.store wants PostgreSQL; its driver is missing: pip install 'voicestack[postgres]'"
        )
    return url


def shown(url: URL) -> str:
    """The URL for people, without its password."""
    return url.set(drivername=url.drivername.partition("+")[0]).render_as_string(hide_password=True)
