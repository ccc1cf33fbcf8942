"""`@cached` on functions, and the keys that it makes."""

import asyncio
import enum
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import ember.cache
import pytest
from ember.cache import TTLCache, cached
from ember.cache.key import CallKey, matcher, redis_glob
from hypothesis import given
from hypothesis import strategies as st


def test_a_function_runs_once_for_equal_arguments() -> None:
    calls: list[tuple[int, int]] = []

    @cached(TTLCache(ttl=60))
    async def add(a: int, b: int = 2) -> int:
        """Adds."""
        calls.append((a, b))
        return a + b

    async def main() -> None:
        assert await add(1) == await add(1, 2) == await add(b=2, a=1) == 3
        assert await add(1, 3) == 4
        assert calls == [(1, 2), (1, 3)]
        assert add.key(1) == add.key(b=2, a=1)
        await add.invalidate(1, 2)
        await add(1)
        assert len(calls) == 3

    asyncio.run(main())
    assert add.__name__ == "add"  # type: ignore[attr-defined]
    assert add.__doc__ == "Adds."


def test_concurrent_calls_share_one_run() -> None:
    calls = 0

    @cached(TTLCache(ttl=60))
    async def slow() -> str:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        return "done"

    async def main() -> None:
        assert set(await asyncio.gather(*(slow() for _ in range(500)))) == {"done"}
        assert calls == 1

    asyncio.run(main())


def test_a_hit_needs_no_task() -> None:
    @cached(TTLCache(ttl=60))
    async def f() -> int:
        return 1

    async def main() -> None:
        await f()
        with pytest.raises(StopIteration) as done:  # it ends without ever suspending
            f().send(None)
        assert done.value.value == 1

    asyncio.run(main())


def test_a_template_names_the_key_and_tags_come_from_the_arguments() -> None:
    cache = TTLCache(ttl=60)
    calls: list[int] = []

    @cached(cache, key="user:{id}", tags=lambda id: [f"users-{id % 2}"])
    async def user(id: int) -> int:
        calls.append(id)
        return id

    async def main() -> None:
        for n in range(4):
            await user(n)
        await cache.invalidate(key="user:2")
        await cache.invalidate(tag="users-1")
        for n in range(4):
            await user(id=n)
        assert calls == [0, 1, 2, 3, 1, 2, 3]

    asyncio.run(main())


def test_two_functions_do_not_answer_for_each_other() -> None:
    cache = TTLCache(ttl=60)

    @cached(cache)
    async def one() -> int:
        return 1

    @cached(cache)
    async def two() -> int:
        return 2

    async def main() -> None:
        assert [await one(), await two(), await one()] == [1, 2, 1]

    asyncio.run(main())


def test_two_functions_of_one_factory_are_told_apart_or_refused() -> None:
    cache = TTLCache(ttl=60)

    def make(n: int) -> Any:
        @cached(cache)
        async def made() -> int:
            return n

        return made

    make(1)
    with pytest.raises(ValueError, match="pass key= to tell them apart"):
        make(2)


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, "1"),
        (1, True),
        (1, 1.0),
        ("a', 'b", ("a", "b")),
        (("a",), ["a"]),
        (b"a", "a"),
        (None, "None"),
        (UUID(int=1), str(UUID(int=1))),
        (Colour.RED, 1),
        ({"a": 1}, {"a": "1"}),
        ({1, 2}, frozenset({1, 2})),
    ],
)
def test_different_arguments_never_share_a_key(a: object, b: object) -> None:
    async def f(x: object) -> None: ...

    key = CallKey(f)
    assert key((a,), {}) != key((b,), {})


def test_the_order_of_a_dict_and_of_a_set_does_not_matter() -> None:
    async def f(x: object) -> None: ...

    key = CallKey(f)
    assert key(({"a": 1, "b": 2},), {}) == key(({"b": 2, "a": 1},), {})
    assert key(({"a", "b", "c"},), {}) == key(({"c", "b", "a"},), {})


