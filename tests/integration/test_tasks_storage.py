"""What both storages of the task board promise; each test runs on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from examples.tasks.models import NewTask, Status, Task, TaskChange
from examples.tasks.postgres import PostgresStorage
from examples.tasks.seed import SAMPLES, seed
from examples.tasks.sqlite import SQLiteStorage
from examples.tasks.storage import MAX_ID, Storage, StorageUnavailable, from_environment
from tests.support.services import free_port
from tests.support.services import postgres_dsn as postgres_dsn

Test = Callable[[Storage], Awaitable[None]]


@pytest.fixture(params=["sqlite", "postgres"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Storage]:
    """Makes storages over one and the same, at first empty, database."""
    if request.param == "sqlite":
        return lambda: SQLiteStorage(tmp_path / "tasks.sqlite3")
    dsn: str = request.getfixturevalue("postgres_dsn")

    async def forget() -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute("DROP TABLE IF EXISTS board_tasks")
        await connection.close()

    asyncio.run(forget())
    return lambda: PostgresStorage(dsn)


@pytest.fixture
def check(make: Callable[[], Storage]) -> Callable[[Test], None]:
    """Runs an async test with a fresh storage."""

    def run(test: Test) -> None:
        async def with_storage() -> None:
            async with opened(make) as storage:
                await test(storage)

        asyncio.run(with_storage())

    return run


@asynccontextmanager
async def opened(make: Callable[[], Storage]) -> AsyncIterator[Storage]:
    storage = make()
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


def titles(page: tuple[list[Task], int]) -> list[str]:
    return [task.title for task in page[0]]


def test_a_new_task_gets_an_id_its_times_and_the_end_of_its_column(
    check: Callable[[Test], None],
) -> None:
    async def test(storage: Storage) -> None:
        first = await storage.create(NewTask("Bread", "Rye", "home"))
        second = await storage.create(NewTask("Butter"))
        assert (first.title, first.notes, first.label) == ("Bread", "Rye", "home")
        assert (first.status, first.version) == (Status.TODO, 1)
        assert first.created_at == first.updated_at
        assert first.created_at.utcoffset() is not None
        assert first.id != second.id
        assert second.position > first.position
        assert await storage.get(first.id) == first

    check(test)


def test_a_task_can_be_put_where_it_belongs(check: Callable[[Test], None]) -> None:
    async def test(storage: Storage) -> None:
        for title, position in (("third", 3.0), ("first", -1.5), ("second", 0.25)):
            await storage.create(NewTask(title, position=position))
        assert titles(await storage.list()) == ["first", "second", "third"]

    check(test)


def test_pages_follow_each_other_and_know_the_total(check: Callable[[Test], None]) -> None:
    async def test(storage: Storage) -> None:
        for number in range(7):
            await storage.create(NewTask(f"task {number}"))
        pages = [await storage.list(limit=3, offset=offset) for offset in (0, 3, 6, 9)]
        assert [len(items) for items, _ in pages] == [3, 3, 1, 0]
        assert {total for _, total in pages} == {7}
        listed = [task.title for items, _ in pages for task in items]
        assert listed == [f"task {number}" for number in range(7)]

    check(test)


def test_a_list_can_be_of_one_status(check: Callable[[Test], None]) -> None:
    async def test(storage: Storage) -> None:
        await seed(storage)
        page = await storage.list(status=Status.DONE)
        wanted = [task.title for task in SAMPLES if task.status is Status.DONE]
        assert titles(page) == wanted
        assert page[1] == len(wanted)

    check(test)


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("BREAD", ["Bake bread"]),
        ("rye", ["Bake bread"]),
        ("kitchen", ["Bake bread"]),
        ("100%", ["Be 100% sure"]),
        ("_", []),
        ("äpfel", ["Ordne die ÄPFEL"]),
        ("'; DROP", []),
        ("", ["Bake bread", "Be 100% sure", "Ordne die ÄPFEL"]),
    ],
)
def test_search_looks_everywhere_whatever_the_case_and_takes_the_words_literally(
    check: Callable[[Test], None], search: str, found: list[str]
) -> None:
    async def test(storage: Storage) -> None:
        await storage.create(NewTask("Bake bread", "with rye", "kitchen"))
        await storage.create(NewTask("Be 100% sure"))
        await storage.create(NewTask("Ordne die ÄPFEL"))
        page = await storage.list(search=search)
        assert titles(page) == found
        assert page[1] == len(found)

    check(test)


def test_a_change_touches_only_what_it_names(check: Callable[[Test], None]) -> None:
    async def test(storage: Storage) -> None:
        before = await storage.create(NewTask("Bread", "Rye", "home"))
        after = await storage.update(before.id, TaskChange(notes=""))
        assert after is not None
        assert (after.title, after.notes, after.label) == ("Bread", "", "home")
        assert (after.version, after.position) == (2, before.position)
        assert after.updated_at >= before.updated_at
        assert after.created_at == before.created_at
        assert await storage.get(before.id) == after

    check(test)


def test_a_task_that_changes_its_status_goes_to_the_end_unless_told_otherwise(
    check: Callable[[Test], None],
) -> None:
    async def test(storage: Storage) -> None:
        await storage.create(NewTask("old", status=Status.DONE, position=5000.0))
        task = await storage.create(NewTask("new"))
        same = await storage.update(task.id, TaskChange(status=Status.TODO))
        assert same is not None
        assert same.position == task.position
        moved = await storage.update(task.id, TaskChange(status=Status.DONE))
        assert moved is not None
        assert moved.position > 5000.0
        placed = await storage.update(task.id, TaskChange(status=Status.DOING, position=2.5))
        assert placed is not None
        assert (placed.status, placed.position) == (Status.DOING, 2.5)

    check(test)


def test_what_is_deleted_is_gone_and_its_id_is_not_given_again(
    check: Callable[[Test], None],
) -> None:
    async def test(storage: Storage) -> None:
        task = await storage.create(NewTask("Bread"))
        assert await storage.delete(task.id) is True
        assert await storage.delete(task.id) is False
        assert await storage.get(task.id) is None
        assert await storage.update(task.id, TaskChange(title="Butter")) is None
        assert await storage.list() == ([], 0)
        assert (await storage.create(NewTask("Butter"))).id > task.id

    check(test)


def test_the_greatest_id_is_a_question_with_an_answer(check: Callable[[Test], None]) -> None:
    async def test(storage: Storage) -> None:
        assert await storage.get(MAX_ID) is None
        assert await storage.delete(MAX_ID) is False

    check(test)


def test_texts_come_back_as_they_were_written(check: Callable[[Test], None]) -> None:
    async def test(storage: Storage) -> None:
        new = NewTask("ß 日本語 🔥 'quotes\" \\ % _", "two\nlines\r\n\ttab " + "x" * 9_900, "é")
        task = await storage.create(new)
        stored = await storage.get(task.id)
        assert stored is not None
        assert (stored.title, stored.notes, stored.label) == (new.title, new.notes, new.label)

    check(test)


def test_many_changes_at_once_are_all_kept(check: Callable[[Test], None]) -> None:
    async def test(storage: Storage) -> None:
        task = await storage.create(NewTask("count"))
        await asyncio.gather(
            *(storage.update(task.id, TaskChange(notes=str(number))) for number in range(40)),
            *(storage.create(NewTask(f"task {number}")) for number in range(40)),
        )
        counted = await storage.get(task.id)
        assert counted is not None
        assert counted.version == 41
        assert (await storage.list(limit=1))[1] == 41

    check(test)


def test_the_table_is_made_once_and_a_restart_keeps_the_tasks(
    make: Callable[[], Storage],
) -> None:
    async def test() -> None:
        first, second = make(), make()
        assert await first.open() is True
        task = await first.create(NewTask("Bread"))
        await first.close()
        assert await second.open() is False
        assert await second.get(task.id) == task
        await second.close()

    asyncio.run(test())


def test_a_storage_that_cannot_be_reached_says_so(tmp_path: Path) -> None:
    async def test() -> None:
        missing = SQLiteStorage(tmp_path / "no such folder" / "tasks.sqlite3")
        with pytest.raises(StorageUnavailable, match="no such folder"):
            await missing.open()
        await missing.close()
        nonsense = tmp_path / "nonsense.sqlite3"
        nonsense.write_bytes(b"this is a letter and not a database" * 100)
        letter = SQLiteStorage(nonsense)
        with pytest.raises(StorageUnavailable, match="not a database"):
            await letter.open()
        await letter.close()
        deaf = PostgresStorage(f"postgresql://ember:secret@127.0.0.1:{free_port()}/postgres")
        with pytest.raises(StorageUnavailable, match="PostgreSQL") as caught:
            await deaf.open()
        assert "secret" not in str(caught.value)
        await deaf.close()
        with pytest.raises(StorageUnavailable, match="DATABASE_URL is not an address"):
            await PostgresStorage("postgresql://ember:secret@127.0.0.1:port/postgres").open()

    asyncio.run(test())


def test_postgres_that_drops_its_connections_is_found_again(
    postgres_dsn: str,
) -> None:
    async def test() -> None:
        storage = PostgresStorage(postgres_dsn)
        await storage.open()
        total = (await storage.list())[1]
        other = await asyncpg.connect(postgres_dsn)
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        await other.close()
        for _ in range(3):
            try:
                found = (await storage.list())[1]
            except StorageUnavailable:
                continue
            assert found == total
            break
        else:
            pytest.fail("the pool did not recover")
        await storage.close()

    asyncio.run(test())


def test_the_environment_chooses_the_storage() -> None:
    assert isinstance(from_environment({}), SQLiteStorage)
    for scheme in ("postgres", "postgresql"):
        storage = from_environment({"DATABASE_URL": f"{scheme}://ember@127.0.0.1/tasks"})
        assert isinstance(storage, PostgresStorage)
    with pytest.raises(SystemExit, match='unknown scheme "mysql"') as caught:
        from_environment({"DATABASE_URL": "mysql://root:secret@127.0.0.1/tasks"})
    assert "secret" not in str(caught.value)
