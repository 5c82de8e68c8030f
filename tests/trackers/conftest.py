"""For each test: the trackers of these tests by name, short patience, and no one left behind."""

import pytest
from tracking import ENOUGH, Book, set_mood

from lossgap.trackers import leftovers, outbox, registry


@pytest.fixture(autouse=True)
def _known(monkeypatch):
    monkeypatch.setattr(registry, "_CLASSES", dict(registry._CLASSES))
    registry.register("book", "tracking:Book")
    registry.register("plain", "tracking:PlainBook")
    registry.register("buffered", "tracking:BufferedBook")
    monkeypatch.setattr(leftovers, "_begun", set())


@pytest.fixture
def _impatient(monkeypatch):
    """Keep soon, try again soon, and wait long for a tracker that works."""
    monkeypatch.setattr(outbox, "PATIENCE", 2.0)
    monkeypatch.setattr(outbox, "FIRST_PATIENCE", 2.0)
    monkeypatch.setattr(outbox, "FAILING_PATIENCE", 0.05)
    monkeypatch.setattr(outbox, "LAST_PATIENCE", ENOUGH)
    monkeypatch.setattr(outbox, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(outbox, "MOST_RETRY_SECONDS", 0.02)


@pytest.fixture
def _patient(_impatient, monkeypatch):
    """Let a busy machine make its stores, whatever the rest of a module's tests are."""
    for name in ("PATIENCE", "FIRST_PATIENCE", "LAST_PATIENCE", "FAILING_PATIENCE"):
        monkeypatch.setattr(outbox, name, 5 * ENOUGH)


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Return the file of a book, whose tracker works again when the test ends."""
    path = tmp_path / "book.txt"
    monkeypatch.setenv("BOOK", str(path))
    yield path
    set_mood(path, "works")


@pytest.fixture
def book(path):
    return Book(path)
