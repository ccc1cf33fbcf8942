"""A program that speaks no TLS does not load OpenSSL; one that does gets the whole module."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.once


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.strip()


def test_an_application_that_is_served_without_tls_does_not_load_openssl() -> None:
    code = """
import sys
from ember import Ember
from ember.eventloop import new_event_loop
import ember.server.run
loop = new_event_loop()
loop.close()
print("asyncio" in sys.modules, "_ssl" in sys.modules)
"""
    assert python(code) == "True False"


@pytest.mark.parametrize(
    "use",
    [
        "import ssl; ssl.SSLContext",
        "from ssl import SSLContext",
        "from ssl import *; SSLContext",
        "import ssl; assert 'SSLContext' in dir(ssl)",
        "import http.client; http.client.HTTPSConnection('localhost')",
    ],
)
def test_the_first_use_of_ssl_loads_all_of_it(use: str) -> None:
    code = f"""
import sys
from ember import Ember
import asyncio
{use}
import ssl
import asyncio.base_events, asyncio.sslproto
assert "_ssl" in sys.modules and type(ssl) is type(sys)
assert asyncio.base_events.ssl is ssl is asyncio.sslproto.ssl
assert asyncio.sslproto.SSLAgainErrors == (ssl.SSLWantReadError, ssl.SSLSyscallError)
assert issubclass(ssl.SSLWantReadError, ssl.SSLError)
print(ssl.__name__, ssl.create_default_context().minimum_version.name)
"""
    assert python(code).startswith("ssl TLS")


def test_ssl_that_was_imported_before_stays_as_it_is() -> None:
    code = """
import ssl
before = dict(vars(ssl))
from ember import Ember
import sys
print(sys.modules["ssl"] is ssl, vars(ssl) == before)
"""
    assert python(code) == "True True"


def test_many_threads_may_use_it_first() -> None:
    code = """
from ember import Ember
import threading
found, start = [], threading.Barrier(8)
def use():
    import ssl
    start.wait()
    found.append(ssl.SSLWantReadError.__mro__[1].__name__ + ssl.SSLContext.__name__)
threads = [threading.Thread(target=use) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(found), *set(found))
"""
    assert python(code) == "8 SSLErrorSSLContext"


def test_what_keeps_ssl_from_loading_is_said_at_each_use() -> None:
    code = """
from ember import Ember
import sys, ssl
sys.modules["_ssl"] = None
for _ in range(2):
    try:
        ssl.SSLContext
    except ImportError as error:
        print(error)
del sys.modules["_ssl"]
print(ssl.SSLContext.__name__)
"""
    missing = "import of _ssl halted; None in sys.modules"
    assert python(code).splitlines() == [missing, missing, "SSLContext"]
