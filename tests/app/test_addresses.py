"""Where nothing may be sent: every spelling of an address that is not public, and names that change their answer."""

from __future__ import annotations

import threading

import pytest

from luthier.app import addresses, posting
from luthier.core.errors import InputError

PRIVATE = [
    "http://127.0.0.1/", "http://127.0.0.1./", "http://127.1/", "http://127.0.1/", "http://2130706433/", "http://0x7f000001/",
    "http://0x7f.0.0.1/", "http://017700000001/", "http://0177.0.0.1/", "http://127.0.0.01/", "http://0/", "http://0.0.0.0/",
    "http://00000127.0.0.1/", "http://127.0.0.0x1/", "http://127.0.0.1.0x/", "http://256.1.1.1/", "http://1.2.3.4.5/",
    "http://１２７.0.0.1/", "http://①②⑦.0.0.1/", "http://127。0。0。1/", "http://127.0.0.1%00.example.com/", "http://127%2e0%2e0%2e1/",
    "http://10.0.0.1/", "http://172.16.0.1/", "http://172.31.255.255/", "http://192.168.1.1:8080/", "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/", "http://169.254.170.2/", "http://100.100.100.200/", "http://168.63.129.16/",
    "http://192.0.0.192/", "http://198.18.0.1/", "http://224.0.0.1/", "http://239.255.255.250/", "http://240.0.0.1/",
    "http://255.255.255.255/", "http://192.88.99.1/", "http://203.0.113.5/",
    "http://[::1]/", "http://[::]/", "http://[0:0:0:0:0:0:0:1]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/",
    "http://[::ffff:169.254.169.254]/", "http://[::127.0.0.1]/", "http://[::7f00:1]/", "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b::a9fe:a9fe]/", "http://[64:ff9b:1::1]/", "http://[2002:7f00:1::]/", "http://[2002:a9fe:a9fe::1]/",
    "http://[2001:0:7f00:1::]/", "http://[2001:db8::1]/", "http://[3fff::1]/", "http://[fe80::1]/", "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/", "http://[fc00::1]/", "http://[fd00:ec2::254]/", "http://[fec0::1]/", "http://[ff02::1]/",
    "http://[::ffff:0:127.0.0.1]/", "http://[100::1]/", "http://[5f00::1]/", "http://[4000::1]/",
]  # fmt: skip

UNREADABLE = [
    "", "example.com", "//example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "unix:///run/docker.sock",
    "javascript:alert(1)", "http:///path", "http://", "https://:443/", "http://user@example.com/", "http://user:pass@example.com/",
    "http://@example.com/", "http://example.com@127.0.0.1/", "http://127.0.0.1\\@example.com/", "http://example.com\\.evil/",
    "http://exa mple.com/", "http://example.com/a b", "http://example.com/\r\nx-evil: 1", "http://example.com/\x00", "http://exam\tple.com/",
    "http://example.com:0/", "http://example.com:/", "http://example.com:65536/", "http://example.com:99999999999/", "http://example.com:-1/",
    "http://example.com:８０８０x/", "http://example.com/#part", "http://example.com/#", "http://[::1/", "http://::1/", "http://[example.com]/",
    "http://[127.0.0.1]/", "http://-example.com/", "http://example..com/", "http://.example.com/", "http://exa%6dple.com/",
    "http://ex℀mple.com/", "http://exam\u200bple.com/", "http://\ud800.com/",
    "http://" + "a" * 64 + ".com/", "http://" + "a." * 200 + "com/",
    "http://example.com/" + "a" * 3000, "http://" + "é" * 1500 + ".com",
]  # fmt: skip


@pytest.mark.parametrize("url", PRIVATE, ids=ascii)
def test_no_spelling_of_a_private_address_passes(url: str) -> None:
    with pytest.raises(InputError, match="url: "):
        addresses.resolve(url, resolver=lambda host, port: [host])


@pytest.mark.parametrize("url", UNREADABLE, ids=lambda url: ascii(url)[:60])
def test_what_can_be_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="url: "):
        addresses.read(url)


