"""Keys, secrets, addresses and origins, without a server."""

import multiprocessing
import stat
import string
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestack.access import secret
from voicestack.access.asked import Asked, read_request, subprotocols
from voicestack.access.key_file import KeyFile, KeysInForce, default_path
from voicestack.access.keys import PREFIX, BadKeyFile, Keyring, Terms, digest, mint
from voicestack.access.places import Origins, Proxies, counted_as, is_loopback
from voicestack.access.principal import Denied
from voicestack.access.secret import Claims
from voicestack.core.errors import ConfigError, PeerProtocolError

SIGNING_KEY = bytes(range(32))


# --- keys -------------------------------------------------------------------------------------------------


def test_a_key_is_found_by_itself_only_and_until_it_ends() -> None:
    made = mint(Terms(tenant="acme", name="phone", expires_at_s=2000), 1000)
    other = mint(Terms(), 1000)
    ring = Keyring().with_key(made.key).with_key(other.key)
    assert ring.of(made.secret, 1999) == made.key
    assert ring.of(made.secret, 2000) is None
    assert ring.of(other.secret, 10**12) == other.key
    name, _, rest = made.secret.removeprefix(PREFIX).partition("-")
    assert name == made.key.id
    mixed = f"{PREFIX}{other.key.id}-{rest}"
    for wrong in (
        mixed,
        made.secret[:-1],
        made.secret + "\n",
        made.key.sha256,
        made.key.id,
        "",
        "\x00ü",
        "\udcff",
    ):
        assert ring.of(wrong, 1000) is None
    assert ring.without(made.key.id).of(made.secret, 1000) is None
    assert len(ring) == 2


def test_secrets_are_long_different_and_not_in_the_file() -> None:
    made = [mint(Terms(), 0) for _ in range(50)]
    assert len({one.secret for one in made}) == 50
    for one in made:
        assert set(one.secret) <= set(string.ascii_letters + string.digits + "-_")  # goes into any header
        assert len(one.secret.split("-", 3)[3]) == 43  # 256 bits
        text = Keyring().with_key(one.key).written()
        assert one.secret.split("-", 3)[3].encode() not in text
        assert digest(one.secret).encode() in text


@pytest.mark.parametrize("tenant", ["", "-x", "a/b", "a\nb", "x" * 65, "ü"])
def test_tenants_have_plain_names(tenant: str) -> None:
    with pytest.raises(ValueError, match="tenant"):
        mint(Terms(tenant=tenant), 0)


def test_the_file_is_read_as_it_was_written_and_nothing_else_is_taken() -> None:
    keys = [mint(Terms(tenant="a", max_sessions=3), 5).key, mint(Terms(requests_per_minute=9), 6).key]
    ring = Keyring({key.id: key for key in keys})
    assert list(Keyring.read(ring.written())) == keys
    for text in (b"", b"[]", b"{", b'{"keys": 5}', b'{"version": 2, "keys": []}', b'{"other": 1}', b"\xff"):
        with pytest.raises(BadKeyFile):
            Keyring.read(text)


