"""Photos at https:// addresses: fetched with limits, and never from a private network."""

import http.client
import io
import ipaddress
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from embed.images import MAX_BYTES, ImageProblem

SCHEME = "https://"

_AT_ONCE = threading.BoundedSemaphore(6)  # connections: what a browser allows itself
_CHUNK = 2**16
_SAFE = "%/:@!$&'()*+,;=~?"  # stays as it is in the path of an address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_UNICAST = ipaddress.ip_network("2000::/3")  # all public IPv6 there is
_HEADERS = {"User-Agent": "familia (photos for a collection)", "Accept": "image/*"}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Limits:
    """What fetching one photo may cost."""

    connect: float = 10.0  # seconds, TLS included
    read: float = 15.0  # seconds without a byte
    total: float = 60.0  # seconds
    size: int = MAX_BYTES
    redirects: int = 3


_LIMITS = Limits()


def fetch(url: str, limits: Limits | None = None, context: ssl.SSLContext | None = None) -> bytes:
    """The content at an https:// address; raises `ImageProblem`.

    A name is resolved once, all its addresses must be public, and the connection goes to one of
    those just checked, so a name server cannot answer differently in between. Every redirect is
    checked in the same way. Proxies in environment variables are not used: through a proxy
    nobody knows which machine is asked.
    """
    limits = limits or _LIMITS
    with _AT_ONCE:
        deadline = time.monotonic() + limits.total
        for _ in range(limits.redirects + 1):
            answer = _ask(checked(url), _Clock(deadline, limits), context or _context())
            if isinstance(answer, bytes):
                return answer
            url = urljoin(url, answer)
    raise ImageProblem(f"the web server sends from address to address ({limits.redirects} times)")


def checked(url: str) -> str:
    """The address with its odd characters quoted; raises `ImageProblem` where it is not https."""
    if not url[: len(SCHEME)].lower() == SCHEME:
        raise ImageProblem(f"'{_short(url)}': only https:// addresses are fetched")
    parts = _split(url)
    path = quote(parts.path or "/", _SAFE) + (f"?{quote(parts.query, _SAFE)}" * bool(parts.query))
    return f"{SCHEME}{parts.netloc}{path}"


def is_public(address: Address) -> bool:
    """Whether an IP address is one of the public internet, whatever it is wrapped in."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner:
            return is_public(inner)
        if address not in _UNICAST:
            return False
    return address.is_global and not address.is_multicast


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        ok = parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:  # a port that is no number, a bracket left open
        ok = False
    if not ok or not parts.netloc.isprintable() or set(parts.netloc) & set(" \\%"):
        raise ImageProblem(f"'{_short(url)}' is no web address that can be asked")
    return parts


def _short(url: str) -> str:
    return url if len(url) <= 100 else f"{url[:100]}…"


@cache
def _context() -> ssl.SSLContext:
    return ssl.create_default_context()


# ---- one request


@dataclass(frozen=True)
class _Clock:
    """How long the next step may wait."""

    deadline: float
    limits: Limits

    def left(self, most: float) -> float:
        left = min(most, self.deadline - time.monotonic())
        if left <= 0:
            raise TimeoutError
        return left


def _ask(url: str, clock: _Clock, context: ssl.SSLContext) -> bytes | str:
    """The content at `url`, or the address to which its server sends on."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        addresses = _public_addresses(host, parts.port or 443)
        with _connected(addresses, host, clock, context) as stream:
            connection = http.client.HTTPConnection(host, parts.port or 443)
            connection.default_port = 443
            connection.sock = _Timed(stream, clock)
            connection.request("GET", url[len(SCHEME) + len(parts.netloc) :], headers=_HEADERS)
            with connection.getresponse() as response:
                return _answer(response, clock.limits)
    except TimeoutError as error:
        raise ImageProblem("the web server took too long") from error
    except ssl.SSLCertVerificationError as error:
        raise ImageProblem(f"{host} has no valid certificate ({error.verify_message})") from error
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ImageProblem(f"cannot be fetched from {host} ({why})") from error


def _public_addresses(host: str, port: int) -> list[Any]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for *_, where in found:
        address = ipaddress.ip_address(str(where[0]).split("%")[0])
        if not is_public(address):
            raise ImageProblem(
                f"{host} is in a private network ({address}): only public web servers are asked"
            )
    return found


def _connected(
    addresses: list[Any], host: str, clock: _Clock, context: ssl.SSLContext
) -> ssl.SSLSocket:
    """A TLS connection to the first of the addresses that answers; `host` is who it must be."""
    failure: OSError = OSError("no address")
    for family, kind, protocol, _, where in addresses:
        plain = socket.socket(family, kind, protocol)
        try:
            plain.settimeout(clock.left(clock.limits.connect))
            plain.connect(where)
            plain.settimeout(clock.left(clock.limits.connect))
            return context.wrap_socket(plain, server_hostname=host)
        except OSError as error:
            plain.close()
            failure = error
    raise failure


def _answer(response: http.client.HTTPResponse, limits: Limits) -> bytes | str:
    moved = response.getheader("Location")
    if response.status in (301, 302, 303, 307, 308) and moved:
        return moved
    if response.status != 200:
        raise ImageProblem(f"the web server answered {response.status} {response.reason}".strip())
    if response.getheader("Content-Encoding", "identity") != "identity":
        raise ImageProblem("the web server packs the photo in a way that was not asked for")
    data = bytearray()
    while chunk := response.read(min(_CHUNK, limits.size + 1)):
        data += chunk
        if max(len(data), len(data) + (response.length or 0)) > limits.size:
            raise ImageProblem(f"too large: more than {limits.size:,} bytes on the web")
    if response.length:
        raise ImageProblem(f"the web server broke off: {response.length:,} bytes are missing")
    return bytes(data)


class _Timed(io.RawIOBase):
    """A socket as `http.client` wants it, where each wait ends in time.

    A socket's own timeout starts anew with every byte, so a server could drip for ever.
    """

    def __init__(self, stream: socket.socket, clock: _Clock) -> None:
        self._stream, self._clock = stream, clock

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self, _CHUNK)

    def readable(self) -> bool:
        return True

    def close(self) -> None:  # `http.client` closes its socket before it reads the body
        pass

    def readinto(self, buffer: Any) -> int:
        self._stream.settimeout(self._clock.left(self._clock.limits.read))
        return self._stream.recv_into(buffer)

    def sendall(self, data: bytes) -> None:
        self._stream.settimeout(self._clock.left(self._clock.limits.read))
        self._stream.sendall(data)