@pytest.mark.parametrize(
    ("url", "host", "port", "target", "header"),
    [
        ("https://example.com", "example.com", 443, "/", "example.com"),
        ("HTTPS://EXAMPLE.com.:443/Hook?a=b&c=%20", "example.com", 443, "/Hook?a=b&c=%20", "example.com"),
        ("http://example.com:8080/hook/é", "example.com", 8080, "/hook/%C3%A9", "example.com:8080"),
        ("https://bücher.example/?q=ü", "xn--bcher-kva.example", 443, "/?q=%C3%BC", "xn--bcher-kva.example"),
        ("https://my_host.example-1.org/", "my_host.example-1.org", 443, "/", "my_host.example-1.org"),
        ("http://93.184.216.34/", "93.184.216.34", 80, "/", "93.184.216.34"),
        ("http://[2606:2800:0220:1::1]:8080/", "2606:2800:220:1::1", 8080, "/", "[2606:2800:220:1::1]:8080"),
    ],
)
def test_an_address_is_read_in_one_way(url: str, host: str, port: int, target: str, header: str) -> None:
    place = addresses.read(url)
    assert (place.host, place.port, place.target, place.host_header) == (host, port, target, header)


@pytest.mark.parametrize("number", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822", "1.1.1.1"])
def test_public_numbers_pass(number: str) -> None:
    assert addresses.resolve("https://example.com/", resolver=lambda *_: [number]).numbers == (number,)


@pytest.mark.parametrize("number", ["127.0.0.1", "::1", "10.1.2.3", "192.168.0.7", "fd12::1", "100.64.1.1", "::ffff:10.0.0.1"])
def test_private_numbers_pass_where_they_are_allowed(number: str) -> None:
    assert addresses.judge(number, allow_private=True) == ""
    assert addresses.judge(number, allow_private=False)


@pytest.mark.parametrize(
    "number",
    [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "fe80::1",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "168.63.129.16",
        "fd00:ec2::254",
        "x",
        "",
    ],
)
def test_a_clouds_own_services_are_never_allowed(number: str) -> None:
    assert addresses.judge(number, allow_private=True)


def test_one_private_number_among_public_ones_refuses_all() -> None:
    with pytest.raises(InputError, match=r"example.com \(10.0.0.1\) is not a public address") as caught:
        addresses.resolve("https://example.com/", resolver=lambda *_: ["93.184.216.34", "10.0.0.1"])
    assert "LUTHIER_WEBHOOK_PRIVATE=1" in caught.value.hint


def test_this_machine_by_name_is_refused_by_the_systems_own_resolver() -> None:
    with pytest.raises(InputError, match="localhost"):
        addresses.resolve("http://localhost/")


def test_an_unknown_name_is_no_reason_to_refuse_a_webhook_yet() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise OSError("Name or service not known")

    addresses.check("https://soon.example/", resolver=unknown)
    with pytest.raises(OSError, match="not known"):
        addresses.resolve("https://soon.example/", resolver=unknown)
    with pytest.raises(OSError, match="no address"):
        addresses.resolve("https://soon.example/", resolver=lambda *_: [])


def test_a_resolver_that_hangs_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    until = threading.Event()
    monkeypatch.setattr(addresses.socket, "getaddrinfo", lambda *_, **__: [str(until.wait(10))][:0])
    monkeypatch.setattr(addresses, "LOOK_UP_S", 0.05)
    with pytest.raises(TimeoutError):
        addresses.look_up("slow.example", 443)
    until.set()


class Rebinding:
    """A name that is public when it is judged, and this machine when it is asked again."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        return [self.answers[min(self.asked, len(self.answers)) - 1]]


def test_a_name_that_changes_its_answer_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is made to the number that was judged; the name is not looked up again."""
    connected = []

    def connect(address: tuple[str, int], timeout: float) -> None:
        connected.append(address)
        raise ConnectionRefusedError("not in a test")

    monkeypatch.setattr(posting.socket, "create_connection", connect)
    name = Rebinding("93.184.216.34", "127.0.0.1")
    with pytest.raises(posting.Silent):
        posting.post("http://rebinding.example:8080/", {"id": "evt_1"}, [], resolver=name)
    assert (name.asked, connected) == (1, [("93.184.216.34", 8080)])
    with pytest.raises(InputError, match=r"rebinding.example \(127.0.0.1\)"):
        posting.post("http://rebinding.example:8080/", {"id": "evt_1"}, [], resolver=name)
    assert len(connected) == 1, "the second delivery judged anew, and did not connect"