def test_the_file_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "new" / "keys.json")
    assert file.read() is None
    assert file.stamp() is None
    made = mint(Terms(), 0)
    file.change(lambda ring: ring.with_key(made.key))
    file.signing_key()
    for path in (file.path, file.path.with_name("keys.json.signing")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    left = {path.name for path in file.path.parent.iterdir()}
    assert left == {"keys.json", "keys.json.signing", "keys.json.lock"}


def test_the_signing_key_stays_and_is_closed_to_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys.json.signing"
    first = KeyFile(tmp_path / "keys.json").signing_key()
    path.chmod(0o644)
    assert KeyFile(tmp_path / "keys.json").signing_key() == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "read by others" in caplog.text
    path.write_bytes(b"short")
    with pytest.raises(ConfigError, match="damaged"):
        KeyFile(tmp_path / "keys.json").signing_key()
    keys = KeysInForce(KeyFile(tmp_path / "keys.json"))
    assert len(keys.signing_key) == 32
    assert keys.signing_key == keys.signing_key
    assert "will not outlive" in caplog.text


def _add(path: Path, n_keys: int) -> None:
    for _ in range(n_keys):
        made = mint(Terms(), 0)
        KeyFile(path).change(partial(Keyring.with_key, key=made.key))


def test_nothing_is_lost_when_two_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_add, args=(path, 20)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert len(KeyFile(path).read() or ()) == 60


def test_what_the_disk_refuses_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    file = KeyFile(tmp_path / "file" / "keys.json")
    with pytest.raises(ConfigError, match=r"access\.keys_file .* cannot be written"):
        file.change(lambda ring: ring)
    with pytest.raises(ConfigError, match="cannot be read"):
        KeyFile(tmp_path).read()


def test_the_default_place() -> None:
    assert default_path({"XDG_DATA_HOME": "/data"}) == Path("/data/voicestack/keys.json")
    assert default_path({}) == Path.home() / ".local/share/voicestack/keys.json"


def test_a_refusal_can_quote_what_is_no_text() -> None:
    assert b"not_found" in Denied(404, "not_found", "There is no \udcff.").body


# --- ephemeral secrets ------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
claims = st.builds(
    Claims,
    id=st.text(max_size=12),
    tenant=st.text(max_size=64),
    key_id=st.text(max_size=10),
    expires_at_s=st.integers(0, 2**40),
    session=st.dictionaries(st.text(max_size=8), json_values, max_size=4),
    model=st.none() | st.text(max_size=40),
)


@given(claims)
def test_a_secret_says_what_was_signed_and_fits_into_headers(said: Claims) -> None:
    value = secret.sign(said, SIGNING_KEY)
    assert secret.read(value, SIGNING_KEY) == said
    assert set(value) <= set(string.ascii_letters + string.digits + "-_")
    assert len(value) <= secret.MAX_CHARS
    assert secret.read(value, b"x" * 32) is None


@given(claims, st.data())
def test_no_changed_secret_says_anything_else(said: Claims, data: st.DataObject) -> None:
    value = secret.sign(said, SIGNING_KEY)
    at = data.draw(st.integers(0, len(value) - 1))
    letter = data.draw(st.sampled_from(string.ascii_letters + string.digits + "-_=. ü"))
    read = secret.read(value[:at] + letter + value[at + 1 :], SIGNING_KEY)
    assert read in (None, said)  # the spare bits of the last letter may differ
    for cut in (value[:at], value[at:], value + "A" * 4):
        if cut != value:
            assert secret.read(cut, SIGNING_KEY) is None


@given(st.text() | st.binary(max_size=100).map(lambda raw: "ek_" + raw.hex()))
def test_what_was_never_a_secret_is_none(text: str) -> None:
    assert secret.read(text, SIGNING_KEY) is None
    assert secret.read("ek_" + text, SIGNING_KEY) is None


def test_a_session_too_large_for_a_header_is_refused() -> None:
    said = Claims("i", "t", "k", 1, {"instructions": "".join(map(str, range(5_000)))})
    with pytest.raises(PeerProtocolError, match=r"session\.update") as caught:
        secret.sign(said, SIGNING_KEY)
    assert caught.value.wire_code == "session_too_large"


# --- who asks ---------------------------------------------------------------------------------------------


def asked(peer: str = "192.0.2.9", **headers: str | list[str]) -> Asked:
    """`api_key` stands for `api-key`."""
    values = {name.lower().replace("_", "-"): value for name, value in headers.items()}

    def values_of(name: str) -> list[str]:
        found = values.get(name.lower(), [])
        return [found] if isinstance(found, str) else found

    return read_request(values_of, peer)


def test_credentials_are_found_wherever_clients_put_them() -> None:
    browser = "realtime, openai-insecure-api-key.k3, openai-agents-sdk.1"
    assert asked(authorization="Bearer k1", api_key="k2", sec_websocket_protocol=browser).credential == "k1"
    assert asked(authorization="bEARER   k1 ").credential == "k1"
    assert asked(authorization=["Basic x", "Bearer k1"]).credential == "k1"
    assert asked(authorization="Basic x", api_key="k2").credential == "k2"
    assert asked(sec_websocket_protocol=["realtime", "openai-insecure-api-key.k3"]).credential == "k3"
    nothing = ("Bearer", "Bearer ", "k1", "")
    assert [asked(authorization=value).credential for value in nothing] == [None] * 4
    assert asked(sec_websocket_protocol="openai-insecure-api-key.").credential is None
    assert subprotocols(lambda _: ["a,, b ", "c"]) == ["a", "b", "c"]


def test_only_trusted_proxies_are_believed() -> None:
    chain = "6.6.6.6, 203.0.113.5, 10.0.0.7"
    nobody, ours = Proxies([]), Proxies(["10.0.0.0/8", "::1"])
    assert nobody.client_of(asked("10.0.0.1", x_forwarded_for=chain)) == "10.0.0.1"
    assert ours.client_of(asked("10.0.0.1", x_forwarded_for=chain)) == "203.0.113.5"
    assert ours.client_of(asked("203.0.113.9", x_forwarded_for=chain)) == "203.0.113.9"
    assert ours.client_of(asked("10.0.0.1", x_forwarded_for="10.0.0.2, 10.0.0.3")) == "10.0.0.2"
    assert ours.client_of(asked("10.0.0.1")) == "10.0.0.1"
    assert ours.client_of(asked("10.0.0.1", x_forwarded_for="1.2.3.4, unknown")) == "10.0.0.1"
    assert ours.client_of(asked("::1", x_forwarded_for="[2001:db8::1]:443")) == "2001:db8::1"
    assert ours.client_of(asked("::ffff:10.0.0.1", x_forwarded_for="1.2.3.4:5678")) == "1.2.3.4"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("127.0.0.5", ""),
        ("::1", ""),
        ("::ffff:127.0.0.1", ""),
        ("unix", ""),
        ("", ""),
    ],
)
def test_an_address_is_counted_as_its_owner(address: str, name: str) -> None:
    assert counted_as(address) == name


