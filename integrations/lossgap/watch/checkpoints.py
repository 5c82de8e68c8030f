"""Which files are checkpoints, whether they are whole, and where in the training they stand."""

import hashlib
import re
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lossgap.errors import InvalidArgumentError

MODEL: Final = ".keras"
WEIGHTS: Final = ".weights.h5"
ENDINGS: Final = (MODEL, WEIGHTS)

_MAGIC: Final = re.compile(r"[*?[]")
_EPOCH: Final = re.compile(r"(?i)epoch[^0-9a-z]*(\d+)")
_NUMBER: Final = re.compile(r"(?<![\d.])(\d+)(?!\d|\.\d)")
_FIELD: Final = re.compile(r"\{(\w+)[^{}]*\}")

Signature = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint that is whole.

    Attributes:
        name: Path relative to the folder.
        path: The file.
        digest: SHA-256 of its content.
        signature: Size, time of change and number of the file, when the digest was taken.
    """

    name: str
    path: Path
    digest: str
    signature: Signature


class Folder:
    """The checkpoints in a folder, or of a pattern of paths.

    Args:
        place: A folder, or a pattern such as ``run/*.keras``.
        settle_seconds: How long a file has to be still before it is taken to be whole.

    Raises:
        InvalidArgumentError: There is no such folder.
    """

    def __init__(self, place: str, *, settle_seconds: float) -> None:
        path = Path(place)
        self._patterns = [f"*{ending}" for ending in ENDINGS]
        if _MAGIC.search(place):
            n_plain = next(i for i, part in enumerate(path.parts) if _MAGIC.search(part))
            self._patterns = [str(Path(*path.parts[n_plain:]))]
            path = Path(*path.parts[:n_plain])
        if not path.is_dir():
            raise InvalidArgumentError(
                "Expected a folder of checkpoints, or a pattern such as 'run/*.keras', below a "
                f"folder that is there. Received: {place!r}. Make the folder before the training "
                "does, to watch from the beginning."
            )
        self.path = path
        self._settle_seconds = settle_seconds
        self._seen: dict[Path, tuple[Signature, float]] = {}
        self._digests: dict[Path, tuple[Signature, str]] = {}

    def whole(self) -> Iterator[Found]:
        """Yield the checkpoints that are still, and can be opened."""
        for path in self._paths():
            signature = signature_of(path)
            if signature is None or not self._is_still(path, signature):
                continue
            if self._digests.get(path, (None,))[0] != signature:
                digest = _digest(path)
                if digest is None or signature_of(path) != signature:
                    continue
                self._digests[path] = (signature, digest)
            name = path.relative_to(self.path).as_posix()
            yield Found(name, path, self._digests[path][1], signature)

    def unsettled(self) -> list[Path]:
        """Return the files that are being written, or can't be opened."""
        done = {
            path
            for path, (signature, _) in self._digests.items()
            if signature_of(path) == signature
        }
        return [path for path in self._paths() if path not in done]

    def is_moving(self) -> bool:
        """Tell whether a file hasn't been still for long enough, whatever is in it."""
        found = [(path, signature_of(path)) for path in self._paths()]
        return any(signature and not self._is_still(path, signature) for path, signature in found)

    def _paths(self) -> list[Path]:
        found = {path for pattern in self._patterns for path in self.path.glob(pattern)}
        return sorted(p for p in found if p.name.endswith(ENDINGS) and p.is_file())

    def _is_still(self, path: Path, signature: Signature) -> bool:
        now = time.monotonic()
        before, since = self._seen.get(path, (None, now))
        if before != signature:
            self._seen[path] = (signature, now)
            since = now
        age = time.time() - signature[1] / 1e9
        return now - since >= self._settle_seconds or age >= max(self._settle_seconds, 0.01)


def signature_of(path: Path) -> Signature | None:
    """Return what changes when a file is written; ``None`` where it is gone."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def _digest(path: Path) -> str | None:
    """Return the digest of a file that can be opened; ``None`` for one that is half written."""
    try:
        if path.name.endswith(MODEL):
            with zipfile.ZipFile(path) as archive:
                archive.getinfo("config.json")
        else:
            import h5py

            with h5py.File(path, "r") as file:
                list(file)
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except (OSError, KeyError, zipfile.BadZipFile, RuntimeError, ValueError):
        return None


def step_in(path: Path) -> int | None:
    """Return the steps of the optimizer in a checkpoint; ``None`` where there is none."""
    import h5py

    try:
        if path.name.endswith(WEIGHTS):
            with h5py.File(path, "r") as file:
                return _iterations(file)
        with (
            zipfile.ZipFile(path) as archive,
            archive.open("model.weights.h5") as member,
            h5py.File(member, "r") as file,
        ):
            return _iterations(file)
    except (OSError, KeyError, zipfile.BadZipFile, RuntimeError, ValueError):
        return None


def _iterations(file: Any) -> int | None:
    found = file.get("optimizer/vars/0")
    if found is None or found.shape != () or found.dtype.kind not in "iu":
        return None
    return int(found[()])


class Names:
    """Reads the epoch in the name of a checkpoint.

    Args:
        pattern: The name as ``ModelCheckpoint`` was given it, such as
            ``model-{epoch:02d}-{val_loss:.2f}.keras``. Without one, the number after "epoch", or
            the only whole number in the name.
        first: The number of the first epoch: 1 with ``ModelCheckpoint``.

    Raises:
        InvalidArgumentError: The pattern has no epoch.
    """

    def __init__(self, pattern: str | None, *, first: int = 1) -> None:
        self._first = first
        self._expression: re.Pattern[str] | None = None
        if pattern is not None:
            if "{epoch" not in pattern:
                raise InvalidArgumentError(
                    "Expected --pattern to have {epoch}, as ModelCheckpoint's filepath has. "
                    f"Received: {pattern!r}."
                )
            self._expression = re.compile(_as_expression(Path(pattern).name))

    def epoch(self, name: str) -> int | None:
        """Return the index of the epoch, from 0; ``None`` where the name doesn't tell."""
        plain = Path(name).name
        if self._expression is not None:
            match = self._expression.fullmatch(plain)
            number = None if match is None else match["epoch"]
        else:
            stem = plain.removesuffix(MODEL).removesuffix(WEIGHTS)
            match = _EPOCH.search(stem)
            numbers = [match[1]] if match else _NUMBER.findall(stem)
            number = numbers[0] if len(numbers) == 1 else None
        if number is None or int(number) < self._first:
            return None
        return int(number) - self._first


def _as_expression(pattern: str) -> str:
    parts, last, seen = [], 0, False
    for field in _FIELD.finditer(pattern):
        parts.append(re.escape(pattern[last : field.start()]))
        is_epoch = field[1] == "epoch"
        parts.append(("(?P<epoch>\\d+)" if not seen else "\\d+") if is_epoch else ".*?")
        seen = seen or is_epoch
        last = field.end()
    return "".join([*parts, re.escape(pattern[last:])])
