"""What can be configured of the ledger of turns?"""

from pydantic import BaseModel, Field

from voicestack.config.kinds import STRICT


class LedgerSection(BaseModel):
    """What is kept of every turn, and where."""

    model_config = STRICT

    ring_turns: int = Field(default=10_000, ge=1, le=1_000_000)
    """Turns kept in memory for the dashboard; about 2 kB each."""
    store: str = "auto"
    """Where they are written: a URL (`sqlite:///PATH`, `postgresql://USER@HOST/DATABASE`), `auto` for a
    SQLite file beside the keys, empty for nowhere."""
    keep_days: int = Field(default=30, ge=1, le=3_650)
    """Older turns are deleted from the store."""
    transcripts: bool = False
    """Keep what was said and heard, too. Off: the ledger holds no words."""
