"""Multipart forms over real sockets: fields, files, limits, what is broken, memory (P16)."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from ember import BackgroundTasks, Ember, Form, FormData, Request, RouteLimits, UploadFile
from ember.forms.multipart import read_multipart

from tests.support.process import Process, process
from tests.support.server import Answer, ServeFixture
from tests.support.waiting import eventually

BOUNDARY = "xYzZY"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def part(disposition: str, content: bytes, *fields: str) -> bytes:
    head = "\r\n".join([f"Content-Disposition: form-data; {disposition}", *fields])
    return f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def field(name: str, content: bytes) -> bytes:
    return part(f'name="{name}"', content)


def file(name: str, filename: str, content: bytes, kind: str = "text/plain") -> bytes:
    return part(f'name="{name}"; filename="{filename}"', content, f"Content-Type: {kind}")


def value(answer: Answer) -> Any:
    return json.loads(answer.body)


Post = Callable[..., Answer]


@pytest.fixture
def post(serve: ServeFixture) -> Post:
    """`post(body, handler, limits)`: the answer of `handler(form)` to a multipart body."""

    def send(
        body: bytes, handler: Callable[[FormData], Any], limits: RouteLimits | None = None
    ) -> Answer:
        app = Ember()

        @app.post("/", limits=limits)
        async def take(request: Request) -> Any:
            result = handler(await read_multipart(request))
            return await result if hasattr(result, "__await__") else result

        return serve(app).request("POST", "/", body, {"Content-Type": TYPE})

    return send


def items(form: FormData) -> list[list[Any]]:
    return [
        [name, value.filename if isinstance(value, UploadFile) else value]
        for name, value in form.items()
    ]


def test_fields_and_files_come_in_their_order(post: Post) -> None:
    body = field("a", b"1") + file("f", "x.txt", b"hello") + field("a", "é".encode()) + END
    assert value(post(body, items)) == [["a", "1"], ["f", "x.txt"], ["a", "é"]]


def test_a_file_has_its_name_type_size_headers_and_content(post: Post) -> None:
    body = part(
        'name="f"; filename="a b.png"', b"\x89PNG\r\n--x", "Content-Type: image/png", "X-Own: 7"
    )

    async def look(form: FormData) -> list[Any]:
        upload = form["f"]
        seen = [upload.filename, upload.content_type, upload.size, upload.headers["x-own"]]
        first = await upload.read(4)
        await upload.seek(1)
        return [*seen, first.hex(), (await upload.read()).decode("latin-1"), upload.on_disk]

    answer = post(body + END, look)
    assert value(answer) == [
        "a b.png", "image/png", 9, "7", b"\x89PNG".hex(), "PNG\r\n--x", False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\\\docs\\\\a.txt", "a.txt"),
        ("..", ""),
        ("a/", ""),
        ("bild-\xfc.png".encode().decode("latin-1"), "bild-\xfc.png"),
    ],
)
def test_a_filename_has_no_folders(sent: str, seen: str, post: Post) -> None:
    body = part("NAME", b"x").replace(
        b"NAME", b'name="f"; filename="' + sent.encode("latin-1") + b'"'
    )
    assert value(post(body + END, lambda form: [form["f"].filename])) == [seen]


def test_an_empty_form_has_no_parts(post: Post) -> None:
    assert value(post(END, lambda form: [len(form)])) == [0]


def test_request_form_reads_multipart_and_reads_it_once(serve: ServeFixture) -> None:
    app = Ember()

    @app.post("/")
    async def take(request: Request) -> Any:
        form = await request.form()
        return [items(form), form is await request.form()]

    running = serve(app)
    answer = running.request("POST", "/", field("a", b"1") + END, {"Content-Type": TYPE})
    assert value(answer) == [[["a", "1"]], True]
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert value(running.request("POST", "/", b"a=1", form))[0] == [["a", "1"]]
    wrong = running.request("POST", "/", b"{}", {"Content-Type": "application/json"})
    assert wrong.status == 415
    assert "multipart/form-data" in value(wrong)["detail"]


# -- limits, each crossed by one ------------------------------------------------------------------


@pytest.mark.parametrize(("size", "on_disk"), [(100, False), (101, True)])
def test_a_file_above_the_threshold_goes_to_disk(size: int, on_disk: bool, post: Post) -> None:
    async def look(form: FormData) -> list[Any]:
        upload = form["f"]
        return [upload.on_disk, upload.size, len(await upload.read())]

    answer = post(file("f", "f", b"x" * size) + END, look, RouteLimits(in_memory_threshold=100))
    assert value(answer) == [on_disk, size, size]


@pytest.mark.parametrize(
    ("limits", "fits", "breaks", "detail"),
    [
        (
            RouteLimits(max_parts=2),
            field("a", b"") * 2,
            field("a", b"") * 3,
            "the form has more than 2 parts",
        ),
        (
            RouteLimits(max_part_size=10),
            file("f", "f", b"x" * 10) * 2,
            file("f", "f", b"x" * 11),
            'the file "f" is larger than 10 bytes',
        ),
        (
            RouteLimits(in_memory_threshold=10),
            field("a", b"x" * 10),
            field("a", b"x" * 11),
            'the field "a" is larger than 10 bytes',
        ),
        (
            RouteLimits(max_body_size=200),
            file("f", "f", b"x" * (200 - len(file("f", "f", b"") + END))),
            file("f", "f", b"x" * (201 - len(file("f", "f", b"") + END))),
            "the request body is larger than 200 bytes",
        ),
    ],
)
def test_a_limit_of_the_form(
    limits: RouteLimits, fits: bytes, breaks: bytes, detail: str, post: Post
) -> None:
    assert post(fits + END, items, limits).status == 200
    answer = post(breaks + END, items, limits)
    assert (answer.status, value(answer)["detail"]) == (413, detail)


@pytest.mark.parametrize(("more", "status"), [(14, 200), (15, 400)])
def test_a_part_has_at_most_16_header_fields(more: int, status: int, post: Post) -> None:
    fields = ["Content-Type: text/plain", *(f"X-{n}: 1" for n in range(more))]
    assert post(part('name="f"; filename="f"', b"", *fields) + END, items).status == status


@pytest.mark.parametrize(("size", "status"), [(8192, 200), (8193, 400)])
def test_a_header_field_of_a_part_has_at_most_8192_bytes(
    size: int, status: int, post: Post
) -> None:
    line = "X-Long: " + "x" * (size - len("X-Long: "))
    assert post(part('name="a"', b"", line) + END, items).status == status


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "ends before its last boundary"),
        (field("a", b"1"), "ends before its last boundary"),
        (b"--other\r\n\r\n", "ends before its last boundary"),
        (b"\r\nnot a boundary" + END, "ends before its last boundary"),
        (f"--{BOUNDARY}\r\nContent-Type: text/plain\r\n\r\nx\r\n".encode() + END, "part 1 of the"),
        (part("filename=x", b""), "part 1 of the form has no Content-Disposition"),
        (f"--{BOUNDARY}\r\nContent Disposition: x\r\n\r\n".encode() + END, "malformed"),
    ],
)
def test_a_broken_form_is_400(body: bytes, detail: str, post: Post) -> None:
    answer = post(body, items)
    assert answer.status == 400
    assert detail in value(answer)["detail"]


def test_the_same_bytes_are_the_same_form_however_they_are_cut(serve: ServeFixture) -> None:
    app = Ember()

    @app.post("/")
    async def take(request: Request) -> list[str]:
        return (await read_multipart(request)).keys()

    running = serve(app)
    for body, status in (
        (b"\r\n" + field("a", b"1") + END, 200),
        (b"\r\n" + END, 200),
        (b"\r\n: x" + END, 400),
        (field("a", b"1") + END + b"what follows is passed over", 200),
    ):
        for at in range(1, 6):
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (body[:at], body[at:]))
            with running.connect() as client:
                client.send(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: {TYPE}\r\n")
                client.send(b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
                assert client.recv_response().status == status, (body, at)


@pytest.mark.parametrize(
    "boundary", ["", "; boundary=", f"; boundary={'x' * 71}", '; boundary=a"b']
)
def test_a_type_without_a_usable_boundary_is_400(boundary: str, serve: ServeFixture) -> None:
    app = Ember()

    @app.post("/")
    async def take(request: Request) -> list[str]:
        return (await read_multipart(request)).keys()

    headers = {"Content-Type": "multipart/form-data" + boundary}
    answer = serve(app).request("POST", "/", END, headers)
    assert answer.status == 400
    assert "needs a boundary of 1 to 70" in value(answer)["detail"]


def test_the_first_bad_part_is_refused_before_the_rest_is_sent(serve: ServeFixture) -> None:
    app = Ember()

    @app.post("/", limits=RouteLimits(max_part_size=10, max_body_size=10_000_000))
    async def take(request: Request) -> list[str]:
        return (await read_multipart(request)).keys()

    with serve(app).connect() as client:
        client.send(
            f"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {TYPE}\r\nContent-Length: 9000000\r\n\r\n"
        )
        client.send(file("f", "f", b"x" * 11))
        # Nothing more is sent: the answer does not wait for it, and the connection is not kept.
        answer = client.recv_response()
        assert answer.status == 413
        assert answer.header("connection") == "close"


@pytest.mark.parametrize("ending", ["answered", "failed"])
def test_files_are_closed_after_the_response(ending: str, serve: ServeFixture) -> None:
    app = Ember()
    seen: list[UploadFile] = []

    @app.post("/", limits=RouteLimits(in_memory_threshold=1))
    async def take(request: Request) -> list[bool]:
        seen.extend((await read_multipart(request)).files)
        if ending == "failed":
            raise ValueError("later")
        return [upload.closed for upload in seen]

    body = file("f", "f", b"on disk") + file("f", "g", b"m") + END
    with serve(app).connect() as client:
        client.send(
            f"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {TYPE}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        assert client.recv_response().status == (200 if ending == "answered" else 500)
    eventually(lambda: len(seen) == 2 and all(upload.closed for upload in seen))


def test_a_client_that_leaves_in_the_middle_leaves_no_file_behind(serve: ServeFixture) -> None:
    app = Ember()
    failed = threading.Event()

    @app.post("/", limits=RouteLimits(in_memory_threshold=1, max_body_size=10_000))
    async def take(request: Request) -> str:
        try:
            await read_multipart(request)
        except BaseException:
            failed.set()
            raise
        return "never"

    running = serve(app)
    with running.connect() as client:
        client.send(
            f"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {TYPE}\r\nContent-Length: 9000\r\n\r\n"
        )
        client.send(file("f", "f", b"x" * 5000))
        client.reset()
    assert failed.wait(5), "the handler still waits for the rest"


# -- large uploads --------------------------------------------------------------------------------

PROGRAM = """
from ember import Ember, RouteLimits
from ember.forms.multipart import read_multipart
app = Ember()
@app.post("/", limits=RouteLimits(max_body_size=10**10))
async def take(request):
    upload = (await read_multipart(request))["f"]
    await upload.seek(upload.size - 3)
    return [upload.size, (await upload.read()).decode(), upload.on_disk]
