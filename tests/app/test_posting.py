"""One signed delivery: what is sent, that OpenAI's client verifies it, and every way in which a receiver can be wrong."""

from __future__ import annotations

import datetime
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from openai import InvalidWebhookSignatureError, OpenAI

from luthier.app import posting
from luthier.app.posting import Silent
from luthier.app.webhooks import new_secret
from luthier.core.errors import InputError

EVENT = {"id": "evt_1", "object": "event", "type": "fine_tuning.job.succeeded", "created_at": 1, "data": {"id": "ftjob-ä\ud800"}}


def _client(secret: str) -> OpenAI:
    return OpenAI(api_key="none", webhook_secret=secret)


def test_the_client_unwraps_what_is_sent(receiver) -> None:
    secret, old = new_secret(), new_secret()
    assert posting.post(receiver.url + "?a=b", EVENT, [secret, old], allow_private=True) == 200
    sent = receiver.requests[0]
    assert sent.path == "/hook?a=b"
    assert sent.headers["webhook-id"] == "evt_1"
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["host"] == receiver.url.split("/")[2]
    for valid in (secret, old):
        event = _client(valid).webhooks.unwrap(sent.body, sent.headers)
        assert (event.id, event.type, event.data.id) == ("evt_1", "fine_tuning.job.succeeded", EVENT["data"]["id"])
    with pytest.raises(InvalidWebhookSignatureError):
        _client(new_secret()).webhooks.unwrap(sent.body, sent.headers)
    with pytest.raises(InvalidWebhookSignatureError):
        _client(secret).webhooks.unwrap(sent.body.replace(b"succeeded", b"failed"), sent.headers)


def test_a_redirect_is_an_answer_and_is_not_followed(receiver) -> None:
    receiver.answers, receiver.more = [302], {"location": receiver.url + "/elsewhere"}
    assert posting.post(receiver.url, EVENT, [], allow_private=True) == 302
    assert len(receiver.requests) == 1


def test_a_private_receiver_is_not_asked(receiver) -> None:
    for url in (receiver.url, receiver.url.replace("127.0.0.1", "localhost")):
        with pytest.raises(InputError, match="is not a public address"):
            posting.post(url, EVENT, [])
    assert receiver.requests == []


def test_no_proxy_of_the_environment_is_used(receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert posting.post(receiver.url, EVENT, [], allow_private=True) == 200


def _bare(talk: Callable[[socket.socket], None]) -> tuple[str, socket.socket]:
    """A server that is none: what ``talk`` does with the first connection."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            try:
                talk(connection)
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{server.getsockname()[1]}/", server


def _dribble(connection: socket.socket) -> None:
    """A byte now and then, each within any single read's time."""
    for byte in b"HTTP/1.1 200 OK\r\n" + b"x" * 1000:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def _flood(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 100_000)


@pytest.mark.parametrize(
    ("talk", "says"),
    [
        (lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2 secret-banner\r\n"), "the answer is not HTTP"),
        (lambda connection: None, "the answer is not HTTP"),
        (lambda connection: time.sleep(2), "took too long"),
        (_dribble, "took too long"),
        (_flood, "the answer is"),
    ],
)
def test_no_answer_is_said_in_words_without_what_was_sent(talk: Callable[[socket.socket], None], says: str) -> None:
    url, server = _bare(talk)
    begun = time.monotonic()
    with server, pytest.raises(Silent, match=says) as caught:
        posting.post(url, EVENT, [], allow_private=True, timeout_s=0.6)
    assert "banner" not in str(caught.value)
    assert time.monotonic() - begun < 1.5


def test_a_long_body_is_not_read_to_its_end() -> None:
    sent = []

    def long(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(100_000):
            sent.append(connection.send(b"x" * 65536))

    url, server = _bare(long)
    with server:
        assert posting.post(url, EVENT, [], allow_private=True) == 200
    assert sum(sent) < 20_000_000


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(Silent, match="refused"):
        posting.post(f"http://127.0.0.1:{port}/", EVENT, [], allow_private=True)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of its own authority for hooks.example, with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hooks.example")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 7, now - datetime.timedelta(days=1), now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain) + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def secure(receiver, certificate: Path) -> tuple[int, list[str], ssl.SSLContext]:
    """The receiver behind TLS: its port, the names that were asked for, and a context that trusts it."""
    asked: list[str] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)
    return receiver.server.server_port, asked, ssl.create_default_context(cafile=str(certificate))


def test_tls_is_for_the_name_and_not_for_the_number(receiver, secure) -> None:
    port, asked, trusting = secure
    here = {"allow_private": True, "resolver": lambda *_: ["127.0.0.1"]}
    assert posting.post(f"https://hooks.example:{port}/", EVENT, [], context=trusting, **here) == 200
    assert asked == ["hooks.example"]
    assert receiver.requests[0].headers["host"] == f"hooks.example:{port}"
    with pytest.raises(Silent, match=r"certificate is not valid: .*other\.example"):
        posting.post(f"https://other.example:{port}/", EVENT, [], context=trusting, **here)
    with pytest.raises(Silent, match=r"certificate is not valid: self.signed"):
        posting.post(f"https://hooks.example:{port}/", EVENT, [], **here)
    assert len(receiver.requests) == 1


def test_the_next_number_is_tried_when_one_does_not_answer(receiver) -> None:
    url = receiver.url.replace("127.0.0.1", "two.example")
    assert posting.post(url, EVENT, [], allow_private=True, resolver=lambda *_: ["127.0.0.9", "127.0.0.1"]) == 200


def test_the_body_is_json_and_its_length_is_right(receiver) -> None:
    posting.post(receiver.url, EVENT, [], allow_private=True)
    assert json.loads(receiver.requests[0].body) == EVENT
