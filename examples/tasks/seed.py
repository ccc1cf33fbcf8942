"""The tasks that a new board starts with: a few true things, and one to try out at once."""

from .models import NewTask, Status
from .storage import Storage

TODO, DOING, DONE = Status.TODO, Status.DOING, Status.DONE
SAMPLES = [
    NewTask(
        "Open this page in a second window",
        "Put the two side by side and move a card: the other follows.",
        "try it",
        TODO,
    ),
    NewTask("Press N to write a task down", "Enter saves it, Esc puts it away.", "keyboard", TODO),
    NewTask("Water the tomatoes before it gets hot", "", "home", TODO),
    NewTask("Book the train to the mountains", "Window seat, quiet coach.", "holiday", TODO),
    NewTask(
        "Ask the API the same question",
        "curl localhost:8000/tasks?status=doing",
        "try it",
        DOING,
    ),
    NewTask("Sketch the new landing page", "Less text. One picture. One button.", "design", DOING),
    NewTask("Read the first chapter aloud", "", "home", DOING),
    NewTask("Start the server", "make serve", "try it", DONE),
    NewTask("Choose a name that is easy to spell", "", "design", DONE),
]


async def seed(storage: Storage) -> None:
    """Write the samples into an empty storage, in their order."""
    for sample in SAMPLES:
        await storage.create(sample)
