"""Which addresses does a server tell, and which password does it give?"""

import pytest

from voicestack.server.ice import turn_login
from voicestack.server.rtc import local_addresses


def test_a_login_is_signed_as_coturn_wants_it() -> None:
    """Compared with `openssl dgst -sha1 -hmac north` on the user name."""
    login = turn_login("north", "anyone", 1_700_000_600)
    assert login.username == "1700000600:anyone"
    assert login.credential == EXPECTED
    assert turn_login("south", "anyone", 1_700_000_600).credential != login.credential


EXPECTED = "29AaMEgdXo+oyDHHn+JdhBK0/tc="


@pytest.mark.parametrize(
    ("host", "server_host", "addresses"),
    [
        ("", "127.0.0.1", ("127.0.0.1",)),
        ("", "localhost", ("127.0.0.1",)),
        ("", "0.0.0.0", ()),
        ("", "", ()),
        ("", "::", ()),
        ("192.0.2.4", "127.0.0.1", ("192.0.2.4",)),
        ("0.0.0.0", "127.0.0.1", ()),
    ],
)
def test_where_peer_connections_listen(host: str, server_host: str, addresses: tuple[str, ...]) -> None:
    assert local_addresses(host, server_host) == addresses
