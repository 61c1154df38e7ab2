"""Whom the address that people open answers, and with what of their request.

On 127.0.0.1 nobody is asked who they are, so that only this machine's programs and pages may ask. On any other address
the API function demands a login, as on AWS. What it cannot see to is seen to here: that a page from elsewhere does
not come in by a name of its own which it lets point to this machine, and that nothing in a request speaks to the
emulator behind the function, which would hand out all of its AWS to whoever names the right host or header.

The emulator's own port is never on any other address than 127.0.0.1.
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
"""Where everybody is administrator. `localhost` is listened to as 127.0.0.1."""

_HOST: Final = re.compile(r"(?:\[[^]/?#@]+\]|[^]\[:/?#@\\\s]+)(?::\d+)?")
"""A name or an address, and perhaps a port. With more in it, one might be read here and another one by the emulator, which
looks at how it begins."""

_FROM_US: Final = frozenset({"same-origin", "none"})
"""Of `Sec-Fetch-Site`. For a browser all ports of this machine are one site."""

_TELLING: Final = frozenset({b"host", b"origin", b"sec-fetch-site", b"sec-fetch-dest", b"sec-fetch-mode"})
"""The headers that tell where a request comes from."""


@dataclass(frozen=True, slots=True)
class FrontDoor:
    host: str = "127.0.0.1"
    """The address, or a name of it, or all of this machine's: `0.0.0.0`, `::`."""

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
        """Where this machine finds it; `from_elsewhere`: what to tell others."""
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
        """What the emulator gets to see: nothing that it takes for AWS's. It verifies no signature, but believes the name
        in it."""
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
        """A page cannot make its own name look like a number, and one of ours it does not own."""
        return _is_number(name) or name in {self.host.lower(), "localhost", *own_names()}


def is_from_elsewhere(scope: Scope, *, links: bool) -> bool:
    """Whether a browser sends it for a page that is not of this very address, be it another port of this machine: nothing
    here asks for credentials, and MiniStack allows every origin.

    A page's origin is in `Origin` where a script or a form asks, and `Sec-Fetch-Site` tells of images and links; `links`
    are let in where asking changes nothing. A page that lets its own name point to 127.0.0.1 gives itself away by `Host`.
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
    """Not so a frame: a page could lay its own buttons over ours."""
    is_frame = headers.get(b"sec-fetch-dest", "document") != "document"
    return headers.get(b"sec-fetch-mode") == "navigate" and not is_frame


def nodelay(listening: socket.socket) -> socket.socket:
    """Else an answer's body waits 40 ms for its headers to be acknowledged. Accepted connections inherit it."""
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def own_names() -> Iterable[str]:
    """As this machine calls itself, and as others find it without a name server."""
    name = socket.gethostname().lower()
    return name, f"{name.partition('.')[0]}.local"


def own_address() -> str:
    """The one that this machine would speak to others from; nothing is sent to find out."""
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
    """The host's; empty where there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