def test_every_kind_of_parameter_is_part_of_the_key() -> None:
    async def f(a: int, *rest: int, flag: bool = False, **more: int) -> None: ...

    key = CallKey(f)
    calls: list[tuple[tuple[int, ...], dict[str, Any]]] = [
        ((1,), {}),
        ((1, 2), {}),
        ((1, 2, 3), {}),
        ((1,), {"flag": True}),
        ((1,), {"x": 2}),
        ((1,), {"y": 2}),
    ]
    assert len({key(args, kwargs) for args, kwargs in calls}) == len(calls)
    assert key((1,), {"x": 1, "y": 2}) == key((1,), {"y": 2, "x": 1})


def test_an_argument_without_a_value_of_its_own_is_refused_with_the_way_out() -> None:
    @cached(TTLCache())
    async def f(x: object) -> None: ...

    with pytest.raises(TypeError, match=r"argument of type object; pass key= to cached\(\)"):
        asyncio.run(f(object()))


def test_a_wrong_call_raises_what_it_would_raise_without_the_cache() -> None:
    @cached(TTLCache())
    async def f(x: int) -> None: ...

    async def main() -> None:
        with pytest.raises(TypeError, match="missing a required argument: 'x'"):
            await f()  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="too many positional arguments"):
            await f(1, 2)  # type: ignore[call-arg]

    asyncio.run(main())


def test_mistakes_are_told_when_decorating() -> None:
    async def f(id: int) -> None: ...

    def plain() -> None: ...

    with pytest.raises(TypeError, match="is not an async function"):
        cached(TTLCache())(plain)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the first argument is a cache"):
        cached(5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has no parameter 'user'; it has: id"):
        cached(TTLCache(), key="u:{user}")(f)
    with pytest.raises(TypeError, match="a template such as"):
        cached(TTLCache(), key=7)(f)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="write tags="):
        cached(TTLCache(), tags="users")(f)


def test_a_key_function_that_returns_no_str_is_named() -> None:
    @cached(TTLCache(), key=lambda id: id)
    async def f(id: int) -> None: ...

    with pytest.raises(TypeError, match=r"its key function returned int, not str"):
        asyncio.run(f(1))


@pytest.mark.parametrize(
    ("pattern", "key", "matches"),
    [
        ("user:*", "user:1", True),
        ("user:*", "user:", True),
        ("user:?", "user:", False),
        ("user:?", "user:12", False),
        ("*", "any\nthing", True),
        ("a.c", "abc", False),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
        ("user:1", "user:12", False),
    ],
)
def test_a_pattern_knows_two_signs_and_takes_the_rest_as_it_is(
    pattern: str, key: str, matches: bool
) -> None:
    assert matcher(pattern)(key) is matches


def _fits(pattern: str, key: str) -> bool:
    """What a pattern means, by trying every run that a `*` can stand for."""
    if not pattern:
        return not key
    if pattern[0] == "*":
        return any(_fits(pattern[1:], key[at:]) for at in range(len(key) + 1))
    return bool(key) and pattern[0] in ("?", key[0]) and _fits(pattern[1:], key[1:])


@given(st.text("ab*?", max_size=7), st.text("ab\n", max_size=9))
def test_a_pattern_matches_what_any_reading_of_it_matches(pattern: str, key: str) -> None:
    assert matcher(pattern)(key) is _fits(pattern, key)


def test_a_pattern_is_said_in_redis_language() -> None:
    assert redis_glob("a*?[b]\\^") == "a*?\\[b\\]\\\\\\^"


def test_it_runs_with_nothing_else_installed_and_loads_no_client() -> None:
    source = Path(ember.cache.__file__).parents[2]
    code = (
        "import asyncio, sys\n"
        f"sys.path.insert(0, {str(source)!r})\n"
        "from ember.cache import TTLCache, cached\n"
        "@cached(TTLCache(ttl=5))\n"
        "async def f(): return 'alone'\n"
        "print(asyncio.run(f()))\n"
        "print([m for m in sys.modules if m.startswith(('ember.', 'redis', 'emcache', 'msgspec'))"
        " and not m.startswith('ember.cache')])\n"
    )
    run = [sys.executable, "-I", "-S", "-c", code]  # -S: without site-packages
    out = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert out.split("\n") == ["alone", "[]", ""]
