"""How do two peers agree on keys, and how are events and audio encrypted with them?

DTLS 1.2 (RFC 6347) on OpenSSL, and SRTP keyed by it (RFC 5764). Nothing here waits and nothing has a task:
a datagram is dealt with completely when it comes. aiortc's `RTCDtlsTransport` reads through a task instead,
which would cost two task switches per packet of audio.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import pylibsrtp
from aiortc.rtcdtlstransport import generate_certificate
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from voicestack.aio.clock import Clock, Timer

DTLS_1_2 = 0xFEFD
"""The version on the wire. DTLS 1.3 has other record headers, and every browser speaks 1.2."""

DATAGRAM_BYTES = 1200
"""What gets through everywhere: IPv6's least MTU of 1280, less IP, UDP and TURN headers."""

_RECORD_HEADER_BYTES = 13
_READ_BYTES = 1 << 16

_CIPHERS = b":".join(
    b"ECDHE-%s-%s" % (key, cipher)
    for cipher in (b"AES128-GCM-SHA256", b"CHACHA20-POLY1305", b"AES256-GCM-SHA384")
    for key in (b"ECDSA", b"RSA")
)

_DIGESTS: dict[str, hashes.HashAlgorithm] = {
    "sha-256": hashes.SHA256(),
    "sha-384": hashes.SHA384(),
    "sha-512": hashes.SHA512(),
}


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Of a peer's certificate, from its SDP: the digest's name in lower case, and hex in upper case."""

    digest: str
    value: str


KNOWN_DIGESTS = frozenset(_DIGESTS)


@dataclass(frozen=True, slots=True)
class _Profile:
    name: bytes
    number: int
    salt_bytes: int
    key_bytes: int = 16


_PROFILES = (
    _Profile(b"SRTP_AEAD_AES_128_GCM", pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 12),
    _Profile(b"SRTP_AES128_CM_SHA1_80", pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 14),
)
"""GCM first: one pass, and half the time where the processor has AES."""


class Identity:
    """The certificate of this server towards peers. Self-signed: the SDP's fingerprint vouches for it."""

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = generate_certificate(key)
        self.fingerprint = Fingerprint("sha-256", _colons(certificate.fingerprint(hashes.SHA256())))
        self.ssl = SSL.Context(SSL.DTLS_METHOD)
        self.ssl.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_QUERY_MTU)
        self.ssl.set_max_proto_version(DTLS_1_2)
        self.ssl.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _any_certificate)
        self.ssl.use_certificate(certificate)
        self.ssl.use_privatekey(key)
        self.ssl.set_cipher_list(_CIPHERS)
        self.ssl.set_tlsext_use_srtp(b":".join(profile.name for profile in _PROFILES))


def _any_certificate(*_: object) -> bool:
    """Who it is from is checked by its fingerprint when the handshake is done."""
    return True


