"""The record of one measurement: every number, and how it was had."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

from lossgap.core import keys

LARGEST_COUNT: Final = 2**53 - 1
"""Epochs, steps and samples beyond it are nobody's: JSON and charts can't tell them apart."""


@dataclass(frozen=True, slots=True)
class Part:
    """One cause's share of the regularization gap, in units of the loss.

    Attributes:
        value: The share. May be negative: batch normalisation's batch statistics
            can lower the loss.
        standard_error: One standard deviation of the value's sampling error,
            from random masks and from measuring on a sample. ``None`` where the
            value is exact, or where it can't be estimated.
    """

    value: float
    standard_error: float | None = None


@dataclass(frozen=True, slots=True)
class Penalty:
    """One layer's penalty of one kind, in units of the loss.

    Attributes:
        layer: Path of the layer inside the model, such as ``"encoder/dense_1"``.
        kind: ``"l1"``, ``"l2"``, ``"orthogonal"``, ``"activity"``, ``"add_loss"``,
            or the name of a regularizer of the user's own.
        value: Mean over the measured samples.
    """

    layer: str
    kind: str
    value: float


@dataclass(frozen=True, slots=True)
class MetricValues:
    """One compiled metric: as Keras reports it, its true value, and on validation data.

    Attributes:
        true: In evaluation mode, over the samples that the true loss was measured on.
        reported: In Keras's logs.
        val: In Keras's logs, on the validation data.
        standard_error: Of ``true``, where that is an estimate of a mean over samples. ``None``
            where it is exact, and where it is an estimate of something else (AUC, precision,
            F1), whose error isn't known: see :attr:`Measurement.is_estimate`.
    """

    true: float
    reported: float | None = None
    val: float | None = None
    standard_error: float | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one measurement found. A number that can't be had is ``None``, never 0.

    Attributes:
        true_loss: Loss on the data alone, in evaluation mode, with the weights at
            the time of the measurement: no penalties, no class weights.
        epoch: Index of the epoch, from 0 as in Keras's callbacks; ``None`` outside ``fit``.
        step: Optimizer steps taken so far; ``None`` where unknown.
        reported_loss: ``loss`` in Keras's logs, untouched.
        val_loss: ``val_loss`` in Keras's logs, untouched. It includes the penalties.
        true_val_loss: ``val_loss`` without the penalties: comparable with ``true_loss``.
        parts: The causes of the gap by name (see :data:`lossgap.core.keys.PARTS`),
            in order. With ``reported_loss`` they sum to ``regularization_gap``.
        penalties: The penalty by layer and kind.
        metrics: The compiled metrics by name.
        n_samples: Samples that ``true_loss`` was computed on.
        n_total: Samples in the training set.
        standard_error: Standard error of ``true_loss``; ``None`` where it is exact.
        interval: Where the exact value of ``true_loss`` is with a probability of 95 %; ``None``
            where it is exact. It isn't symmetric where the losses are skewed.
        caveat: Why the interval can't be trusted; ``None`` where nothing speaks against it.
        seconds: Wall-clock time of the measurement, without compilation.
        precision: Keras dtype policy that the forward pass ran in. Sums over
            batches are float64 always.
    """

    true_loss: float
    epoch: int | None = None
    step: int | None = None
    reported_loss: float | None = None
    val_loss: float | None = None
    true_val_loss: float | None = None
    parts: Mapping[str, Part] = field(default_factory=dict)
    penalties: tuple[Penalty, ...] = ()
    metrics: Mapping[str, MetricValues] = field(default_factory=dict)
    n_samples: int = 0
    n_total: int = 0
    standard_error: float | None = None
    seconds: float = 0.0
    precision: str = "float32"
    interval: tuple[float, float] | None = None
    caveat: str | None = None

    @property
    def is_estimate(self) -> bool:
        """Whether ``true_loss`` was computed on a part of the training set."""
        return self.n_samples < self.n_total

    @property
    def relative_half_width(self) -> float | None:
        """Half the length of ``interval`` over ``true_loss``: 0.02 says plus or minus 2 %."""
        if self.interval is None or self.true_loss == 0:
            return None
        low, high = self.interval
        return abs((high - low) / 2 / self.true_loss)

    @property
    def regularization_gap(self) -> float | None:
        """``reported_loss - true_loss``: what the reported loss adds to the loss on the data."""
        if self.reported_loss is None:
            return None
        return self.reported_loss - self.true_loss

    @property
    def generalization_gap(self) -> float | None:
        """``true_val_loss - true_loss``: both sides measured alike."""
        if self.true_val_loss is None:
            return None
        return self.true_val_loss - self.true_loss

    def logs(self) -> dict[str, float]:
        """Return the flat names and values that go into Keras's logs and ``History``."""
        values = {
            keys.TRUE_LOSS: self.true_loss,
            keys.REGULARIZATION_GAP: self.regularization_gap,
            keys.TRUE_VAL_LOSS: self.true_val_loss,
        }
        values.update({keys.true_metric(name): m.true for name, m in self.metrics.items()})
        return {name: value for name, value in values.items() if value is not None}

    def tracked(self) -> dict[str, float]:
        """Return every number under its tracker name, absent ones left out."""
        values: dict[str, float | None] = {
            keys.REPORTED_LOSS: self.reported_loss,
            keys.TRUE_LOSS: self.true_loss,
            keys.REGULARIZATION_GAP: self.regularization_gap,
            keys.VAL_LOSS: self.val_loss,
            keys.TRUE_VAL_LOSS: self.true_val_loss,
            keys.GENERALIZATION_GAP: self.generalization_gap,
            keys.STANDARD_ERROR: self.standard_error,
        }
        values.update({keys.true_metric(name): m.true for name, m in self.metrics.items()})
        values[keys.SECONDS] = self.seconds
        flat = {keys.tracked(name): value for name, value in values.items()}
        flat.update({keys.tracked_part(name): part.value for name, part in self.parts.items()})
        return {name: value for name, value in flat.items() if value is not None}

    @classmethod
    def from_tracked(
        cls, values: Mapping[str, float], *, epoch: int | None = None, step: int | None = None
    ) -> Self:
        """Build the record of what :meth:`tracked` returned; what a tracker doesn't hold is absent.

        Standard errors of parts and the numbers of samples, which some trackers hold under
        names of :mod:`lossgap.core.keys`, are taken where they are there; other names don't
        matter.

        Raises:
            KeyError: There is no true loss among the values.
        """

        def value(name: str) -> float | None:
            return values.get(keys.tracked(name))

        apart = {keys.TRUE_LOSS, keys.TRUE_VAL_LOSS, keys.STANDARD_ERROR}
        prefix = keys.tracked(keys.TRUE_PREFIX)
        return cls(
            true_loss=values[keys.tracked(keys.TRUE_LOSS)],
            epoch=epoch,
            step=step,
            reported_loss=value(keys.REPORTED_LOSS),
            val_loss=value(keys.VAL_LOSS),
            true_val_loss=value(keys.TRUE_VAL_LOSS),
            parts={
                name: Part(values[key], values.get(keys.tracked_part_error(name)))
                for name in keys.PARTS
                if (key := keys.tracked_part(name)) in values
            },
            metrics={
                name.removeprefix(prefix): MetricValues(number)
                for name, number in values.items()
                if name.startswith(prefix) and name.removeprefix(keys.NAMESPACE) not in apart
            },
            n_samples=_count(value(keys.N_SAMPLES)),
            n_total=_count(value(keys.N_TOTAL)),
            standard_error=value(keys.STANDARD_ERROR),
            seconds=value(keys.SECONDS) or 0.0,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain dicts, lists, strings and numbers."""
        record = asdict(self)
        record["penalties"] = [asdict(penalty) for penalty in self.penalties]
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Build the record that :meth:`to_dict` wrote."""
        fields = dict(record)
        fields["parts"] = {name: Part(**part) for name, part in fields.get("parts", {}).items()}
        fields["penalties"] = tuple(Penalty(**p) for p in fields.get("penalties", ()))
        if fields.get("interval") is not None:
            low, high = fields["interval"]
            fields["interval"] = (low, high)
        fields["metrics"] = {
            name: MetricValues(**values) for name, values in fields.get("metrics", {}).items()
        }
        return cls(**fields)


def _count(value: float | None) -> int:
    """Return a number of samples; 0, which says that it is unknown, where it can't be one."""
    return int(value) if value is not None and 0 <= value <= LARGEST_COUNT else 0