@app.get("/")
async def up(): return "up"
"""


def upload(running: Process, megabytes: int) -> tuple[bytes, int]:
    """The answer to a file of that size, and the largest growth of memory on the way."""
    begin, end = file("f", "big", b"")[:-2], b"end\r\n" + END
    block = bytes(range(256)) * 4096  # 1 MiB
    size = megabytes * len(block)
    before, most = running.rss(), 0
    with socket.create_connection(("127.0.0.1", running.port), timeout=120) as sock:
        head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {TYPE}\r\n"
        total = len(begin) + size + len(end)
        sock.sendall(f"{head}Content-Length: {total}\r\n\r\n".encode() + begin)
        for _ in range(megabytes):
            sock.sendall(block)
            most = max(most, running.rss())
        sock.sendall(end)
        answer = b""
        while b"]" not in answer:
            answer += sock.recv(65536)
    return answer, most - before


def test_memory_stays_flat_for_a_large_upload() -> None:
    with process(PROGRAM) as running:
        upload(running, 4)  # what is loaded and grows once
        answer, growth = upload(running, 200)
        assert answer.endswith(b'[%d,"end",true]' % (200 * 2**20 + 3))
        assert growth < 8 * 2**20, f"{growth / 2**20:.1f} MiB more for a file of 200 MiB"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")
def test_curl_uploads(serve: ServeFixture, tmp_path: Path) -> None:
    app = Ember()

    @app.post("/", limits=RouteLimits(max_body_size=10_000_000))
    async def take(request: Request) -> list[Any]:
        form = await read_multipart(request)
        content = await form["f"].read()
        return [
            form["name"],
            form["f"].filename,
            form["f"].content_type,
            hash(content) == hash(data),
        ]

    data = bytes(range(256)) * 12000
    (tmp_path / "a.bin").write_bytes(data)
    running = serve(app)
    done = subprocess.run(
        ["curl", "-sS", "-F", "name=Ann", "-F", f"f=@{tmp_path}/a.bin", running.url + "/"],
        capture_output=True,
        check=True,
        timeout=120,
    )
    assert done.stdout == b'["Ann","a.bin","application/octet-stream",true]'


def test_a_handler_asks_for_files_by_annotation(serve: ServeFixture) -> None:
    app = Ember()

    @app.post("/one")
    async def one(f: UploadFile, note: Annotated[str, Form()] = "none") -> list[Any]:
        return [f.filename, (await f.read()).decode(), note]

    @app.post("/many")
    async def many(f: list[UploadFile], other: UploadFile | None = None) -> list[Any]:
        return [[upload.filename for upload in f], other]

    running = serve(app)
    headers = {"Content-Type": TYPE}
    body = file("f", "a", b"hello") + field("note", b"n") + END
    assert value(running.request("POST", "/one", body, headers)) == ["a", "hello", "n"]
    body = file("f", "a", b"") + file("f", "b", b"") + END
    assert value(running.request("POST", "/many", body, headers)) == [["a", "b"], None]
    answer = running.request("POST", "/one", END, headers)
    assert answer.status == 422
    assert b'"loc":["body","f"]' in answer.body


def test_background_tasks_still_have_the_files(serve: ServeFixture) -> None:
    app = Ember()
    seen: list[bytes] = []
    files: list[UploadFile] = []

    @app.post("/", limits=RouteLimits(in_memory_threshold=1))
    async def take(request: Request, tasks: BackgroundTasks) -> str:
        files.extend((await read_multipart(request)).files)

        async def later() -> None:
            seen.append(await files[0].read())

        tasks.add_task(later)
        request.after_response(later)
        return "done"

    running = serve(app)
    assert running.request("POST", "/", file("f", "f", b"x"), {"Content-Type": TYPE}).status == 400
    body = file("f", "f", b"later") + END
    assert running.request("POST", "/", body, {"Content-Type": TYPE}).body == b"done"
    eventually(lambda: len(seen) == 2 and files[0].closed)
    assert sorted(seen) == [b"", b"later"]


# -- around the delimiters (RFC 2046 section 5.1.1) -------------------------------------------

AROUND = {
    "a preamble": b"This is MIME.\r\n--not it\r\n" + field("a", b"1") + END,
    "the boundary inside of a line": f"x --{BOUNDARY}\r\n".encode() + field("a", b"1") + END,
    "empty lines": b"\r\n\r\n" + field("a", b"1") + END,
    "padding": field("a", b"1").replace(b"\r\n", b" \t\r\n", 1) + END,
    "padding at the end": field("a", b"1") + END[:-2] + b" \t \r\n",
    "no line break at the end": field("a", b"1") + END[:-2],
    "an epilogue": field("a", b"1") + END + b"bye\r\n" + field("b", b"2"),
}


@pytest.mark.parametrize("body", AROUND.values(), ids=AROUND.keys())
def test_what_stands_around_delimiters_is_passed_over_however_it_is_cut(
    body: bytes, serve: ServeFixture
) -> None:
    app = Ember()

    @app.post("/")
    async def take(request: Request) -> Any:
        return items(await read_multipart(request))

    running = serve(app)
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: {TYPE}\r\n"
    for size in (1, 3, len(body)):
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        answer = running.exchange(
            f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\n\r\n"
        )
        assert value(answer) == [["a", "1"]]


@pytest.mark.once
@pytest.mark.parametrize(
    "content",
    [b"\r\n--xYz", b"\r", b"\r\n", b"\r\n-", b"--xYzZY", b" --xYzZY-- ", b"\r\n\r\n--xYz \r\n"],
)
def test_what_only_resembles_a_delimiter_is_content(content: bytes) -> None:
    from ember.forms.delimiters import Delimiters

    body = file("f", "a", content) + END
    for size in range(1, len(body)):
        delimiters = Delimiters(BOUNDARY.encode())
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        assert b"".join(map(delimiters.feed, pieces)) + delimiters.finish() == body
