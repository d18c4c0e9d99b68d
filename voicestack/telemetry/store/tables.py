"""What does the ledger look like in a database? As the last migration leaves it."""

from typing import Any

import orjson
from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, MetaData, String, Table
from sqlalchemy.dialects.postgresql import JSONB

METADATA = MetaData()

TENANT_SETTING = "voicestack.tenant"
"""What row-level security in PostgreSQL goes by; set in every transaction."""
EVERY_TENANT = "*"
"""The operator's value of it. No tenant can have that name: see `access.keys.Name`."""

TURNS = Table(
    "turns",
    METADATA,
    Column("id", String, primary_key=True),
    Column("tenant", String, nullable=False),
    Column("began_unix_ms", BigInteger, nullable=False),
    Column("route", String, nullable=False),
    Column("profile", String, nullable=False),
    Column("region", String, nullable=False),
    Column("release", String, nullable=False),
    Column("verdict", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("blamed", String, nullable=False),
    Column("cold", Boolean, nullable=False),
    Column("rungs", String, nullable=False),  # ",draft,hedge,"
    Column("replicas", String, nullable=False),  # likewise
    Column("body", JSON().with_variant(JSONB(), "postgresql"), nullable=False),
    Index("turns_by_time", "began_unix_ms", "id", "verdict"),
    Index("turns_by_tenant", "tenant", "began_unix_ms", "id", "verdict"),
)
"""One row per turn: columns for what one looks for, and all the rest in `body` (see `codec`)."""


def json_text(value: Any) -> str:
    """What is kept in a column of JSON."""
    return orjson.dumps(value).decode()
