"""Generates the Python source of a binding: straight-line code, without loops.

Names are numbered (`c0`, `v3`), so that routes with the same shape share one code object. For

    async def create(item: Item, user: Annotated[User, Depends(current_user)], limit: int = 10)

the source is

    async def call(request, values):
        errors = None
        t0 = request.headers.get(c2)
        if t0 is None:
            errors = missing(errors, c3)
        else:
            v0 = t0
        if errors is None:
            v1 = await c1(v0)
        ...
        if errors is not None:
            raise InvalidRequest(errors)
        return await c0(v5, v1, v4)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import CodeType
from typing import Any

from ember.binding.cleanup import DependencyCleanup
from ember.binding.contexts import in_thread
from ember.binding.errors import InvalidRequest, missing, not_text
from ember.binding.parameters import (
    ASYNC,
    ASYNC_GENERATOR,
    FACTORY,
    FUNCTION,
    GENERATOR,
    INLINE,
    THREAD,
    THREAD_GENERATOR,
    Argument,
    Call,
    ComponentArgument,
    Constant,
    RequestArgument,
    walk,
)
from ember.binding.writer import FORM, Writer
from ember.concurrency.background import BackgroundTasks, Pending
from ember.response import Response


class Source(Writer):
    """The generated function, and what is known about it: `parameters`, `calls`, `needs_await`."""

    def __init__(
        self,
        handler: Callable[..., Any],
        arguments: list[Argument],
        *,
        kind: int,
        path: Mapping[str, Any],
        component: Callable[[ComponentArgument], Any],
        run_in_thread: Callable[..., Any] | None,
        pending: Pending | None,
        respond: Callable[[Any], Response] | None = None,
        streams: bool = False,
        passes_request: bool = False,
    ) -> None:
        super().__init__(path, tuple(walk(arguments)))
        self._arguments = arguments
        self._kind = kind
        self._component = component
        self._run = run_in_thread
        self._pending = pending
        #: Makes the response from what the handler returned; whether the handler is an async
        #: generator.
        self._respond, self._streams = respond, streams
        self._handler = handler
        #: Whether `handler` takes the request before its arguments.
        self._passes_request = passes_request
        self.calls = calls = _calls(arguments)
        self._background = any(
            isinstance(a.source, RequestArgument) and a.source.what == "background"
            for items in (arguments, *(c.arguments for c in calls))
            for a in items
        )
        self.wants_request = any(
            isinstance(a.source, RequestArgument) and a.source.what == "request"
            for items in (arguments, *(c.arguments for c in calls))
            for a in items
        )
        self._needs_cleanup = any(call.needs_cleanup for call in calls)
        self.needs_await = (
            bool(self._body)
            or any(p.source in FORM for p in self.parameters)
            or any(call.awaits for call in calls)
            or self._background
        )

    def compile(self) -> tuple[Callable[..., Any], str]:
        """(the function, its source)."""
        handler = self._constant(self._handler)
        cleanup = self._needs_cleanup or self._background
        if self._may_fail():
            self._write("errors = None")
        if self._needs_cleanup:
            self._write(f"cleanup = DependencyCleanup({self._constant(self._pending)})")
        if self._background:
            self._write(f"background = BackgroundTasks({self._constant(self._run)})")
        if cleanup and self._needs_cleanup:
            self._write("try:")
            self._indent = 2
        done: dict[int, str] = {}
        later = self._dependencies(self._arguments, done, before_body=True)
        self._read_parameters(self._arguments, done)
        self._read_body(done)
        if later:
            self._dependencies(self._arguments, done, before_body=False)
        if self._may_fail():
            self._write("if errors is not None:", "    raise InvalidRequest(errors)")
        passed = ", ".join(
            f"{a.name}={self._value(a, done)}" if a.keyword else self._value(a, done)
            for a in self._arguments
        )
        if self._passes_request:
            passed = f"request, {passed}" if passed else "request"
        call = f"{handler}({passed})"
        if self.needs_await and self._kind in (ASYNC, THREAD):
            call = f"await {call}"
        if cleanup or (self.needs_await and self._kind == INLINE):
            self._write(f"result = {call}")
            if self._kind == INLINE:
                # A plain function may return a coroutine: a decorator around an `async def`.
                self._write("if hasattr(type(result), '__await__'):", "    result = await result")
            if cleanup:
                self._finish()
            else:
                self._write("return result")
        else:
            self._write(f"return {call}")
        define = "async def" if self.needs_await else "def"
        text = f"{define} call(request, values):\n" + "\n".join(self._lines) + "\n"
        names: dict[str, Any] = {f"c{i}": value for i, value in enumerate(self._constants)}
        names |= _RUNTIME
        exec(_compiled(text), names)
        function: Callable[..., Any] = names["call"]
        function.__name__ = getattr(self._handler, "__name__", "call")
        return function, text

    def _finish(self) -> None:
        if self._needs_cleanup:
            respond = self._constant(self._respond)
            self._write(f"result = await cleanup.returned(result, {respond}, {self._streams})")
            self._indent = 1
            self._write(
                "except BaseException as error:",
                "    error = await cleanup.fail(request, error)",
                "    raise error",
            )
        background = "background" if self._background else "None"
        owner = (
            "cleanup"
            if self._needs_cleanup
            else f"DependencyCleanup({self._constant(self._pending)})"
        )
        self._write(f"return {owner}.finish(request, result, {background})")

    def _may_fail(self) -> bool:
        return any(not self._is_plain_path(p) for p in self.parameters)

    def _dependencies(
        self, arguments: list[Argument], done: dict[int, str], before_body: bool
    ) -> bool:
        """Call the dependencies that can be called now. Returns whether some are left."""
        left = False
        for argument in arguments:
            call = argument.source
            if not isinstance(call, Call) or id(call) in done:
                continue
            if before_body and _wants_body(call):
                # Its own dependencies may still be called now: authentication before the body.
                self._dependencies(call.arguments, done, before_body)
                left = True
                continue
            self._dependencies(call.arguments, done, before_body)
            self._read_parameters(call.arguments, done)
            self._call(call, done)
        return left

    def _call(self, call: Call, done: dict[int, str]) -> None:
        name = self._variable()
        done[id(call)] = name
        if self._may_fail():
            self._write(f"{name} = None", "if errors is None:")
            self._indent += 1
        function = self._constant(call.function)
        passed = ", ".join(
            f"{a.name}={self._value(a, done)}" if a.keyword else self._value(a, done)
            for a in call.arguments
        )
        plain = f"{function}({passed})"
        function_scope, text = call.scope == FUNCTION, self._constant(call.name)
        run = self._constant(self._run)
        if call.kind == ASYNC:
            plain = f"await {plain}"
        elif call.kind == THREAD:
            given = filter(None, ("request", run, function, passed))
            plain = f"await in_thread({', '.join(given)})"
        elif call.kind == ASYNC_GENERATOR:
            plain = f"await cleanup.enter_async({plain}, {function_scope}, {text})"
        elif call.kind == GENERATOR:
            plain = f"await cleanup.enter({plain}, {function_scope}, {text})"
        elif call.kind == THREAD_GENERATOR:
            plain = f"await cleanup.enter({plain}, {function_scope}, {text}, {run})"
        elif call.kind == FACTORY:
            plain = f"await cleanup.enter_component({plain}, {text})"
        self._write(f"{name} = {plain}")
        if self._may_fail():
            self._indent -= 1

    def _value(self, argument: Argument, done: dict[int, str]) -> str:
        source = argument.source
        if isinstance(source, RequestArgument):
            return source.what
        if isinstance(source, ComponentArgument):
            return self._constant(self._component(source))
        if isinstance(source, Constant):
            return self._constant(source.value)
        return done[id(source)]


_RUNTIME = {
    "BackgroundTasks": BackgroundTasks,
    "DependencyCleanup": DependencyCleanup,
    "in_thread": in_thread,
    "InvalidRequest": InvalidRequest,
    "missing": missing,
    "not_text": not_text,
}


@lru_cache(maxsize=1024)
def _compiled(text: str) -> CodeType:
    return compile(text, "<ember binding>", "exec")


def _calls(arguments: list[Argument]) -> list[Call]:
    """All direct and indirect dependencies, each once."""
    found: dict[int, Call] = {}

    def visit(items: list[Argument]) -> None:
        for argument in items:
            if isinstance(argument.source, Call) and id(argument.source) not in found:
                found[id(argument.source)] = argument.source
                visit(argument.source.arguments)

    visit(arguments)
    return list(found.values())


def _wants_body(call: Call) -> bool:
    return any(p.source == "body" or p.source in FORM for p in walk(call.arguments))
