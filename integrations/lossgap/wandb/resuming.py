"""The run of a training that ended before W&B had all of its rows, opened again."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from lossgap import redaction
from lossgap.errors import LossgapError
from lossgap.extras import require
from lossgap.wandb import faults, rows, written

_OFFLINE: Final = "offline"
_WRITE_SECONDS: Final = 10.0
# Nothing that would change what the run says of the machine and the script that trained.
_SETTINGS: Final = {
    "silent": True,
    "console": "off",
    "disable_git": True,
    "save_code": False,
    "x_disable_stats": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "init_timeout": 30.0,
    "finish_timeout": 60.0,
}


@dataclass(slots=True)
class Destination:
    """The run of a training; all of it may be written to disk.

    Attributes:
        entity: Who owns the project; empty for the user's default.
        project: The run's project.
        run_id: The run's id.
        offline: Whether its rows are only on disk.
        base_url: Address of W&B's server, without a password.
        folders: Where the rows are on disk, in the order in which they were written.
        options: How it is measured.
        notes: Whether the verdict goes to the run's notes.
    """

    entity: str = ""
    project: str = ""
    run_id: str = ""
    offline: bool = False
    base_url: str = ""
    folders: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    notes: bool = False

    @classmethod
    def of(cls, run: Any, options: Mapping[str, Any], *, notes: bool) -> Self:
        """Describe a run."""
        folder = faults.folder(run)
        return cls(
            entity=str(run.entity or ""),
            project=str(run.project or ""),
            run_id=str(run.id),
            offline=bool(run.offline),
            base_url=redaction.address(str(getattr(run.settings, "base_url", "") or "")),
            folders=[str(folder)] if folder is not None else [],
            options=dict(options),
            notes=notes,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


class Resumed:
    """What an earlier training left undelivered, on its way into the same run.

    Rows that are there aren't logged again: in the folders of an offline run, at the server for
    any other. The run is opened for the first row that is missing.
    """

    def __init__(self, to: Destination) -> None:
        self.to = to
        self.run: Any = None
        self._disk: set[tuple[str, ...]] | None = None
        self._sent: set[tuple[str, ...]] | None = None
        self._added: list[tuple[str, ...]] = []

    def has(self, values: Mapping[str, Any]) -> bool:
        """Tell whether a row is in the run's folders."""
        if self._disk is None:
            self._disk = self._on_disk()
        return rows.identity(values) in self._disk

    def lacks(self, values: Mapping[str, Any]) -> bool:
        """Tell whether the run hasn't got a row.

        Raises:
            LossgapError: The server has to be asked, and doesn't answer.
        """
        if self.to.offline:
            return not self.has(values)
        if self._sent is None:
            self._sent = self._at_the_server()
        return rows.identity(values) not in self._sent

    def opened(self) -> Any:
        """Return the run, which is resumed if it wasn't yet.

        Raises:
            LossgapError: W&B refuses.
        """
        if self.run is None:
            wandb = require("wandb", extra="wandb")
            settings = dict(_SETTINGS)
            if self.to.base_url:
                settings["base_url"] = self.to.base_url
            try:
                self.run = wandb.init(
                    entity=self.to.entity or None,
                    project=self.to.project or None,
                    id=self.to.run_id,
                    resume="allow",
                    reinit="create_new",
                    mode=_OFFLINE if self.to.offline else "online",
                    dir=self._directory(),
                    settings=wandb.Settings(**settings),
                )
            except Exception as error:
                raise LossgapError(
                    f"W&B can't open the run {self.to.run_id} again. {faults.reason(error)}"
                ) from error
            folder = faults.folder(self.run)
            self.to.folders += [str(folder)] if folder is not None else []
        return self.run

    def added(self, values: Mapping[str, Any]) -> None:
        """Note that a row was logged."""
        self._added.append(rows.identity(values))

    def close(self) -> list[str]:
        """End the run, see that all is on disk, and tell how to upload what isn't uploaded.

        Raises:
            LossgapError: A row isn't there.
        """
        if self.run is None:
            return [f"W&B: all rows are there. {self._upload()}"] if self.to.offline else []
        trouble = None
        with suppress(Exception):
            self.run.finish()
            trouble = None if self.to.offline else faults.upload_trouble(self.run)
        missing = self._missing()
        if missing:
            raise LossgapError(f"W&B's process ended before it had written {missing} rows.")
        n = len(self._added)
        told = f"W&B: {n} measurement{'s' * (n != 1)} added to the run {self.to.run_id}."
        return [told if not (self.to.offline or trouble) else f"{told} {self._upload()}"]

    def _missing(self) -> int:
        """Return how many rows aren't on disk; W&B writes the last a moment after the end."""
        last = time.monotonic() + _WRITE_SECONDS
        while (n := len(set(self._added) - self._on_disk())) and time.monotonic() < last:
            time.sleep(0.02)
        return n

    def _on_disk(self) -> set[tuple[str, ...]]:
        found: set[tuple[str, ...]] = set()
        for folder in map(Path, self.to.folders):
            with suppress(LossgapError, OSError):  # what can't be read isn't there
                found |= written.in_folder(folder)
        return found

    def _at_the_server(self) -> set[tuple[str, ...]]:
        """Return the rows that were sent, some of them perhaps before they were on disk.

        Raises:
            LossgapError: The server doesn't tell, or has less than the disk.
        """
        wandb = require("wandb", extra="wandb")
        overrides = {"base_url": self.to.base_url} if self.to.base_url else {}
        path = "/".join(filter(None, (self.to.entity, self.to.project, self.to.run_id)))
        try:
            run = wandb.Api(overrides=overrides).run(path)
            there, last_step = list(run.scan_history(use_cache=False)), run.lastHistoryStep
        except Exception as error:
            if "not find run" not in str(error):
                raise LossgapError(
                    f"W&B's server doesn't tell which rows of the run {path} it has. "
                    f"{faults.reason(error)}"
                ) from error
            there, last_step = [], -1  # killed before the server knew of it
        # W&B numbers the lines of a run: what is on disk has to be sent before more is added.
        if any(written.last_step(Path(folder)) > last_step for folder in self.to.folders):
            raise LossgapError(
                "W&B's server hasn't all rows of this run that W&B wrote to disk. "
                f"{self._upload()}. Then run this again, for the rest: lossgap sync"
            )
        return {rows.identity(values) for values in there if rows.is_row(values)}

    def _directory(self) -> str | None:
        """Return the folder in which W&B keeps its folder of runs, where it is still there."""
        if self.to.folders:
            place = Path(self.to.folders[0]).parent.parent
            if place.is_dir():
                return str(place)
        return None

    def _upload(self) -> str:
        """Return the command that uploads; it stops at a folder to which W&B never wrote."""
        online = "" if self.to.offline else "--include-online "
        folders = [folder for folder in self.to.folders if written.is_begun(Path(folder))]
        return f"To upload: wandb sync {online}{' '.join(folders)}"
