"""Measures checkpoints as they appear, and sends what was measured."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from lossgap.core import keys
from lossgap.core.measurement import Measurement
from lossgap.errors import LossgapError, first_line
from lossgap.trackers.beside import Beside
from lossgap.trackers.records import Log
from lossgap.watch.checkpoints import Folder, Found, Names, signature_of, step_in
from lossgap.watch.functions import Data
from lossgap.watch.ledger import Entry, Ledger, Parcel
from lossgap.watch.models import Models
from lossgap.watch.reported import logs_of

RETRY_SECONDS: Final = 2.0
MOST_RETRY_SECONDS: Final = 60.0

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Measuring:
    """How a checkpoint is measured.

    Attributes:
        models: Loads it.
        data: What it is measured on.
        options: Further arguments of ``lossgap.measure``.
        log: A file of ``CSVLogger``, for the reported loss; ``None`` for none.
    """

    models: Models
    data: Data
    options: dict[str, Any] = field(default_factory=dict)
    log: Path | None = None

    def measure(self, path: Path, *, epoch: int | None, step: int | None) -> Measurement:
        """Measure a checkpoint, with the epoch and step that it stands at.

        Raises:
            LossgapError: It can't be measured.
        """
        from lossgap.core.measure import measure

        logs = logs_of(self.log, epoch)
        model = self.models.load(path)
        x, y, weight = (*self.data.train, None, None)[:3]
        try:
            measured = measure(
                model,
                x,
                y,
                sample_weight=weight,
                validation_data=self.data.validation,
                **{
                    "reported_loss": logs.get(keys.LOSS),
                    "val_loss": logs.get(keys.VAL_LOSS),
                    **self.options,
                },
            )
        except LossgapError:
            raise
        except Exception as error:
            raise LossgapError(
                f"The model in {path.name} fails on the data: {type(error).__name__}: "
                f"{first_line(error)}"
            ) from error
        return replace(measured, epoch=epoch, step=step)


class Watcher:
    """Looks after one folder of checkpoints; others may look after it, too.

    Args:
        folder: The checkpoints.
        names: Reads epochs in names.
        unit: What steps in the tracker count: ``"epoch"`` or ``"step"``.
        ledger: What became of each.
        measuring: How they are measured.
        besides: Where measurements go.
        tell: Takes lines for the user.
    """

    def __init__(
        self,
        folder: Folder,
        names: Names,
        *,
        unit: str,
        ledger: Ledger,
        measuring: Measuring,
        besides: Sequence[Beside],
        tell: Tell,
    ) -> None:
        self._folder = folder
        self._names = names
        self._unit = unit
        self._ledger = ledger
        self._measuring = measuring
        self._besides = besides
        self._tell = tell
        self._told: set[str] = set()
        self._failed: set[int] = set()
        self._files: dict[tuple[str, str], Found] = {}
        self._retries: dict[str, tuple[float, float]] = {}

    def round(self) -> bool:
        """Measure and send what there is, and tell whether anything was done."""
        self._look()
        worked = False
        for entry in self._ledger.unmeasured():
            if entry.number not in self._failed and self._ledger.claim(entry):
                worked = self._measure(entry) or worked
                self._send()
        return self._send() or worked

    def n_left(self) -> int:
        """Return how many checkpoints aren't measured, or not sent."""
        unsent = {p.number for beside in self._besides for p in self._ledger.unsent(beside.place)}
        unsent |= {entry.number for entry in self._ledger.unmeasured()}
        return len(unsent) + len(self._folder.unsettled()) + len(self._nameless())

    def is_stuck(self) -> bool:
        """Tell whether all that is left has failed in this watcher."""
        waiting = [e for e in self._ledger.unmeasured() if e.number not in self._failed]
        unsent = {b.place for b in self._besides if self._ledger.unsent(b.place)}
        return not waiting and not self._folder.is_moving() and unsent <= set(self._retries)

    def _nameless(self) -> list[str]:
        return [line for line in self._told if line.startswith("not measured: ")]

    def _look(self) -> None:
        """Enter the checkpoints that are whole."""
        for found in self._folder.whole():
            key = (found.name, found.digest)
            if key in self._files:
                continue
            epoch, step = self._names.epoch(found.name), step_in(found.path)
            if (epoch if self._unit == "epoch" else step) is None:
                self._tell_once(f"not measured: {found.name}: {_UNKNOWN[self._unit]}")
                continue
            self._files[key] = found
            self._ledger.offer(found.name, found.digest, epoch, step)

    def _measure(self, entry: Entry) -> bool:
        found = self._files.get((entry.name, entry.digest))
        path = self._folder.path / entry.name
        if found is None or signature_of(path) != found.signature:
            self._lost(entry, path)
            return False
        try:
            measured = self._measuring.measure(path, epoch=entry.epoch, step=entry.step)
        except LossgapError as error:
            self._failed.add(entry.number)
            self._ledger.release(entry)
            self._tell(f"failed: {entry.name}: {error} It is tried again by the next watcher.")
            return False
        except BaseException:
            self._ledger.release(entry)
            raise
        if signature_of(path) != found.signature:  # something else may have been loaded
            self._lost(entry, path)
            return False
        self._ledger.measured(entry, Log(measured, time.time()))
        self._tell(line(entry, measured))
        return True

    def _lost(self, entry: Entry, path: Path) -> None:
        """Give up a checkpoint whose file is gone or another one; wait for one that isn't still."""
        now = [found for found in self._folder.whole() if found.name == entry.name]
        if now and now[0].digest == entry.digest:
            self._files[entry.name, entry.digest] = now[0]
            self._ledger.release(entry)
        elif now or not path.exists():
            self._ledger.gone(entry)
            what = "written over" if now else "removed"
            self._tell(f"lost: {entry.name} was {what} before it was measured.")
        else:
            self._ledger.release(entry)

    def _send(self) -> bool:
        """Send what was measured, one watcher at a time, and tell whether something arrived."""
        if not any(self._ledger.unsent(beside.place) for beside in self._besides):
            return False
        if not self._ledger.sending.acquire():
            return False
        try:
            worked = [self._send_to(beside) for beside in self._besides]
            return any(worked)
        finally:
            self._ledger.sending.release()

    def _send_to(self, beside: Beside) -> bool:
        delay, due = self._retries.get(beside.place, (0.0, 0.0))
        parcels = self._ledger.sendable(beside.place)
        if not parcels or time.monotonic() < due:
            return False
        size = len(parcels) if beside.buffers else 1
        try:
            for start in range(0, len(parcels), size):
                self._put(parcels[start : start + size], beside)
        except Exception as error:  # noqa: BLE001 - whatever a tracker raises, it is tried again
            delay = min(max(2 * delay, RETRY_SECONDS), MOST_RETRY_SECONDS)
            self._retries[beside.place] = (delay, time.monotonic() + delay)
            self._tell_once(
                f"not sent: {beside.place.partition(':')[0]}: {type(error).__name__}: "
                f"{first_line(error)}. It is tried again."
            )
            return False
        self._retries.pop(beside.place, None)
        return True

    def _put(self, parcels: Sequence[Parcel], beside: Beside) -> None:
        """Send measurements that become safe together, and note each step on the way."""
        for parcel in parcels:
            self._ledger.about_to_send(parcel, beside.place)
            beside.put(parcel.log.measurement, parcel.log.wall_time, unsure=parcel.unsure)
        beside.settle()
        for parcel in parcels:
            self._ledger.sent(parcel, beside.place)

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._tell(text)


_UNKNOWN: Final = {
    "epoch": "its name tells no epoch. Say how it is named, --pattern 'model-{epoch:02d}.keras', "
    "or log at optimizer steps: --unit step.",
    "step": "there is no optimizer in it that counts steps. Log at epochs: --unit epoch.",
}


def line(entry: Entry, measured: Measurement) -> str:
    """Say what was measured, and where it stands."""
    at = [] if entry.epoch is None else [f"epoch {entry.epoch} by its name"]
    at += [] if entry.step is None else [f"step {entry.step} by its optimizer"]
    gap = measured.regularization_gap
    more = "" if gap is None else f", gap {gap:+.6g}"
    return f"{entry.name}: {', '.join(at)}: true loss {measured.true_loss:.6g}{more}"


def rounds(watcher: Watcher, *, once: bool, poll_seconds: float) -> Iterator[None]:
    """Go round until nothing is left, or for ever.

    Args:
        watcher: The watcher.
        once: Whether to end when all that is there is done, or has failed.
        poll_seconds: How long to rest where there was nothing to do.
    """
    while True:
        worked = watcher.round()
        if once and (watcher.n_left() == 0 or (not worked and watcher.is_stuck())):
            return
        if not worked:
            yield
            time.sleep(poll_seconds)
