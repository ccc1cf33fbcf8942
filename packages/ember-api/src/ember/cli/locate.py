"""Finds the application for `--app main:app`, or without that option."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from types import ModuleType
from typing import TYPE_CHECKING

from ember.server.run import Options, StartError, recorder

if TYPE_CHECKING:
    from ember.application.application import Ember

#: The modules and attributes that are tried without `--app`.
MODULES = ("main", "app", "application", "asgi", "wsgi")
ATTRIBUTES = ("app", "application", "create_app", "create")


def locate(target: str | None) -> tuple[Ember, Options]:
    """Returns the application of `target`, and the options of the `app.run()` in its module.

    `target` is `module`, `module:attribute` or `path/to/file.py`. The attribute is an Ember or a
    function that returns one. Without a target, main.py, app.py and application.py in the current
    folder are tried. Raises StartError; its cause is the error in the user's module, if any.
    """
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    if target is None:
        name, attribute = _detect(), ""
    else:
        name, _, attribute = target.partition(":")
        if name.endswith(".py"):
            name = name[:-3].replace("/", ".").lstrip(".")
    with recorder as recorded:
        module = _import(name)
        app = _application(module, attribute)
        options = next((o for recorded_app, o in recorded.calls if recorded_app is app), Options())
    return app, options


def _detect() -> str:
    for name in MODULES:
        if os.path.exists(f"{name}.py") or os.path.exists(os.path.join(name, "__init__.py")):
            return name
    looked = ", ".join(f"{name}.py" for name in MODULES[:3])
    raise StartError(f"no application found: there is no {looked} here; name one: --app module:app")


def _import(name: str) -> ModuleType:
    if not name or not all(part.isidentifier() for part in name.split(".")):
        raise StartError(f'--app "{name}": expected module:app, such as --app main:app')
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise StartError(
                f'--app: there is no module "{name}" in {os.getcwd()}; '
                f"run this in the folder that holds it"
            ) from None
        raise StartError(
            f'module "{name}" needs "{error.name}", which is not installed{_where(error)}'
        ) from error
    except SyntaxError as error:
        where = f"{os.path.basename(error.filename or name)}:{error.lineno}"
        raise StartError(f'module "{name}" does not import: {error.msg} ({where})') from error
    except SystemExit as error:
        raise StartError(
            f'module "{name}" ended the process while it was imported{_where(error)}'
        ) from error
    except Exception as error:
        raise StartError(
            f'module "{name}" does not import: {type(error).__name__}: {error}{_where(error)}'
        ) from error


def _where(error: BaseException) -> str:
    """The file and line of an error in the user's code."""
    folder = os.getcwd()
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith(folder) and "site-packages" not in frame.filename:
            return f" ({os.path.relpath(frame.filename)}:{frame.lineno})"
    return ""


def _application(module: ModuleType, attribute: str) -> Ember:
    from ember.application.application import Ember

    found = [name for name, value in vars(module).items() if isinstance(value, Ember)]
    hint = f"; it has {', '.join(found)}" if found else ""
    if attribute:
        value = module
        for part in attribute.split("."):
            if not hasattr(value, part):
                raise StartError(f'module "{module.__name__}" has no "{attribute}"{hint}')
            value = getattr(value, part)
    else:
        candidates = [name for name in ATTRIBUTES if hasattr(module, name)]
        name = next((n for n in candidates if n in found), "") or (
            found[0] if len(found) == 1 else next(iter(candidates), "")
        )
        if not name:
            raise StartError(
                f'module "{module.__name__}" has no application called app or application'
                f"{hint}; name it: --app {module.__name__}:{found[0] if found else 'name'}"
            )
        attribute = name
        value = getattr(module, name)
    if isinstance(value, Ember):
        return value
    where = f"{module.__name__}:{attribute}"
    if callable(value) and not isinstance(value, type):
        try:
            made = value()
        except Exception as error:
            raise StartError(
                f"{where}() failed: {type(error).__name__}: {error}{_where(error)}"
            ) from error
        if isinstance(made, Ember):
            return made
        raise StartError(f"{where}() returned a {type(made).__name__}, not an Ember application")
    raise StartError(f"{where} is a {type(value).__name__}, not an Ember application{hint}")
