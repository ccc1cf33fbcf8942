"""Each distribution installs and imports alone; removing one leaves the others working."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = [pytest.mark.once, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]


NAMES = ("emberloop", "ember-cache", "ember-api")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of packages/, links as links: what is built leaves files behind where it is built."""
    copy = tmp_path_factory.mktemp("repository") / "packages"
    unwanted = shutil.ignore_patterns("*.so", "*.egg-info", "build", "__pycache__")
    shutil.copytree(ROOT / "packages", copy, symlinks=True, ignore=unwanted)
    return copy


def build(packages: Path, command: str, folder: Path, pattern: str) -> dict[str, Path]:
    """What `command` of setup.py makes of each package, without the compiled core (quick)."""
    built: dict[str, Path] = {}
    for name in NAMES:
        done = subprocess.run(
            [sys.executable, "setup.py", "-q", command, "--dist-dir", str(folder)],
            cwd=packages / name,
            env={**os.environ, "EMBER_PURE": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        (built[name],) = folder.glob(name.replace("-", "_") + pattern)
    return built


@pytest.fixture(scope="module")
def wheels(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheels of the three packages."""
    return build(packages, "bdist_wheel", tmp_path_factory.mktemp("wheels"), "-*.whl")


@pytest.fixture(scope="module")
def sdists(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The source distributions of the three packages."""
    return build(packages, "sdist", tmp_path_factory.mktemp("sdists"), "-*.tar.gz")


def wheel_of(sdist: Path, folder: Path, **env: str) -> Path:
    """What pip builds of one source distribution, with nothing of this repository beside it."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"),
            *("--no-build-isolation", "--no-deps", "--no-index"),
            *("--wheel-dir", str(folder), str(sdist)),
        ],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


def unpack(wheel: Path, folder: Path) -> None:
    # A wheel of purelib is installed by unpacking it; metadata comes along in its own folder.
    shutil.unpack_archive(wheel, folder, "zip")


def with_dependencies(folder: Path) -> None:
    """Put what ember-api depends on beside it, and nothing else of this environment."""
    for name in ("msgspec", "click"):
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        (folder / name).symlink_to(Path(spec.origin).parent)


def python(folder: Path, code: str) -> str:
    """Run `code` with nothing on the path but the standard library and `folder`."""
    prelude = f"import sys; sys.path.insert(0, {str(folder)!r})\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", prelude + code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


HELLO = """
from ember import Ember
from ember.protocol import MemoryConnection
app = Ember()

@app.get("/")
async def index():
    return {"hello": "world"}

connection = MemoryConnection(app)
connection.feed(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
print(connection.take().decode())
"""


def test_emberloop_works_alone(wheels: dict[str, Path], tmp_path: Path) -> None:
    unpack(wheels["emberloop"], tmp_path)
    out = python(
        tmp_path,
        "import ember.eventloop, ember.protocol, ember.headers, ember.request, ember.response\n"
        "unwanted = ('ember.cli', 'ember.routing', 'msgspec')\n"
        "print([m for m in sys.modules if m.startswith(unwanted)])",
    )
    assert out.strip() == "[]"


def test_ember_cache_works_alone(wheels: dict[str, Path], tmp_path: Path) -> None:
    unpack(wheels["ember-cache"], tmp_path)
    out = python(
        tmp_path,
        "import asyncio\n"
        "from ember.cache import TTLCache, cached\n"
        "calls = []\n"
        "@cached(TTLCache(ttl=60))\n"
        "async def f(x):\n"
        "    calls.append(x)\n"
        "    return x\n"
        "async def main():\n"
        "    print(await f(3), await f(3), calls)\n"
        "asyncio.run(main())",
    )
    assert out.strip() == "3 3 [3]"


def test_ember_api_works_on_the_other_two(wheels: dict[str, Path], tmp_path: Path) -> None:
    for wheel in wheels.values():
        unpack(wheel, tmp_path)
    with_dependencies(tmp_path)
    assert '{"hello":"world"}' in python(tmp_path, HELLO)


def test_removing_the_cache_leaves_the_framework_working(
    wheels: dict[str, Path], tmp_path: Path
) -> None:
    for name in ("emberloop", "ember-api"):
        unpack(wheels[name], tmp_path)
    with_dependencies(tmp_path)
    assert '{"hello":"world"}' in python(tmp_path, HELLO)


def test_removing_the_framework_leaves_loop_and_cache_working(
    wheels: dict[str, Path], tmp_path: Path
) -> None:
    for name in ("emberloop", "ember-cache"):
        unpack(wheels[name], tmp_path)
    python(tmp_path, "import ember.cache, ember.protocol")


@pytest.mark.parametrize("name", NAMES)
def test_a_source_distribution_builds_by_itself_what_the_repository_builds(
    name: str, wheels: dict[str, Path], sdists: dict[str, Path], tmp_path: Path
) -> None:
    import zipfile

    wheel = wheel_of(sdists[name], tmp_path, EMBER_PURE="1")
    assert sorted(zipfile.ZipFile(wheel).namelist()) == sorted(
        zipfile.ZipFile(wheels[name]).namelist()
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_source_distribution_has_all_that_is_compiled(name: str, sdists: dict[str, Path]) -> None:
    import tarfile

    source = ROOT / "packages" / name / "src"
    compiled = {
        path.relative_to(source.parent).as_posix()
        for ending in ("pyx", "pxd", "pxi", "h")
        for path in source.rglob(f"*.{ending}")
    }
    with tarfile.open(sdists[name]) as archive:
        members = {member.name.partition("/")[2]: member for member in archive}
    assert compiled
    assert compiled - members.keys() == set()
    assert members["setup.py"].isfile(), "a link would lead out of the archive"


@pytest.mark.timeout(600)  # Cython's and the compiler's own time, on a machine that may be busy
def test_without_a_working_compiler_the_pure_modules_are_installed(
    sdists: dict[str, Path], tmp_path: Path
) -> None:
    import zipfile

    settings = {"EMBER_PURE": "0", "EMBER_REQUIRE_COMPILED": "0", "CC": "/bin/false"}
    wheel = wheel_of(sdists["ember-cache"], tmp_path, **settings)
    assert not [n for n in zipfile.ZipFile(wheel).namelist() if n.endswith(".so")]
    unpack(wheel, tmp_path / "installed")
    python(tmp_path / "installed", "from ember.cache import TTLCache; TTLCache(ttl=60)")


@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_with_a_compiler_a_source_distribution_gives_the_compiled_core(
    sdists: dict[str, Path], tmp_path: Path
) -> None:
    import zipfile

    settings = {"EMBER_PURE": "0", "EMBER_REQUIRE_COMPILED": "1", "CC": "cc"}
    wheel = wheel_of(sdists["ember-cache"], tmp_path, **settings)
    assert [n for n in zipfile.ZipFile(wheel).namelist() if n.endswith(".so")]


def test_wheels_carry_no_generated_c_and_are_marked_typed(wheels: dict[str, Path]) -> None:
    import zipfile

    for name, wheel in wheels.items():
        names = zipfile.ZipFile(wheel).namelist()
        assert not [n for n in names if n.endswith((".c", ".so"))], name
        assert [n for n in names if n.endswith("py.typed")], name


#: What each extra of ember-api brings; one for something that is not built yet would be a lie.
EXTRAS = {
    "fast": {"uvloop", "orjson"},
    "cache": {"ember-cache"},
    "templates": {"jinja2"},
    "compress": {"backports-zstd", "brotli", "isal"},
    "dev": {"watchfiles"},
    "all": {"ember-api"},
}


def required(wheel: Path) -> dict[str, set[str]]:
    """The names that a wheel asks for, by extra; "" for always."""
    import zipfile
    from email.parser import Parser

    from packaging.requirements import Requirement

    archive = zipfile.ZipFile(wheel)
    (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(archive.read(name).decode())
    found: dict[str, set[str]] = {extra: set() for extra in metadata.get_all("Provides-Extra", [])}
    for line in metadata.get_all("Requires-Dist", []):
        requirement = Requirement(line)
        assert requirement.url is None, line
        assert "==" not in str(requirement.specifier), f"{line}: a library pins nothing"
        extra = line.partition("extra == ")[2].strip(" \"'()")
        found.setdefault(extra, set()).add(requirement.name.lower().replace(".", "-"))
    return found


def test_the_extras_are_those_of_what_is_built(wheels: dict[str, Path]) -> None:
    found = required(wheels["ember-api"])
    always = found.pop("")
    assert {"emberloop", "ember-cache", "msgspec", "click"} <= always
    assert {name: found.get(name) for name in EXTRAS} == EXTRAS
    assert {"redis", "memcached", "fast", "all"} <= required(wheels["ember-cache"]).keys()


def test_what_the_tests_use_is_pinned_by_name_and_version_alone() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9.-]+==[0-9][\w.]*", line)] == []
    assert lines == sorted(set(lines))


def test_the_framework_brings_its_templates_and_the_files_of_its_docs(
    wheels: dict[str, Path],
) -> None:
    import zipfile

    names = zipfile.ZipFile(wheels["ember-api"]).namelist()
    assert "ember/cli/templates/api/main.py.tmpl" in names
    assert "ember/cli/templates/common/dot_gitignore.tmpl" in names
    assert "ember/cli/templates/fullstack/static/app.js.tmpl" in names
    assets = Path(__file__).parents[2] / "packages/ember-api/src/ember/openapi/assets"
    fetched = [f"ember/openapi/assets/{file.name}" for file in assets.glob("swagger-ui*")]
    assert not [name for name in fetched if name not in names]
