"""How much each mechanism adds to the loss at fixed weights, by switching them one by one."""

import time
from functools import partial
from typing import Any

import numpy as np

from lossgap.core import backends, keys
from lossgap.core.feeds import Draw, Feed, Wish
from lossgap.core.forward import Switched, Weights, looped
from lossgap.core.measurement import Part
from lossgap.core.mechanisms import Switches
from lossgap.core.shapley import Setting, settings, shapley_values
from lossgap.core.shares import Shares, share

_NONE: Setting = frozenset()
_FRACTION = 0.1  # of the samples, shared out over the settings
_MIN_SAMPLES = 512
_MAX_SAMPLES = 4096
_MIN_ROWS = 16  # batches or repetitions, the fewest that a standard error is taken from
_MAX_BYTES = 64 * 2**20
_NOTHING = Draw([], is_full=False)  # between runs no batch is held that the feed has let go of


class Decomposition:
    """Shares the effect of training mode out over the model's mechanisms.

    The total loss (data loss with class weights, and penalties) is computed with every
    subset of the mechanisms in train mode, at fixed weights, in batches of the training's
    size. The settings share samples and random masks, so that their differences are
    precise where their levels aren't. The samples and the masks stay the same from one
    run to the next, so that a curve over epochs shows changes of the model alone.

    Large sets are measured on a fixed random sample of whole batches. The standard errors
    come from the spread between batches. On a full pass they cover the randomness of the
    masks and are conservative; without randomness a full pass is exact and has none.
    """

    def __init__(
        self,
        model: Any,
        feed: Feed,
        weights: Weights,
        *,
        seed: int,
        n_samples: int | None = None,
    ) -> None:
        """Find the mechanisms and compile a loop for each setting.

        Args:
            model: Built and compiled Keras model.
            feed: The samples as they are trained on.
            weights: The trainable variables and where their values are read from.
            seed: Seed of the sample and the masks.
            n_samples: Samples that the settings may share out among them; ``None`` for a
                tenth of all, within limits.
        """
        self._wanted = n_samples
        begin = time.perf_counter()
        self._model = model
        self._feed = feed
        self._seed = seed
        self._switches = Switches(model)
        self._players = self._switches.candidates
        if self._players:
            self._step = Switched(model, feed.layout, weights, self._switches)
            self._drawn = self._draw()
            self._is_random = False
            self._loops = self._compile()
            self._drop_idle()
            self._drawn = _NOTHING
        self.compile_seconds = time.perf_counter() - begin

    def run(self) -> Shares:
        """Measure the model as it is now, on the samples that the feed handed out last."""
        if not self._players:
            return Shares()
        self._drawn = self._draw()
        runs = {setting: self._run(setting) for setting in self._loops}
        counts = runs[_NONE][:, 0]
        with np.errstate(invalid="ignore"):
            values = {setting: rows[:, 1:].sum(axis=1) for setting, rows in runs.items()}
            total = values[frozenset(self._players)] - values[_NONE]
            shares = shapley_values(self._players, values)
            found = Shares(
                {name: self._part(counts, share) for name, share in shares.items()},
                self._part(counts, total),
            )
        self._drawn = _NOTHING
        return found

    def _draw(self) -> Draw:
        n_samples = self._feed.n_total * _FRACTION if self._wanted is None else self._wanted
        n_samples /= 2 ** (len(self._players) - 1)
        wanted = min(max(int(n_samples), _MIN_SAMPLES), _MAX_SAMPLES)
        return self._feed.draw(Wish(wanted, _MIN_ROWS, _MAX_BYTES, self._seed))

    def _compile(self) -> dict[Setting, backends.Loop]:
        """Compile the settings that are needed, and forget the players that can't act.

        The first two traces also record what the layers receive in evaluation and in
        training mode. A container that changes nothing when it alone is in train mode
        only lets others act: it stays in train mode in every setting and is no player.
        """
        everything = frozenset(self._players)
        loops = {
            _NONE: self._loop(_NONE, record=True),
            everything: self._loop(everything, record=True),
        }
        if backends.active().runs_eagerly(self._model):  # without a trace, it takes a run to record
            self._loops = loops
            for setting in loops:
                self._once(setting)
        self._players = self._switches.candidates
        if set(self._players) != everything:  # some layers are pinned to one mode
            loops = {_NONE: loops[_NONE], frozenset(self._players): loops[everything]}
        gate = frozenset({keys.OTHER}) & frozenset(self._players)
        if gate and len(self._players) > 1:
            loops[gate] = self._loop(gate)
            self._loops = loops
            if self._same(_NONE, gate):
                self._players = tuple(name for name in self._players if name not in gate)
                loops = {setting - gate: loop for setting, loop in loops.items() if setting}
            else:
                gate = _NONE
        else:
            gate = _NONE
        for setting in settings(self._players):
            if setting not in loops:
                loops[setting] = self._loop(setting | gate)
        return {setting: loops[setting] for setting in settings(self._players)}

    def _loop(self, setting: Setting, *, record: bool = False) -> backends.Loop:
        root = keys.OTHER in setting or (record and bool(setting))
        step = partial(self._step.step, setting=setting, root=root, record=record)
        state = self._step.initial_state(self._seed)
        return looped(self._model, step, self._feed.specs(), state, self._step.reads)

    def _drop_idle(self) -> None:
        """Drop the players that change neither the loss nor the random state."""
        everything = frozenset(self._players)
        if not everything:
            return
        states = [backends.active().to_numpy(s) for s in self._step.initial_state(self._seed)]
        once, final = self._once(everything)
        again, _ = self._once(everything)
        moved = any(not np.array_equal(a, b) for a, b in zip(states, final, strict=True))
        self._is_random = moved or not np.array_equal(once, again, equal_nan=True)
        idle = {
            player
            for player in self._players
            if all(self._same(s - {player}, s) for s in self._loops if player in s)
        }
        self._players = tuple(name for name in self._players if name not in idle)
        self._loops = {s: loop for s, loop in self._loops.items() if not s & idle}

    def _same(self, one: Setting, other: Setting) -> bool:
        rows, state = self._once(one)
        other_rows, other_state = self._once(other)
        return np.array_equal(rows, other_rows, equal_nan=True) and all(
            np.array_equal(a, b) for a, b in zip(state, other_state, strict=True)
        )

    def _once(self, setting: Setting) -> tuple[np.ndarray, list[np.ndarray]]:
        rows, state = self._pass(setting, self._step.initial_state(self._seed))
        return rows, [backends.active().to_numpy(value) for value in state]

    def _run(self, setting: Setting) -> np.ndarray:
        """Return rows of sample count and losses, with fresh masks for each repetition."""
        rows, state = self._pass(setting, self._step.initial_state(self._seed))
        runs = [rows]
        while self._is_random and len(runs) * len(rows) < _MIN_ROWS:
            more, state = self._pass(setting, state)
            runs.append(more)
        return np.concatenate(runs)

    def _pass(self, setting: Setting, state: list[Any]) -> tuple[np.ndarray, list[Any]]:
        parts = []
        for chunk in self._drawn.chunks:
            rows, state = self._loops[setting](chunk.leaves, chunk.splits, state)
            parts.append(rows)
        return np.concatenate(parts), state

    def _part(self, counts: np.ndarray, shares: np.ndarray) -> Part:
        return share(counts, shares, exact=self._drawn.is_full and not self._is_random)