def test_what_only_this_machine_can_reach() -> None:
    for host in ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LOCALHOST", "::ffff:127.0.0.1"):
        assert is_loopback(host), host
    for host in (
        "0.0.0.0",
        "::",
        "",
        "192.168.1.2",
        "example.com",
        "localhost.example.com",
        "127.0.0.1.nip.io",
    ):
        assert not is_loopback(host), host


def test_which_pages_may_connect() -> None:
    def allows(origin: str | None, *allowed: str, host: str = "voice.example.com", own: bool = True) -> bool:
        return Origins(allowed, own_pages=own).allow(Asked("1.2.3.4", origin=origin, host=host))

    assert allows(None)
    assert allows("https://voice.example.com")
    assert allows("https://voice.example.com", host="voice.example.com:443")
    assert allows("HTTPS://Voice.Example.com")
    assert allows("http://voice.example.com:8080", host="voice.example.com:8080")
    assert not allows("http://voice.example.com:8080")
    assert not allows("https://voice.example.com", own=False)
    assert allows("http://localhost:3000", own=False)
    assert allows("http://[::1]:3000", own=False)
    assert not allows("chrome-extension://localhost")
    assert not allows("https://evil.example")
    assert not allows("https://localhost.evil.example")
    assert not allows("https://voice.example.com.evil.example")
    assert not allows("https://evil.example/voice.example.com")
    assert not allows("null")
    assert not allows("")
    assert not allows("https://[", host="[")
    assert not allows("https://", host="")
    assert allows("https://app.example.com", "https://app.example.com")
    assert allows("https://app.example.com", "https://APP.example.com/")
    assert not allows("https://app.example.com:444", "https://app.example.com")
    assert allows("null", "null")
    assert allows("https://anything.example", "*")
    twice = asked(origin=["https://voice.example.com", "https://evil.example"], host="voice.example.com")
    assert not Origins(["*"], own_pages=True).allow(twice)
