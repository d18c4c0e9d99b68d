"""Who is let in, and at what pace? Every request and every session passes here."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from voicestack.access.asked import Asked
from voicestack.access.key_file import KeysInForce
from voicestack.access.keys import Key
from voicestack.access.limits import Buckets, Charge, Rate, Seat, Seats
from voicestack.access.places import Origins, Proxies, counted_as, is_loopback
from voicestack.access.principal import ANYONE, Denied, Principal
from voicestack.access.secret import PREFIX as SECRET_PREFIX
from voicestack.access.secret import Claims, read
from voicestack.access.spending import AccountMeter, Spender, Spending
from voicestack.aio.clock import Clock
from voicestack.config.access import AccessSection, LimitsSection
from voicestack.core.errors import ConfigError

log = logging.getLogger(__name__)

SEAT_RETRY_S = 5
"""When to try again after "too many at once". Nobody knows when a conversation ends."""

FORBIDDEN_ORIGIN = Denied(
    403,
    "origin_not_allowed",
    "Pages from this origin may not use this server. Its operator can add the origin to access.origins.",
)
NO_KEY = Denied(
    401,
    "invalid_api_key",
    "You didn't provide an API key. Send it as 'Authorization: Bearer KEY', or from a browser as the "
    "WebSocket subprotocol 'openai-insecure-api-key.KEY'.",
)
WRONG_KEY = Denied(401, "invalid_api_key", "Incorrect API key provided: it is wrong, expired or revoked.")
WRONG_SECRET = Denied(
    401, "invalid_api_key", "Incorrect client secret provided: it is wrong, expired, or its key was revoked."
)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who was let in.

    Attributes:
        principal: On whose behalf.
        address: Of the client itself.
        claims: What the ephemeral secret says, if one was shown.
        seats: What a session of theirs is counted against.
        spender: Who pays for its replies.
    """

    principal: Principal
    address: str
    claims: Claims | None = None
    seats: tuple[Seat, ...] = ()
    spender: Spender = Spender()


def refuse_exposure(host: str, access: AccessSection, keys: KeysInForce) -> None:
    """Do not let a server start that strangers could use.

    Raises:
        ConfigError: other machines could reach it, and it would ask nobody for a key.
    """
    if is_loopback(host) or access.open_to_anyone or len(keys.ring):
        return
    raise ConfigError(
        f"server.host {host or '(all addresses)'} can be reached from other machines, and there are no "
        "API keys: anybody could talk at your expense.\n"
        f"Create a key: voicestack keys create    (kept in {keys.file.path})\n"
        "or listen on this machine only: --host 127.0.0.1\n"
        "or let everybody in: --set access.open_to_anyone=true"
    )


