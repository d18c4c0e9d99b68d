"""The self-signed certificate: right names, kept, renewed, private. Files that do not fit are named."""

import contextlib
import os
import ssl
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from voicestack.access.certificate import Pair, Tls, certificate_of
from voicestack.config.access import TlsSection
from voicestack.core.errors import ConfigError

NOW_S = 1_800_000_000
DAY_S = 86_400
SELF_SIGNED = TlsSection(self_signed=True)


def made(cache: Path, host: str = "127.0.0.1", now_s: int = NOW_S) -> x509.Certificate:
    assert certificate_of(SELF_SIGNED, host, {"XDG_CACHE_HOME": str(cache)}, unix_s=lambda: now_s) is not None
    return x509.load_pem_x509_certificate((cache / "voicestack" / "tls" / "self-signed.pem").read_bytes())


def names(certificate: x509.Certificate) -> set[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in found}


def test_it_is_for_this_machine_and_the_address_that_is_listened_on(tmp_path: Path) -> None:
    assert names(made(tmp_path)) >= {"localhost", "127.0.0.1", "::1", os.uname().nodename}
    assert "0.0.0.0" not in names(made(tmp_path, "0.0.0.0"))
    assert "192.0.2.9" in names(made(tmp_path, "192.0.2.9"))
    key = tmp_path / "voicestack" / "tls" / "self-signed.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_it_is_kept_until_it_is_old_or_for_other_names(tmp_path: Path) -> None:
    first = made(tmp_path)
    assert (first.not_valid_after_utc - first.not_valid_before_utc).days == 397
    assert made(tmp_path, now_s=NOW_S + 300 * DAY_S) == first
    renewed = made(tmp_path, now_s=NOW_S + 370 * DAY_S)
    assert renewed.serial_number != first.serial_number
    assert made(tmp_path, "192.0.2.9").serial_number != renewed.serial_number
    (tmp_path / "voicestack" / "tls" / "self-signed.pem").write_text("damaged")
    assert names(made(tmp_path)) == names(first)


def test_openssl_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    made(tmp_path)
    cert = str(tmp_path / "voicestack" / "tls" / "self-signed.pem")
    at = ["-attime", str(NOW_S), "-verify_hostname", "localhost", "-purpose", "sslserver"]
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-partial_chain", *at, "-CAfile", cert, cert],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    made(tmp_path / "a")
    made(tmp_path / "b")
    one, other = (tmp_path / where / "voicestack" / "tls" / "self-signed" for where in "ab")
    with pytest.raises(ConfigError, match=r"nowhere\.pem: No such file"):
        Tls(Pair(tmp_path / "nowhere.pem", one.with_suffix(".key")))
    with pytest.raises(ConfigError, match=r"do not work together: KEY_VALUES_MISMATCH"):
        Tls(Pair(one.with_suffix(".pem"), other.with_suffix(".key")))
    with pytest.raises(ConfigError, match="do not work together"):
        Tls(Pair(one.with_suffix(".key"), one.with_suffix(".key")))
    subprocess.run(
        [
            *("openssl", "ec", "-aes128", "-passout", "pass:x"),
            *("-in", one.with_suffix(".key"), "-out", tmp_path / "locked.key"),
        ],
        check=True,
        capture_output=True,
    )
    with pytest.raises(ConfigError, match="do not work together"):
        Tls(Pair(one.with_suffix(".pem"), tmp_path / "locked.key"))


def test_a_renewed_certificate_is_taken_and_a_broken_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made(tmp_path)
    cert = tmp_path / "voicestack" / "tls" / "self-signed.pem"
    tls = Tls(Pair(cert, cert.with_suffix(".key")))

    def shown() -> bytes:
        """What a client sees."""
        into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        here = client.wrap_bio(into, out)
        there = tls.context.wrap_bio(out, into, server_side=True)
        for side in (here, there, here, there):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
        seen = here.getpeercert(binary_form=True)
        assert seen is not None
        return seen

    first = shown()
    tls.refresh()
    assert shown() == first
    made(tmp_path, "192.0.2.9")
    os.utime(cert, ns=(1, 1))
    tls.refresh()
    renewed = shown()
    assert renewed != first
    made(tmp_path / "other")
    other = tmp_path / "other" / "voicestack" / "tls" / "self-signed.pem"
    cert.write_bytes(other.read_bytes())  # half of a renewal: its key has not been written yet
    tls.refresh()
    assert shown() == renewed
    assert "stays in use" in caplog.text
    cert.unlink()
    tls.refresh()
    assert shown() == renewed


def test_a_certificate_needs_its_key_and_is_not_self_signed_too() -> None:
    for wrong in (
        {"cert_file": "a"},
        {"key_file": "a"},
        {"self_signed": True, "cert_file": "a", "key_file": "b"},
    ):
        with pytest.raises(ValueError, match=r"go together|cannot be true"):
            TlsSection.model_validate(wrong)
    assert certificate_of(TlsSection(), "127.0.0.1", {}, unix_s=lambda: 0) is None
