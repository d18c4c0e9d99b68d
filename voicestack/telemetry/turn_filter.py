"""Which turns does somebody want to see, and which may they?"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who reads the ledger. Nothing is read without one.

    Attributes:
        tenant: Whose turns they see.
        is_operator: They see everybody's.
    """

    tenant: str
    is_operator: bool = False

    def __post_init__(self) -> None:
        if not self.tenant:
            raise ValueError("who reads the ledger has a tenant")


OPERATOR = Reader("default", is_operator=True)
"""The server itself."""


@dataclass(frozen=True, slots=True)
class TurnFilter:
    """Some of the turns. None means all of them.

    Attributes:
        from_ms: Turns that began then or later: Unix time.
        to_ms: Turns that began before.
        tenant: As in `Origin`; so are `route`, `profile`, `region` and `release`.
        verdict: As in `TurnRecord`.
        outcome: Likewise.
        rung: The name of one that was taken.
        stage: The one that is to blame.
        replica: One that was asked.
        is_cold: Whether a replica that was not warm took part.
    """

    from_ms: int
    to_ms: int
    tenant: str | None = None
    route: str | None = None
    profile: str | None = None
    region: str | None = None
    release: str | None = None
    verdict: str | None = None
    outcome: str | None = None
    rung: str | None = None
    stage: str | None = None
    replica: str | None = None
    is_cold: bool | None = None
