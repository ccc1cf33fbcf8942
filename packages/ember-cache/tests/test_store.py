"""The bounded map of this process."""

import random

import pytest
from ember.cache.store import HAND_STEPS, Store


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_an_entry_is_fresh_until_its_ttl_and_not_a_moment_longer(clock: Clock) -> None:
    store = Store(4, clock)
    store.put("a", 1, ttl=1.0)
    clock.now += 0.999
    entry = store.hit("a")
    assert entry is not None
    assert entry.value == 1
    clock.now += 0.001
    assert store.hit("a") is None
    assert store.get("a") is None
    assert (len(store), store.hits, store.expired) == (0, 1, 1)


def test_a_stale_entry_is_kept_for_its_window(clock: Clock) -> None:
    store = Store(4, clock)
    store.put("a", 1, 1.0, stale_while_revalidate=2.0, stale_if_error=5.0)
    clock.now += 3.0
    assert store.hit("a") is None
    entry = store.get("a")
    assert entry is not None
    assert clock.now >= entry.stale_until
    assert clock.now < entry.error_until
    clock.now += 3.0
    assert store.get("a") is None


def test_it_never_holds_one_more_than_its_bound(clock: Clock) -> None:
    store = Store(3, clock)
    for n in range(4):
        store.put(n, n, 60)
    assert sorted(store) == [1, 2, 3]
    assert store.evicted == 1


def test_what_was_asked_for_survives_what_was_not(clock: Clock) -> None:
    store = Store(3, clock)
    for key in "abc":
        store.put(key, key, 60)
    store.hit("a")
    store.put("d", "d", 60)
    assert sorted(store) == ["a", "c", "d"]
    store.hit("a")
    store.hit("c")
    store.put("e", "e", 60)
    assert sorted(store) == ["a", "c", "e"]


def test_a_renewed_entry_keeps_its_merit_and_its_key_is_held_once(clock: Clock) -> None:
    store = Store(2, clock)
    store.put("a", 1, 60)
    store.put("b", 1, 60)
    store.hit("a")
    store.put("a", 2, 60)
    assert len(store) == 2
    store.put("c", 1, 60)
    assert sorted(store) == ["a", "c"]


def test_when_everything_was_asked_for_the_oldest_goes(clock: Clock) -> None:
    store = Store(3, clock)
    for key in "abc":
        store.put(key, key, 60)
    for key in "abc":
        store.hit(key)
    store.put("d", "d", 60)
    assert sorted(store) == ["b", "c", "d"]


def test_the_dead_go_before_the_living(clock: Clock) -> None:
    store = Store(2, clock)
    store.put("short", 1, ttl=1)
    store.hit("short")
    store.put("long", 1, ttl=60)
    clock.now += 2
    store.put("new", 1, ttl=60)
    assert sorted(store) == ["long", "new"]
    assert (store.expired, store.evicted) == (1, 0)


def test_one_put_walks_a_bounded_way_through_marked_entries(clock: Clock) -> None:
    size = HAND_STEPS + 2
    store = Store(size, clock)
    for key in range(size):
        store.put(key, key, 60)
        store.hit(key)
    store.put("new", 1, 60)
    assert HAND_STEPS not in store
    assert len(store) == size


def test_a_tag_takes_all_its_entries_and_no_others(clock: Clock) -> None:
    store = Store(8, clock)
    store.put("a", 1, 60, tags=frozenset({"x", "y"}))
    store.put("b", 1, 60, tags=frozenset({"y"}))
    store.put("c", 1, 60)
    assert store.delete_tag("y") == 2
    assert store.delete_tag("x") == 0
    assert sorted(store) == ["c"]


def test_a_pattern_takes_what_matches(clock: Clock) -> None:
    store = Store(8, clock)
    for key in ("user:1", "user:2", "task:1"):
        store.put(key, 1, 60)
    assert store.delete_matching(lambda key: str(key).startswith("user:")) == 2
    assert sorted(store) == ["task:1"]


@pytest.mark.parametrize("seed", range(20))
def test_its_bookkeeping_survives_any_order_of_operations(clock: Clock, seed: int) -> None:
    rng = random.Random(seed)
    store = Store(7, clock)
    model: dict[int, int] = {}
    for step in range(2000):
        key = rng.randrange(15)
        action = rng.randrange(12)
        if action < 5:
            tags = frozenset(rng.sample(["x", "y", "z"], rng.randrange(3)))
            store.put(key, step, rng.choice([0.5, 5, 50]), tags=tags)
            model[key] = step
        elif action < 9:
            entry = store.hit(key)
            assert entry is None or entry.value == model[key]
        elif action == 9:
            store.delete(key)
            assert store.get(key) is None
        elif action == 10:
            store.delete_tag(rng.choice(["x", "y", "z"]))
        else:
            clock.now += rng.random()
        if rng.randrange(500) == 0:
            store.clear()
        assert_consistent(store)


def assert_consistent(store: Store) -> None:
    keys = list(store)
    assert len(store) == len(keys) <= store.max_entries
    forward = []
    entry = store._oldest
    before = None
    while entry is not None:
        assert entry.older is before
        forward.append(entry.key)
        before, entry = entry, entry.newer
    assert store._newest is before
    assert sorted(forward) == sorted(keys)
    assert store._hand is None or store._hand.key in keys
    tagged = {(tag, key) for tag, members in store._by_tag.items() for key in members}
    assert tagged == {(t, e.key) for e in store._map.values() for t in e.tags}
