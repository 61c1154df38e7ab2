"""Which requests the public address answers, and which of their headers reach the emulator.

On 127.0.0.1 no login is needed, so only this machine's programs and pages are answered. On any other address the API
function demands a login, as on AWS. This module adds two checks that the function cannot make: a page cannot reach this
machine through a DNS name of its own (DNS rebinding), and no header of a request addresses the emulator behind the
function, which would serve all of its AWS to a request with the right host or header.

The emulator's own port listens on 127.0.0.1 only.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from gust.local.asgi import Headers, Scope
from gust.local.processes import InUseError

LOOPBACK: Final = ("127.0.0.1", "localhost")
"""Addresses on which every request is an administrator's. `localhost` means 127.0.0.1."""

_HOST: Final = re.compile(r"(?:\[[^]/?#@]+\]|[^]\[:/?#@\\\s]+)(?::\d+)?")
"""A name or an address, and perhaps a port. A longer value could mean one host here and another to the emulator, which
reads only its beginning."""

_FROM_US: Final = frozenset({"same-origin", "none"})
"""Accepted values of `Sec-Fetch-Site`. For a browser all ports of this machine are one site."""

_TELLING: Final = frozenset({b"host", b"origin", b"sec-fetch-site", b"sec-fetch-dest", b"sec-fetch-mode"})
"""Headers that tell where a request comes from."""


@dataclass(frozen=True, slots=True)
class FrontDoor:
    host: str = "127.0.0.1"
    """An address or a name of it, or `0.0.0.0` or `::` for all of this machine's."""

    @property
    def demands_login(self) -> bool:
        return self.host not in LOOPBACK

    def listen(self, port: int) -> socket.socket:
        """Raises InUseError where the port is taken, or the address is not this machine's."""
        try:
            family, _, _, _, address = socket.getaddrinfo(self._address, port, type=socket.SOCK_STREAM)[0]
            both = family == socket.AF_INET6 and self.host == "::" and socket.has_dualstack_ipv6()
            return nodelay(socket.create_server(address, family=family, dualstack_ipv6=both))
        except OSError as problem:
            why = problem.strerror or str(problem)
            raise InUseError(f"Cannot listen on {self.host}, port {port}: {why}.") from problem

    def url(self, port: int, *, from_elsewhere: bool = False) -> str:
        """The URL for this machine, or with `from_elsewhere` for others."""
        host = self._address
        if host in {"0.0.0.0", "::"}:  # noqa: S104  compared, not bound
            host = own_address() if from_elsewhere else "127.0.0.1"
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def refuses(self, scope: Scope) -> bool:
        if not self.demands_login:
            return is_from_elsewhere(scope, links=True)
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        names = [name.lower() for name, _ in scope["headers"]]
        if names.count(b"host") > 1 or names.count(b"origin") > 1:
            return True  # one of them might be looked at here, and another one behind
        if not _HOST.fullmatch(host) or not self._is_ours(_name(f"//{host}")):
            return True
        if origin is not None:
            return not _name(origin) or urlsplit(origin).netloc != host
        return headers.get(b"sec-fetch-site", "none") not in _FROM_US and not _is_link(headers)

    def inner(self, headers: Headers) -> Headers:
        """The headers for the emulator, without AWS's: it verifies no signature, but trusts the name in it."""
        if not self.demands_login:
            return headers
        kept = [(name, value) for name, value in headers if not _is_for_aws(name.lower(), value)]
        if not any(name.lower() == b"x-forwarded-proto" for name, _ in kept):
            kept.append((b"x-forwarded-proto", b"http"))
        return kept

    @property
    def _address(self) -> str:
        return "127.0.0.1" if self.host == "localhost" else self.host

    def _is_ours(self, name: str) -> bool:
        """Whether the host is an IP address or a name of this machine: a page's own DNS name is neither."""
        return _is_number(name) or name in {self.host.lower(), "localhost", *own_names()}


def is_from_elsewhere(scope: Scope, *, links: bool) -> bool:
    """Whether a browser sends the request for a page of another address, which may be another port of this machine:
    nothing here asks for credentials, and MiniStack allows every origin.

    Scripts and forms send `Origin`; images and links send `Sec-Fetch-Site`. With `links`, a followed link is accepted,
    because a GET changes nothing. `Host` reveals a page whose DNS name points to 127.0.0.1.
    """
    headers = {
        known: value.decode("latin-1") for name, value in scope["headers"] if (known := name.lower()) in _TELLING
    }
    host, origin = headers.get(b"host"), headers.get(b"origin")
    if host is not None and not _is_here(f"//{host}"):
        return True
    if origin is not None:
        return not _is_here(origin) or urlsplit(origin).netloc != host
    return headers.get(b"sec-fetch-site", "none") not in _FROM_US and not (links and _is_link(headers))


def _is_link(headers: Mapping[bytes, str]) -> bool:
    """Whether a person follows a link. A frame is none: a page could put its own buttons over ours."""
    is_frame = headers.get(b"sec-fetch-dest", "document") != "document"
    return headers.get(b"sec-fetch-mode") == "navigate" and not is_frame


def nodelay(listening: socket.socket) -> socket.socket:
    """Without it an answer's body waits 40 ms for the acknowledgement of its headers. Accepted connections inherit
    it."""
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def own_names() -> Iterable[str]:
    """This machine's host name, and its mDNS name."""
    name = socket.gethostname().lower()
    return name, f"{name.partition('.')[0]}.local"


def own_address() -> str:
    """The source address of this machine's outgoing connections. Nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()


def _is_for_aws(name: bytes, value: bytes) -> bool:
    return name.startswith(b"x-amz") or (name == b"authorization" and value.lstrip().upper().startswith(b"AWS4"))


@functools.lru_cache(maxsize=256)
def _is_here(url: str) -> bool:
    name = _name(url)
    return name in {"localhost", "127.0.0.1", "::1"} or name.endswith(".localhost")


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _name(url: str) -> str:
    """The URL's host name; empty where it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
