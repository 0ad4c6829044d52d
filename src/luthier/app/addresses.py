"""Where a webhook may be delivered to: public addresses only, so that nobody makes this server ask the network behind it (SSRF).

An address is read strictly (``read``), its host is looked up once (``Target``), every address that the look-up gave is judged
(``judge``), and the connection is then made to those very numbers. A name that changes its answer between the look-up and the
connection (DNS rebinding) gains nothing: there is no second look-up.
"""

from __future__ import annotations

import contextlib
import ipaddress
import queue
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import quote, urlsplit

from luthier.core.errors import InputError

LONGEST = 2048
LOOK_UP_S = 5.0
"""How long a name may take to be looked up; the system's resolver itself knows no limit."""

_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,62}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,62}[a-z0-9_])?)*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORTS = {"http": 80, "https": 443}
_SERVICES = {ipaddress.ip_address(number) for number in ("168.63.129.16", "192.0.0.192", "100.100.100.200", "fd00:ec2::254")}
"""Clouds' services for their own machines (Azure, Oracle, Alibaba, Amazon) that are not link-local."""
_INSIDE_4 = [ipaddress.ip_network(net) for net in ("192.0.0.0/24", "192.88.99.0/24")]
"""Not for the internet either, though not every version of Python knows it."""
_CARRIER = ipaddress.ip_network("100.64.0.0/10")
_GLOBAL_6 = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_EMBEDDING = [ipaddress.ip_network(net) for net in ("2002::/16", "2001::/32", "2001:db8::/32", "3fff::/20")]
"""6to4 and Teredo carry an IPv4 address inside, to which a relay would forward; the others are for documentation."""

Number = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], list[str]]
"""(host, port) to the numbers of the host; raises ``OSError``."""

_REMEDY = "give an address such as https://example.com/hook that is reached from the internet"
_ALLOW = "the server's owner can allow private addresses: LUTHIER_WEBHOOK_PRIVATE=1, or the workspace's setting webhook_private"


@dataclass(frozen=True, slots=True)
class Place:
    """A read address: ``host`` is in ASCII and small letters (without brackets), ``target`` is the path with its query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def host_header(self) -> str:
        """What the ``Host`` header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Target:
    """A place whose host was looked up: ``numbers`` are all judged to be allowed; connect to these and to nothing else."""

    place: Place
    numbers: tuple[str, ...]


def read(url: str) -> Place:
    """The parts of an address; raises ``InputError`` for whatever two readers could read in two ways."""
    if len(url) > LONGEST:
        raise InputError(f"url: has {len(url)} characters, the most is {LONGEST}", _REMEDY)
    if not url.isprintable() or any(mark in url for mark in " \\<>\"'`^{|}"):
        raise InputError("url: has a space, a backslash, a quote, a bracket or a control character in it", _REMEDY)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise InputError(f"url: {error}", _REMEDY) from None
    if parts.scheme not in _PORTS:
        raise InputError(f"url: begins with {parts.scheme!r}, not with http or https", _REMEDY)
    if "@" in parts.netloc:
        raise InputError("url: holds a user name or a password", "leave it out: deliveries are signed with the webhook's secret")
    if parts.fragment or url.endswith("#"):
        raise InputError("url: has a fragment (#...), which is never sent", "leave it out")
    if port == 0 or parts.netloc.endswith(":"):
        raise InputError("url: has no usable port after the colon", "leave the colon out, or give a port from 1 to 65535")
    target = quote(parts.path or "/", safe="/%:@!$&()*+,;=~-._") + (
        f"?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?')}" if parts.query else ""
    )
    return Place(parts.scheme, _host(host, bracketed="[" in parts.netloc), port or _PORTS[parts.scheme], target)


def _host(host: str, *, bracketed: bool) -> str:
    """The host in its one spelling: numbers as they are usually written, names in ASCII. Others (octal, hexadecimal ...) are refused."""
    if bracketed:
        try:
            return str(ipaddress.IPv6Address("" if "%" in host else host))
        except ValueError:
            _refuse(host)
    try:
        name = host.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError:
        _refuse(host)
    if not _HOST.fullmatch(name) or len(name) > 253:
        _refuse(host)
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            _refuse(host)
    return name


def _refuse(host: str) -> NoReturn:
    raise InputError(f"url: {host[:100]!r} is not a host", "write a name, or an address as 93.184.216.34 or [2606:2800:220:1::1]")


def judge(number: str, *, allow_private: bool) -> str:
    """Why nothing may be sent to an IP address ("" when it may). Links of one cable and clouds' own services are never allowed."""
    try:
        address = ipaddress.ip_address(number)
    except ValueError:
        return "is not an IP address"
    inner = _embedded(address)
    if inner is not None:
        return judge(str(inner), allow_private=allow_private)
    if address in _SERVICES or address.is_link_local or address.is_multicast or address.is_unspecified:
        return "is reserved for the machine itself"
    if allow_private and (address.is_private or address.is_loopback or address in _CARRIER):
        return ""
    public = address.is_global
    if isinstance(address, ipaddress.IPv6Address):
        public = public and address in _GLOBAL_6 and not any(address in net for net in _EMBEDDING)
    else:
        public = public and not any(address in net for net in _INSIDE_4)
    return "" if public else "is not a public address"


def _embedded(address: Number) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for on this machine or behind its NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped:
        return address.ipv4_mapped
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None


def _is_number(host: str) -> bool:
    return ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]) is not None


def look_up(host: str, port: int) -> list[str]:
    """The system's resolver, with a limit of ``LOOK_UP_S``; raises ``OSError``."""
    answers: queue.Queue[list[str] | OSError] = queue.Queue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.put(list(dict.fromkeys(str(entry[4][0]) for entry in found)))
        except (OSError, UnicodeError) as error:
            answers.put(OSError(str(error)))

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=LOOK_UP_S)
    except queue.Empty:
        raise TimeoutError(f"looking the name up took longer than {LOOK_UP_S:g} s") from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def resolve(url: str, *, allow_private: bool = False, resolver: Resolver = look_up) -> Target:
    """The address with the numbers to connect to. One bad number refuses all: a name with a public and a private one is a trick.

    Raises ``InputError`` when it may not be delivered to, ``OSError`` when the name cannot be looked up.
    """
    place = read(url)
    numbers = [place.host] if _is_number(place.host) else resolver(place.host, place.port)
    if not numbers:
        raise OSError(f"{place.host} has no address")
    for number in numbers:
        reason = judge(number, allow_private=allow_private)
        if reason:
            shown = place.host if number == place.host else f"{place.host} ({number})"
            raise InputError(f"url: {shown} {reason}", f"{_REMEDY}; {_ALLOW}")
    return Target(place, tuple(numbers))


def check(url: str, *, allow_private: bool = False, resolver: Resolver = look_up) -> None:
    """Raises ``InputError`` when nothing could ever be delivered to ``url``; a name that is not known yet may be known later."""
    with contextlib.suppress(OSError):
        resolve(url, allow_private=allow_private, resolver=resolver)
