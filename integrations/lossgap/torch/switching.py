"""How much each mechanism adds to the loss at fixed weights, by switching them one by one."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from lossgap.core import keys
from lossgap.core.shapley import Setting, settings, shapley_values
from lossgap.core.shares import Shares, share
from lossgap.torch.loading import Sample
from lossgap.torch.mechanisms import Switches, without_fast_path
from lossgap.torch.passes import Runner
from lossgap.torch.states import Kept, moved_from, seed_all

_NONE: Final[Setting] = frozenset()
_MIN_ROWS: Final = 16  # batches or repetitions, the fewest that a standard error is taken from


class Switching:
    """Shares the effect of training mode out over the mechanisms of a model.

    Every setting sees the same batches, begins each with the same state of the modules, and draws
    the same random numbers, so that differences are precise where levels aren't.

    Args:
        runner: Computes the loss of a batch.
        switches: The mechanisms.
        kept: What the modules hold.
        sample: The batches.
        seed: Seed of the random masks.
    """

    def __init__(
        self, runner: Runner, switches: Switches, kept: Kept, sample: Sample, *, seed: int
    ) -> None:
        self._runner = runner
        self._switches = switches
        self._kept = kept
        self._sample = sample
        self._seed = seed
        self._counts: list[int] = []
        self._is_random = False

    def run(self) -> Shares:
        """Measure the model as it is now."""
        players = self._switches.candidates
        if not players:
            return Shares()
        with without_fast_path(), np.errstate(invalid="ignore"):
            return self._shares(players)

    def _shares(self, players: tuple[str, ...]) -> Shares:
        values = {_NONE: self._pass(_NONE)}
        players, gate = self._without_gate(players, values)
        chosen = settings(players)
        for setting in chosen:
            if setting not in values:
                values[setting] = self._pass(setting | gate)
        idle = {p for p in players if all(_same(values, s, p) for s in chosen if p in s)}
        players = tuple(name for name in players if name not in idle)
        chosen = settings(players)
        rows = {setting: [values[setting]] for setting in chosen}
        n_batches = len(self._sample.batches)
        while self._is_random and len(rows[_NONE]) * n_batches < _MIN_ROWS:
            for setting in chosen:
                rows[setting].append(self._pass(setting | gate, repetition=len(rows[setting])))
        return self._shared_out(players, {s: np.concatenate(rows[s]) for s in chosen})

    def _shared_out(self, players: tuple[str, ...], values: Mapping[Setting, np.ndarray]) -> Shares:
        if not players:
            return Shares()
        n_repeated = len(values[_NONE]) // len(self._sample.batches)
        counts = np.array(self._counts * n_repeated, dtype=np.float64)
        exact = self._sample.is_full and not self._is_random
        shares = shapley_values(players, values)
        total = values[frozenset(players)] - values[_NONE]
        return Shares(
            {name: share(counts, value, exact=exact) for name, value in shares.items()},
            share(counts, total, exact=exact),
        )

    def _without_gate(
        self, players: tuple[str, ...], values: dict[Setting, np.ndarray]
    ) -> tuple[tuple[str, ...], Setting]:
        """Tell modules of the user's own that act from those that only let others act.

        The latter change nothing when they alone are in train mode. They stay in train mode in
        every setting, and are no player.
        """
        other = frozenset({keys.OTHER})
        if keys.OTHER not in players:
            return players, _NONE
        values[other] = self._pass(other)
        if not np.array_equal(values[other], values[_NONE], equal_nan=True):
            return players, _NONE
        del values[other]
        return tuple(name for name in players if name != keys.OTHER), other

    def _pass(self, setting: Setting, *, repetition: int = 0) -> np.ndarray:
        """Return the loss of each batch."""
        self._switches.set_to(setting)
        self._kept.reset_generators()
        losses, counts = [], []
        for number, batch in enumerate(self._sample.batches):
            seed = _mixed(self._seed, repetition, number)
            seed_all(seed)
            self._kept.reset()
            result = self._runner.run(batch)
            losses.append(float(result.loss))
            counts.append(result.n_samples)
            self._is_random = self._is_random or (setting != _NONE and moved_from(seed))
        self._counts = counts
        return np.array(losses)


def _mixed(*numbers: int) -> int:
    """Return one seed for several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _same(values: Mapping[Setting, np.ndarray], setting: Setting, player: str) -> bool:
    return np.array_equal(values[setting - {player}], values[setting], equal_nan=True)