class Guard:
    """Says who comes in.

    Args:
        host: The address that the server listens on.
        access: Who may.
        limits: How much.
        keys: The keys that count.
        clock: For rates.
        unix_s: Unix time, for what expires.
    """

    def __init__(
        self,
        host: str,
        access: AccessSection,
        limits: LimitsSection,
        keys: KeysInForce,
        *,
        clock: Clock,
        unix_s: Callable[[], int],
    ) -> None:
        self._access, self._limits, self._keys = access, limits, keys
        self._clock, self._unix_s = clock, unix_s
        self._is_local = is_loopback(host) and not access.open_to_anyone
        self._proxies = Proxies(access.trusted_proxies)
        self._by_address, self._by_key = Buckets(), Buckets()  # so that addresses cannot push keys out
        self._seats, self._spending = Seats(), Spending(clock)
        self._refusals: Counter[str] = Counter()

    @property
    def refusals(self) -> Mapping[str, int]:
        """How many were refused, by code."""
        return self._refusals

    @property
    def asks_for_keys(self) -> bool:
        """Whether one needs a key."""
        return self._keys.are_required and not self._access.open_to_anyone

    def allows_origin(self, asked: Asked) -> bool:
        """Whether the web page that it comes from may connect. True for what is no browser."""
        own_pages = self.asks_for_keys or not self._is_local
        return Origins(self._access.origins, own_pages=own_pages).allow(asked)

    def slow_down(self, asked: Asked) -> Denied | None:
        """Count a request against its address. Returns the refusal when there were too many."""
        name = counted_as(self._proxies.client_of(asked))
        rate = Rate(self._limits.requests_per_minute_per_address)
        return self._charge(self._by_address, [Charge(name, rate)]) if name else None

    def admit(self, asked: Asked) -> Visitor | Denied:
        """Let them in or not: origin, then pace, then key. `slow_down` is part of it."""
        answer = self._decide(asked)
        if isinstance(answer, Denied):
            self._refusals[answer.code] += 1
        return answer

    def full(self, visitor: Visitor) -> Denied | None:
        """Whether the visitor has all the sessions there may be at once."""
        seat = self._seats.full(visitor.seats)
        if seat is None:
            return None
        whose = seat.account.partition(" ")[0]
        message = f"Too many sessions at once for this {whose}: {seat.cap} are allowed."
        self._refusals["rate_limit_exceeded"] += 1
        return Denied(429, "rate_limit_exceeded", message, SEAT_RETRY_S)

    def sit(self, visitor: Visitor) -> None:
        """A session of theirs begins. Ask `full` first."""
        self._seats.take(visitor.seats)

    def leave(self, visitor: Visitor) -> None:
        """A session of theirs has ended."""
        self._seats.leave(visitor.seats)

    def meter(self, visitor: Visitor) -> AccountMeter:
        """What the replies of a session of theirs are counted with."""
        return self._spending.meter(visitor.spender)

    def is_welcome_still(self, principal: Principal) -> bool:
        """Whether a session may go on: its key has not been revoked. Expiry ends no session."""
        if not principal.key_id:
            return True
        key = self._keys.ring.named(principal.key_id)
        return key is not None and key.tenant == principal.tenant

    def _decide(self, asked: Asked) -> Visitor | Denied:
        if not self.allows_origin(asked):
            return FORBIDDEN_ORIGIN
        slow = self.slow_down(asked)
        if slow is not None:
            return slow
        found = self._identify(asked)
        return self._failed(asked, found) if isinstance(found, Denied) else self._welcome(asked, *found)

    # --- who ------------------------------------------------------------------------------------------------

    def _identify(self, asked: Asked) -> tuple[Principal, Key | None, Claims | None] | Denied:
        credential, now_s = asked.credential, self._unix_s()
        if credential is not None and credential.startswith(SECRET_PREFIX):
            return self._bearer_of(credential, now_s)
        key = None if credential is None else self._keys.ring.of(credential, now_s)
        if key is not None:
            return Principal(key.tenant, key.id), key, None
        if not self.asks_for_keys:
            return ANYONE, None, None
        return NO_KEY if credential is None else WRONG_KEY

    def _bearer_of(self, secret: str, now_s: int) -> tuple[Principal, Key | None, Claims | None] | Denied:
        claims = read(secret, self._keys.signing_key)
        if claims is None or claims.expires_at_s <= now_s:
            return WRONG_SECRET
        key = self._keys.ring.named(claims.key_id)
        made_without_key = not claims.key_id and not self.asks_for_keys
        made_with_key = key is not None and key.tenant == claims.tenant and key.is_valid(now_s)
        if not (made_without_key or made_with_key):
            return WRONG_SECRET
        return Principal(claims.tenant, claims.key_id, ephemeral=True), key, claims

    # --- how much -------------------------------------------------------------------------------------------

    def _welcome(
        self, asked: Asked, principal: Principal, key: Key | None, claims: Claims | None
    ) -> Visitor | Denied:
        limits, charges, seats = self._limits, [], []
        if key is not None:
            account = f"key {key.id}"
            charges.append(
                Charge(account, Rate(key.requests_per_minute or limits.requests_per_minute_per_key))
            )
            seats.append(Seat(account, key.max_sessions or limits.sessions_per_key))
        if claims is not None:
            account = f"secret {claims.id}"
            charges.append(Charge(account, Rate(limits.requests_per_minute_per_secret)))
            seats.append(Seat(account, limits.sessions_per_secret))
        address = self._proxies.client_of(asked)
        if name := counted_as(address):
            seats.append(Seat(f"address {name}", limits.sessions_per_address))
        slow = self._charge(self._by_key, charges)
        return slow or Visitor(principal, address, claims, tuple(seats), self._spender(principal, key))

    def _spender(self, principal: Principal, key: Key | None) -> Spender:
        """The key, also behind an ephemeral secret; without keys, everybody together."""
        replies, tokens = self._limits.responses_per_minute_per_key, self._limits.tokens_per_minute_per_key
        if key is None:
            return Spender(f"tenant {principal.tenant}", replies, tokens)
        return Spender(f"key {key.id}", key.responses_per_minute or replies, key.tokens_per_minute or tokens)

    def _failed(self, asked: Asked, refusal: Denied) -> Denied:
        """Somebody without a valid key. A valid one always opens: whoever guesses cannot lock others out."""
        address = self._proxies.client_of(asked)
        rate = Rate(self._limits.failures_per_minute_per_address)
        account = f"failures {counted_as(address) or address}"
        slow = self._charge(self._by_address, [Charge(account, rate)])
        if slow is not None:
            return slow
        log.info("%s shows no valid key", address)
        return refusal

    def _charge(self, buckets: Buckets, charges: Sequence[Charge]) -> Denied | None:
        wait_ns = buckets.take(charges, self._clock.now_ns())
        if not wait_ns:
            return None
        wait_s = -(-wait_ns // 1_000_000_000)
        message = f"Too many requests. Please try again in {wait_s} s."
        return Denied(429, "rate_limit_exceeded", message, wait_s)