class Dtls:
    """One DTLS association. It outlives the network paths that it runs over.

    Args:
        identity: This end's.
        fingerprints: The other end's: each of a known digest must match.
        is_client: Which end begins.
        clock: For repeating what was lost of the handshake.
        send: Puts a datagram on the network. Must not wait or raise.
    """

    def __init__(
        self,
        identity: Identity,
        fingerprints: tuple[Fingerprint, ...],
        *,
        is_client: bool,
        clock: Clock,
        send: Callable[[bytes], None],
    ) -> None:
        self.is_client = is_client
        self.is_ready = False
        self.is_closed = False
        self.on_ready: Callable[[], None] = _ignore
        self.on_data: Callable[[bytes], None] = _ignore_data
        self.on_closed: Callable[[str], None] = _ignore_reason
        self._fingerprints = fingerprints
        self._clock = clock
        self._put = send
        self._timer: Timer | None = None
        self._ssl = SSL.Connection(identity.ssl, None)
        self._ssl.set_ciphertext_mtu(DATAGRAM_BYTES)
        if is_client:
            self._ssl.set_connect_state()
        else:
            self._ssl.set_accept_state()
        self._inbound: pylibsrtp.Session | None = None
        self._outbound: pylibsrtp.Session | None = None

    # --- DTLS -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """The network is there; the client begins."""
        if self.is_client and not self.is_closed:
            self._shake_hands()

    def receive(self, datagram: bytes) -> None:
        """Deal with a DTLS datagram."""
        if self.is_closed:
            return
        self._ssl.bio_write(datagram)
        if not self.is_ready:
            self._shake_hands()
        while self.is_ready and not self.is_closed:
            try:
                data = self._ssl.recv(_READ_BYTES)
            except SSL.WantReadError:
                break
            except SSL.ZeroReturnError:
                self._end("the peer closed the connection")
                break
            except SSL.Error as problem:
                self._end(f"DTLS broke ({_said(problem)})")
                break
            self.on_data(data)
        self._flush()

    def send(self, data: bytes) -> None:
        """Send application data; dropped unless the association stands."""
        if self.is_ready and not self.is_closed:
            try:
                self._ssl.send(data)
            except SSL.Error as problem:
                self._end(f"DTLS broke ({_said(problem)})")
            self._flush()

    def close(self) -> None:
        """Say goodbye (close_notify) if there is somebody to say it to."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.is_closed:
            return
        self.is_closed = True
        if self.is_ready:
            with suppress(SSL.Error):  # it was broken already
                self._ssl.shutdown()
            self._flush()

    # --- SRTP -----------------------------------------------------------------------------------------

    def protect_rtp(self, packet: bytes) -> bytes | None:
        """Encrypt RTP; None before there are keys."""
        return None if self._outbound is None else self._outbound.protect(packet)

    def protect_rtcp(self, packet: bytes) -> bytes | None:
        """Encrypt RTCP; None before there are keys."""
        return None if self._outbound is None else self._outbound.protect_rtcp(packet)

    def unprotect(self, packet: bytes, *, rtcp: bool) -> bytes | None:
        """Decrypt; None for what is not from the peer, comes again, or comes before there are keys."""
        if self._inbound is None:
            return None
        try:
            if rtcp:
                return self._inbound.unprotect_rtcp(packet)
            return self._inbound.unprotect(packet)
        except (pylibsrtp.Error, ValueError):  # ValueError: longer than any packet
            return None

    # --- inside ---------------------------------------------------------------------------------------

    def _shake_hands(self) -> None:
        try:
            self._ssl.do_handshake()
        except SSL.WantReadError:
            self._flush()
            self._repeat_later()
            return
        except SSL.Error as problem:
            self._flush()  # the alert
            self._end(f"the DTLS handshake failed ({_said(problem)})")
            return
        self._flush()
        if not self._is_expected_peer():
            self._end("the peer's certificate is not the one of its SDP")
        elif not self._set_up_srtp():
            self._end("no SRTP profile in common")
        else:
            self.is_ready = True
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self.on_ready()

    def _repeat_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        left_s = self._ssl.DTLSv1_get_timeout()
        if left_s is not None:
            # A millisecond more: OpenSSL repeats nothing before its own clock agrees.
            at_ns = self._clock.now_ns() + round(left_s * 1e9) + 1_000_000
            self._timer = self._clock.call_at(at_ns, self._repeat)

    def _repeat(self) -> None:
        self._timer = None
        if self.is_ready or self.is_closed:
            return
        try:
            self._ssl.DTLSv1_handle_timeout()
        except SSL.Error as problem:  # too many repetitions
            self._end(f"the DTLS handshake failed ({_said(problem)})")
            return
        self._flush()
        self._repeat_later()

    def _is_expected_peer(self) -> bool:
        certificate = self._ssl.get_peer_certificate(as_cryptography=True)
        if certificate is None:
            return False
        known = [each for each in self._fingerprints if each.digest in _DIGESTS]
        return bool(known) and all(
            each.value == _colons(certificate.fingerprint(_DIGESTS[each.digest])) for each in known
        )

    def _set_up_srtp(self) -> bool:
        """RFC 5764, section 4.2: client's key, server's key, client's salt, server's salt."""
        chosen = self._ssl.get_selected_srtp_profile()
        profile = next((each for each in _PROFILES if each.name == chosen), None)
        if profile is None:
            return False
        n_key, n_salt = profile.key_bytes, profile.salt_bytes
        secret = self._ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (n_key + n_salt))
        salts = secret[2 * n_key :]
        of_client = secret[:n_key] + salts[:n_salt]
        of_server = secret[n_key : 2 * n_key] + salts[n_salt:]
        mine, theirs = (of_client, of_server) if self.is_client else (of_server, of_client)
        self._inbound = _session(profile, theirs, pylibsrtp.Policy.SSRC_ANY_INBOUND)
        self._outbound = _session(profile, mine, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        return True

    def _end(self, reason: str) -> None:
        if not self.is_closed:
            self.close()
            self.on_closed(reason)

    def _flush(self) -> None:
        """Put what OpenSSL has written on the network."""
        try:
            data = self._ssl.bio_read(_READ_BYTES)
        except SSL.WantReadError:
            return
        for datagram in datagrams(data):
            self._put(datagram)


def datagrams(records: bytes) -> Iterator[bytes]:
    """Cut DTLS records apart, as many to a datagram as fit. OpenSSL's memory BIO runs them together."""
    start = at = 0
    while at + _RECORD_HEADER_BYTES <= len(records):
        end = at + _RECORD_HEADER_BYTES + int.from_bytes(records[at + 11 : at + 13])
        if end - start > DATAGRAM_BYTES and at > start:
            yield records[start:at]
            start = at
        at = end
    if start < len(records):
        yield records[start:]


def _session(profile: _Profile, key: bytes, direction: int) -> pylibsrtp.Session:
    policy = pylibsrtp.Policy(key=key, ssrc_type=direction, srtp_profile=profile.number)
    policy.window_size = 1024
    return pylibsrtp.Session(policy)


def _colons(digest: bytes) -> str:
    return digest.hex(":").upper()


def _said(problem: SSL.Error) -> str:
    """OpenSSL's last words: the error holds (library, function, reason) triples."""
    triples = problem.args[0] if problem.args else ()
    return str(triples[-1][-1]) if isinstance(triples, list) and triples else type(problem).__name__


def _ignore() -> None:
    """Nobody listens."""


def _ignore_data(data: bytes) -> None:
    """Nobody listens."""


def _ignore_reason(reason: str) -> None:
    """Nobody listens."""
