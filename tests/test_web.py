"""Photos from the web: only https, only public machines, and never without an end."""

import contextlib
import ipaddress
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embed import sources, web
from embed.collection import read_collection
from embed.images import ImageProblem

HOST = "photos.example"
LIMITS = web.Limits(size=50_000)
QUICK = web.Limits(read=0.3, total=0.8)
PHOTO = bytes(range(256)) * 100


class Handler(BaseHTTPRequestHandler):
    """A server that behaves as the path says; `asked` has what came to it."""

    protocol_version = "HTTP/1.1"
    asked: list[str]
    at_once: list[int]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        with contextlib.suppress(OSError):  # the client goes away: that is the point
            getattr(self, f"do_{self.path[1:].split('/')[0].split('?')[0]}", self.do_missing)()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", headers.pop("length", str(len(body))))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_photo(self) -> None:
        self.answer(PHOTO)

    def do_host(self) -> None:
        self.answer(f"{self.headers['Host']} {self.path}".encode())

    def do_missing(self) -> None:
        self.answer(b"no", 404)

    def do_to(self) -> None:  # /to/scheme/rest -> scheme://rest
        scheme, rest = self.path[4:].split("/", 1)
        self.answer(b"", 302, Location=f"{scheme}://{rest}" if scheme != "here" else f"/{rest}")

    def do_circle(self) -> None:
        self.answer(b"", 301, Location="/circle")

    def do_large(self) -> None:
        self.answer(b"x" * 100, length=str(10**12))

    def do_endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(b"x" * 10_000)

    def do_chunked(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in (PHOTO[:1000], PHOTO[1000:]):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    def do_short(self) -> None:
        self.answer(PHOTO[:-1], length=str(len(PHOTO)))

    def do_packed(self) -> None:
        self.answer(PHOTO, Content_Encoding="gzip")

    def do_empty(self) -> None:
        self.answer(b"")

    def do_silent(self) -> None:
        time.sleep(1.5)

    def do_drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        for _ in range(30):
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(0.1)

    def do_dripping(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for n in range(30):
            self.wfile.write(b"X-%d: x\r\n" % n)
            self.wfile.flush()
            time.sleep(0.1)

    def do_nonsense(self) -> None:
        self.wfile.write(b"\0\xff\0" * 100)

    def do_many(self) -> None:
        self.at_once.append(1)
        time.sleep(0.05)
        self.answer(str(len(self.at_once)).encode())
        self.at_once.pop()


class Plain:
    """In the place of TLS where no certificate can be made."""

    def wrap_socket(self, stream: socket.socket, server_hostname: str) -> socket.socket:
        return stream


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    if not shutil.which("openssl"):
        return None
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout key.pem -out cert.pem "
        f"-subj /CN={HOST} -addext subjectAltName=DNS:{HOST}"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder


class Server:
    def __init__(self, certificate: Path | None) -> None:
        self.asked: list[str] = []
        self.names: list[str | None] = []
        handler = type("Here", (Handler,), {"asked": self.asked, "at_once": []})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.context: Any = Plain()
        if certificate:
            mine = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            mine.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
            mine.sni_callback = lambda _socket, name, _context: self.names.append(name)
            self.http.socket = mine.wrap_socket(self.http.socket, server_side=True)
            self.context = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, path: str) -> str:
        return f"https://{HOST}:{self.port}{path}"


@pytest.fixture
def server(certificate: Path | None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server on this machine that is taken for a public one called photos.example."""
    here = Server(certificate)
    known = {HOST: "127.0.0.1", "inside.example": "127.0.0.2", "10.0.0.1": "10.0.0.1"}
    monkeypatch.setattr(socket, "getaddrinfo", resolver(known))
    public = web.is_public
    monkeypatch.setattr(web, "is_public", lambda a: str(a) == "127.0.0.1" or public(a))
    monkeypatch.setattr(web, "_context", lambda: here.context)
    monkeypatch.setattr(web, "_LIMITS", LIMITS)
    yield here
    here.http.shutdown()
    here.http.server_close()


def resolver(known: dict[str, str]) -> Callable[..., Any]:
    def resolve(host: str, port: int, **_: object) -> Any:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        family = socket.AF_INET6 if ":" in known[host] else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (known[host], port))]

    return resolve


def refused(url: str) -> str:
    with pytest.raises(ImageProblem) as caught:
        web.fetch(url)
    return str(caught.value)


# ---- what comes


def test_a_photo_comes_whole(server):
    assert web.fetch(server.url("/photo/1.jpg")) == PHOTO
    assert web.fetch(server.url("/chunked")) == PHOTO
    assert web.fetch(server.url("/to/here/photo")) == PHOTO
    assert web.fetch(server.url(f"/to/https/{HOST}:{server.port}/to/here/photo")) == PHOTO
    assert sources.read(server.url("/photo")) == PHOTO


def test_the_name_goes_to_the_server_though_the_address_was_resolved_before(server):
    body = web.fetch(server.url("/host/a b/é%20.jpg?q=ü&r=1#gone")).decode()
    assert body == f"{HOST}:{server.port} /host/a%20b/%C3%A9%20.jpg?q=%C3%BC&r=1"
    assert set(server.names) <= {HOST}


def test_a_certificate_for_another_name_is_refused(server, certificate, monkeypatch):
    if not certificate:
        pytest.skip("no openssl to make a certificate")
    monkeypatch.setattr(socket, "getaddrinfo", resolver({"other.example": "127.0.0.1"}))
    assert "no valid certificate" in refused(f"https://other.example:{server.port}/photo")
    monkeypatch.setattr(web, "_context", ssl.create_default_context)
    monkeypatch.setattr(socket, "getaddrinfo", resolver({HOST: "127.0.0.1"}))
    assert "no valid certificate" in refused(server.url("/photo"))
    assert server.asked == []


def test_answers_that_are_no_photo(server):
    assert refused(server.url("/none.jpg")) == "the web server answered 404 Not Found"
    assert "1 bytes are missing" in refused(server.url("/short"))
    assert "was not asked for" in refused(server.url("/packed"))
    assert "cannot be fetched from photos.example" in refused(server.url("/nonsense"))
    assert refused("https://unknown.example/1.jpg") == (
        "cannot be fetched from unknown.example (Name or service not known)"
    )
    with pytest.raises(ImageProblem, match="empty file"):
        sources.read(server.url("/empty"))
    with pytest.raises(ImageProblem, match="camera RAW"):
        sources.read(server.url("/photo/1.NEF"))


# ---- never without an end


@pytest.mark.parametrize("path", ["/large", "/endless"])
def test_a_huge_body_is_cut(path, server):
    assert refused(server.url(path)) == "too large: more than 50,000 bytes on the web"


@pytest.mark.parametrize("path", ["/silent", "/drip", "/dripping"])
def test_a_slow_answer_is_cut(path, server, monkeypatch):
    monkeypatch.setattr(web, "_LIMITS", QUICK)
    assert refused(server.url(path)) == "the web server took too long"


def test_a_server_that_sends_in_circles(server):
    assert "from address to address" in refused(server.url("/circle"))
    assert len(server.asked) == LIMITS.redirects + 1


def test_few_connections_at_one_time(server):
    with ThreadPoolExecutor(24) as pool:
        at_once = list(pool.map(web.fetch, [server.url("/many")] * 24))
    assert max(map(int, at_once)) <= web._AT_ONCE._initial_value < 24


# ---- never to a private network

PRIVATE = (
    "127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1",
    "0.0.0.0", "255.255.255.255", "224.0.0.1", "::1", "::", "fe80::1", "fc00::1", "ff02::1",
    "fec0::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "2002:7f00:1::",
    "64:ff9b::10.0.0.1", "2001:0:1::1",
)  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_no_connection_to_a_private_address_or_a_name_of_one(address, monkeypatch):
    def never(*_: object) -> None:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", never)
    host = f"[{address}]" if ":" in address else address
    assert "in a private network" in refused(f"https://{host}/latest/meta-data")
    monkeypatch.setattr(socket, "getaddrinfo", resolver({"nice.example": address}))
    assert "nice.example is in a private network" in refused("https://nice.example/1.jpg")


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f.1", "127.1", "[::ffff:7f00:1]"])
def test_other_spellings_of_this_machine(host):
    assert "in a private network" in refused(f"https://{host}/1.jpg")


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "64:ff9b::8.8.8.8"])
def test_public_addresses_are_public(address):
    assert web.is_public(ipaddress.ip_address(address))


@given(st.ip_addresses(v=4))
def test_a_wrapped_address_is_as_public_as_what_is_in_it(inner):
    for wrapped in (f"::ffff:{inner}", f"64:ff9b::{inner}"):
        assert web.is_public(ipaddress.ip_address(wrapped)) == web.is_public(inner)
    assert web.is_public(inner) == (inner.is_global and not inner.is_multicast)


def test_one_private_address_among_public_ones_is_enough(monkeypatch):
    found = [*resolver({"x": "8.8.8.8"})("x", 443), *resolver({"x": "10.0.0.1"})("x", 443)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert "in a private network (10.0.0.1)" in refused("https://x/1.jpg")


def test_a_redirect_to_a_private_address_is_refused(server):
    assert "(10.0.0.1)" in refused(server.url("/to/https/10.0.0.1/photo"))
    assert "(127.0.0.2)" in refused(server.url(f"/to/https/inside.example:{server.port}/photo"))
    assert len(server.asked) == 2
    for scheme in ("http", "file", "ftp"):
        said = refused(server.url(f"/to/{scheme}/{HOST}:{server.port}/photo"))
        assert "only https:// addresses are fetched" in said


def test_a_name_that_changes_its_address_in_between_does_not_help(monkeypatch):
    """The name is resolved once, and what was checked is what is connected to."""
    answers = iter(["8.8.8.8", "127.0.0.1"])
    asked, connected = [], []

    def resolve(host: str, port: int, **_: object) -> Any:
        asked.append(host)
        return resolver({host: next(answers)})(host, port)

    def connect(_socket: socket.socket, where: Any) -> None:
        connected.append(where)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket.socket, "connect", connect)
    assert "Connection refused" in refused("https://rebind.example/1.jpg")
    assert asked == ["rebind.example"]
    assert connected == [("8.8.8.8", 443)]


def test_proxies_of_the_environment_are_not_used(server, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.9:9")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.9:9")
    assert web.fetch(server.url("/photo")) == PHOTO


# ---- what is an address


@pytest.mark.parametrize(
    "url",
    [
        "http://x.org/1.jpg", "file:///etc/passwd", "ftp://x.org/1.jpg", "https:///1.jpg",
        "https://", "https://user:word@x.org/1.jpg", "https://x.org:port/1.jpg", "https://[::1/a",
        "https://x.org\r\nHost: y/1.jpg", "https://x.org:0/", "https://x\\y/", "https://[fe80::1%25a]/",
        "https://x org/",
    ],
)  # fmt: skip
def test_what_is_no_https_address_is_refused_unasked(url, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", None)
    assert "https" in refused(url)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_no_address_puts_a_line_into_the_request(text):
    with contextlib.suppress(ImageProblem):
        url = web.checked(f"https://{text}")
        assert url.isascii() or not url.split("/", 3)[2].isascii()
        assert not set(url) & set("\r\n\t\0 ")
        assert web.checked(url) == url


# ---- tables


def test_addresses_in_a_table_count_only_where_asked_for(server, tmp_path):
    (tmp_path / "1.jpg").write_bytes(b"x")
    rows = ["1.jpg,a", f"{server.url('/photo/ä b.jpg')},b", "http://x.org/1.jpg,c", "file:///a,d"]
    (tmp_path / "t.csv").write_text("\n".join(["file_path,family", *rows]))
    found = read_collection(None, tmp_path / "t.csv")
    assert found.rows["family"].tolist() == ["a"]
    assert "fetch it with --urls, or download the photo first" in found.problems[0].reason
    found = read_collection(None, tmp_path / "t.csv", urls=True)
    assert found.rows["family"].tolist() == ["a", "b"]
    assert sources.read(found.rows["path"][1]) == PHOTO
    assert found.rows["path"][1].endswith("/photo/%C3%A4%20b.jpg")
    said = "'{}': only https:// addresses are fetched"
    assert [problem.reason for problem in found.problems] == [
        said.format("http://x.org/1.jpg"),
        said.format("file:///a"),
    ]
    assert server.asked == ["/photo/%C3%A4%20b.jpg"]  # reading a table asks nobody
