"""The journals of trainings, damaged as files of SQLite."""

import json
import sqlite3

import chart_samples
from lossgap.trackers import journal, leftovers
from lossgap.trackers.journal import Journal
from lossgap.trackers.records import Log
from mutations import damage, disturb, odd, to_json


class Journals:
    """What ``lossgap sync --list`` makes of a damaged journal."""

    name = "SQLite journals"

    def __init__(self, folder):
        self._folder = folder / "outbox"
        self._folder.mkdir()
        # Without rows that wait beside the file, so that the damage to it counts.
        kept = Journal.create("mlflow", {"tracking_uri": "http://host", "run_id": "0123"})
        kept.write((n, Log(chart_samples.measurement(n), 1e9).to_json()) for n in range(20))
        kept._database.close()
        self._data = kept.path.read_bytes()
        kept.path.unlink()
        self._place = self._folder / kept.path.name
        self._record = json.loads(Log(chart_samples.measurement(1), 1e9).to_json())

    def make(self, choose, cut):
        for path in self._folder.iterdir():
            path.unlink()
        data = self._data if cut is None else self._data[: round(cut * len(self._data))]
        if cut is None and choose.randrange(2):
            data = damage(self._data, choose)
        self._place.write_bytes(data)
        if cut is None and data == self._data:
            self._change(choose)
        return self._folder

    def _change(self, choose):
        """Put an odd value into one of the rows, whatever SQLite takes."""
        text = to_json(disturb(self._record, choose), choose).decode("utf-8", "replace")
        value = choose.choice((text, text.encode(), None, 7, 1e308))
        if value is None:
            value = json.dumps(odd(choose))
        table, column = choose.choice((("records", "record"), ("origin", "value")))
        database = sqlite3.connect(self._place)
        database.execute(f"UPDATE {table} SET {column} = ?", (value,))
        database.commit()
        database.close()

    def read(self, _folder):
        """Return what can be read; a trouble that is told counts as refused."""
        outcomes = list(leftovers.waiting())
        if any(outcome.trouble for outcome in outcomes):
            return None
        return outcomes

    def use(self, outcomes):
        for outcome in outcomes:
            assert outcome.path.name.endswith(journal.ENDING)
