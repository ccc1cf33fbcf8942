"""A route's plan as Python source: straight-line code without a loop, a look-up or a question in
it.

The names in it are positional (`c0`, `v3`), so that routes of one shape share one code object. For

    async def create(item: Item, user: Annotated[User, Depends(current_user)], limit: int = 10)

it reads

    async def call(request, values):
        faults = None
        t0 = request.headers.get(c2)
        if t0 is None:
            faults = missing(faults, c3)
        else:
            v0 = t0
        if faults is None:
            v1 = await c1(v0)
        ...
        if faults is not None:
            raise InvalidRequest(faults)
        return await c0(v5, v1, v4)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import CodeType
from typing import Any

from ember.binding.contexts import in_thread
from ember.binding.exits import Exits
from ember.binding.faults import InvalidRequest, missing, not_text
from ember.binding.parameters import (
    ASYNC,
    ASYNC_GENERATOR,
    FUNCTION,
    GENERATOR,
    INLINE,
    OWNED,
    THREAD,
    THREAD_GENERATOR,
    Argument,
    Call,
    Constant,
    Given,
    Shared,
    walk,
)
from ember.binding.writer import FORM, Writer
from ember.concurrency.background import BackgroundTasks, Pending
from ember.response import Response


class Source(Writer):
    """The generated function, and the plan's facts that come out of generating it."""

    def __init__(
        self,
        handler: Callable[..., Any],
        arguments: list[Argument],
        *,
        kind: int,
        path: Mapping[str, Any],
        component: Callable[[type], Any],
        run_in_thread: Callable[..., Any] | None,
        pending: Pending | None,
        respond: Callable[[Any], Response] | None = None,
        streams: bool = False,
        given_request: bool = False,
    ) -> None:
        super().__init__(path, tuple(walk(arguments)))
        self._arguments = arguments
        self._kind = kind
        self._component = component
        self._run = run_in_thread
        self._pending = pending
        #: makes the response of what the handler returned; whether it is an async generator
        self._respond, self._streams = respond, streams
        self._handler = handler
        #: whether `handler` takes the request before its arguments
        self._given_request = given_request
        self.calls = calls = _calls(arguments)
        self._background = any(
            isinstance(a.source, Given) and a.source.what == "background"
            for items in (arguments, *(c.arguments for c in calls))
            for a in items
        )
        self.wants_request = any(
            isinstance(a.source, Given) and a.source.what == "request"
            for items in (arguments, *(c.arguments for c in calls))
            for a in items
        )
        self._leaves = any(call.leaves for call in calls)
        self.needs_await = (
            bool(self._body)
            or any(p.source in FORM for p in self.parameters)
            or any(call.awaits for call in calls)
            or self._background
        )

    def compile(self) -> tuple[Callable[..., Any], str]:
        """(the function, its source)."""
        handler = self._constant(self._handler)
        exits = self._leaves or self._background
        if self._has_faults():
            self._write("faults = None")
        if self._leaves:
            self._write(f"exits = Exits({self._constant(self._pending)})")
        if self._background:
            self._write(f"background = BackgroundTasks({self._constant(self._run)})")
        if exits and self._leaves:
            self._write("try:")
            self._indent = 2
        done: dict[int, str] = {}
        later = self._dependencies(self._arguments, done, before_body=True)
        self._own(self._arguments, done)
        self._read_body(done)
        if later:
            self._dependencies(self._arguments, done, before_body=False)
        if self._has_faults():
            self._write("if faults is not None:", "    raise InvalidRequest(faults)")
        passed = ", ".join(
            f"{a.name}={self._value(a, done)}" if a.keyword else self._value(a, done)
            for a in self._arguments
        )
        if self._given_request:
            passed = f"request, {passed}" if passed else "request"
        call = f"{handler}({passed})"
        if self.needs_await and self._kind in (ASYNC, THREAD):
            call = f"await {call}"
        if exits or (self.needs_await and self._kind == INLINE):
            self._write(f"result = {call}")
            if self._kind == INLINE:
                # A plain function that gives a coroutine: a decorator that does not say so.
                self._write("if hasattr(type(result), '__await__'):", "    result = await result")
            if exits:
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
        if self._leaves:
            respond = self._constant(self._respond)
            self._write(f"result = await exits.returned(result, {respond}, {self._streams})")
            self._indent = 1
            self._write(
                "except BaseException as error:",
                "    error = await exits.fail(request, error)",
                "    raise error",
            )
        background = "background" if self._background else "None"
        owner = "exits" if self._leaves else f"Exits({self._constant(self._pending)})"
        self._write(f"return {owner}.finish(request, result, {background})")

    def _has_faults(self) -> bool:
        return any(not self._is_plain_path(p) for p in self.parameters)

    def _dependencies(
        self, arguments: list[Argument], done: dict[int, str], before_body: bool
    ) -> bool:
        """Call the dependencies that can be called now; whether some are left."""
        left = False
        for argument in arguments:
            call = argument.source
            if not isinstance(call, Call) or id(call) in done:
                continue
            if before_body and _wants_body(call):
                # What it depends on may still go first: authentication before the body is read.
                self._dependencies(call.arguments, done, before_body)
                left = True
                continue
            self._dependencies(call.arguments, done, before_body)
            self._own(call.arguments, done)
            self._call(call, done)
        return left

    def _call(self, call: Call, done: dict[int, str]) -> None:
        name = self._variable()
        done[id(call)] = name
        if self._has_faults():
            self._write(f"{name} = None", "if faults is None:")
            self._indent += 1
        function = self._constant(call.function)
        passed = ", ".join(
            f"{a.name}={self._value(a, done)}" if a.keyword else self._value(a, done)
            for a in call.arguments
        )
        plain = f"{function}({passed})"
        early, text = call.scope == FUNCTION, self._constant(call.name)
        run = self._constant(self._run)
        if call.kind == ASYNC:
            plain = f"await {plain}"
        elif call.kind == THREAD:
            given = filter(None, ("request", run, function, passed))
            plain = f"await in_thread({', '.join(given)})"
        elif call.kind == ASYNC_GENERATOR:
            plain = f"await exits.enter_async({plain}, {early}, {text})"
        elif call.kind == GENERATOR:
            plain = f"await exits.enter({plain}, {early}, {text})"
        elif call.kind == THREAD_GENERATOR:
            plain = f"await exits.enter({plain}, {early}, {text}, {run})"
        elif call.kind == OWNED:
            plain = f"await exits.own({plain}, {text})"
        self._write(f"{name} = {plain}")
        if self._has_faults():
            self._indent -= 1

    def _value(self, argument: Argument, done: dict[int, str]) -> str:
        source = argument.source
        if isinstance(source, Given):
            return source.what
        if isinstance(source, Shared):
            return self._constant(self._component(source.type))
        if isinstance(source, Constant):
            return self._constant(source.value)
        return done[id(source)]


_RUNTIME = {
    "BackgroundTasks": BackgroundTasks,
    "Exits": Exits,
    "in_thread": in_thread,
    "InvalidRequest": InvalidRequest,
    "missing": missing,
    "not_text": not_text,
}


@lru_cache(maxsize=1024)
def _compiled(text: str) -> CodeType:
    return compile(text, "<ember binding>", "exec")


def _calls(arguments: list[Argument]) -> list[Call]:
    """Every dependency below, each once."""
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
