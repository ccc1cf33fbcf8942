"""The setup.py of each package (a link to this): compiles its hot modules, where that works.

Without a compiler the pure modules serve. EMBER_PURE=1 builds nothing. EMBER_REQUIRE_COMPILED=1
makes a failed compilation an error instead of a slower package. EMBER_SANITIZE=address builds for
that sanitizer.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

SOURCE = Path("src")


def hot_sources() -> list[Path]:
    """Every .pyx, and every .py that has a .pxd beside it (one source, two speeds).

    Where there is a .pyx as well, the .py is its stand-in without a compiler.
    """
    pyx = sorted(SOURCE.rglob("*.pyx"))
    augmented = [p.with_suffix(".py") for p in sorted(SOURCE.rglob("*.pxd"))]
    return pyx + [p for p in augmented if p.exists() and not p.with_suffix(".pyx").exists()]


def extensions() -> list[Extension]:
    if os.environ.get("EMBER_PURE", "0") not in ("", "0") or sys.platform != "linux":
        return []
    sources = hot_sources()
    if not sources:
        return []
    from Cython.Build import cythonize

    # Resident memory: debuggers unwind a C stack by .debug_frame, which is not loaded, and segments
    # need not begin on pages of their own.
    flags = ["-O3", "-g1", "-fno-asynchronous-unwind-tables"]
    flags += ["-Wno-unreachable-code", "-Wno-unused-function"]
    links = ["-Wl,-z,noseparate-code"]
    sanitize = os.environ.get("EMBER_SANITIZE", "")
    if sanitize:
        flags = ["-O1", "-g", "-fno-omit-frame-pointer", f"-fsanitize={sanitize}"]
        links = [f"-fsanitize={sanitize}"]
    modules = [
        Extension(
            ".".join(path.relative_to(SOURCE).with_suffix("").parts),
            [str(path)],
            include_dirs=sorted({str(h.parent) for h in SOURCE.rglob("*.h")}),
            depends=[str(h) for h in (*SOURCE.rglob("*.h"), *SOURCE.rglob("*.pxi"))],
            extra_compile_args=flags,
            extra_link_args=links,
        )
        for path in sources
    ]
    # include_path: without it Cython silently ignores a .pxd inside a PEP 420 package.
    # annotation_typing: annotations speak to people and to mypy, the .pxd speaks to C.
    result: list[Extension] = cythonize(
        modules,
        build_dir="build/cython",
        include_path=["src"],
        nthreads=0,
        compiler_directives={
            "language_level": 3,
            "annotation_typing": False,
            "binding": True,
            "boundscheck": False,
            "wraparound": False,
            "embedsignature": False,
        },
    )
    # After cythonize, which makes new extensions and leaves this out of them.
    required = os.environ.get("EMBER_REQUIRE_COMPILED", "0") not in ("", "0")
    for module in result:
        module.optional = not required
    return result


setup(ext_modules=extensions(), options={"build_ext": {"parallel": 2}})
