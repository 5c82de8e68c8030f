"""Which samples to measure: those that were given, those that ``fit`` trains on, or both."""

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from keras.src.trainers import data_adapters
from keras.src.trainers.data_adapters import array_slicing

from lossgap.core import backends
from lossgap.core.feeds import Feed
from lossgap.core.feeds.arrays import ArrayFeed, can_read
from lossgap.core.feeds.datasets import DatasetFeed
from lossgap.core.feeds.tap import TapFeed
from lossgap.core.fit_call import FitCall
from lossgap.errors import DataError, first_line


@dataclass(frozen=True, slots=True)
class Given:
    """What the user handed to the measurement."""

    x: Any = None
    y: Any = None
    sample_weight: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return itself: data are read and never changed, and nobody wants them twice."""
        del memo
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the data, or say in words that they can't be.

        Raises:
            DataError: They are a generator or a ``tf.data.Dataset``, say.
        """
        _check_pickles((self.x, self.y, self.sample_weight))
        return type(self), (self.x, self.y, self.sample_weight)


class _Probe(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        """Pass over arrays, which can be pickled and are large."""
        return (tuple, ()) if type(obj) is np.ndarray else NotImplemented


def _check_pickles(data: Any) -> None:
    try:
        _Probe(io.BytesIO()).dump(data)
    except (pickle.PicklingError, AttributeError):
        pass  # a name that pickle can't find; cloudpickle and joblib can
    except Exception as error:
        raise DataError(
            "The data that were given to TrueLoss can't be pickled, as copies for other processes "
            f"are ({type(error).__name__}: {first_line(error)}). Pass arrays or a PyDataset, or "
            "leave x out: then the training data are picked up from fit."
        ) from error


@dataclass(frozen=True, slots=True)
class Feeds:
    """The samples of a training.

    Attributes:
        fed: The samples as they are trained on.
        clean: The samples that the true loss is measured on, where the user gave others
            than those that are fed; ``None`` where they are the same.
        validation: Gives the validation samples, or ``None`` where they can't be read.
    """

    fed: Feed
    clean: Feed | None
    validation: Callable[[], Feed | None]

    @property
    def pass_by(self) -> bool:
        """Whether batches are kept as they pass while threads of a pipeline are running."""
        return isinstance(self.fed, TapFeed) and self.fed.reads_ahead

    def begin_epoch(self) -> None:
        """Forget the batches of the epoch before, where they are kept as they pass."""
        if isinstance(self.fed, TapFeed):
            self.fed.begin_epoch()


def choose(given: Given, call: FitCall, *, keep: bool, max_bytes: int, seed: int) -> Feeds:
    """Choose the samples for a training that is about to begin.

    Args:
        given: What the user handed to the measurement, or nothing.
        call: The running ``fit``.
        keep: Whether batches may be kept as they pass, beside data that were given.
        max_bytes: Memory for batches that are kept as they pass.
        seed: Seed of their sample.

    Raises:
        DataError: There are no data that can be measured.
    """

    def validation() -> Feed | None:
        return _validation(call, seed)

    clean = None
    if given.x is not None and (can_read(given.x) or given.x is not call.x):
        clean = _separate(given, call, seed)
    if clean is None:
        return Feeds(_fitted(call, max_bytes, seed), None, validation)
    is_stream = call.epoch_iterator is not None and not can_read(call.x, call.y)
    if keep and is_stream and backends.active().can_tap(call.epoch_iterator):
        return Feeds(_tap(call, max_bytes, seed), clean, validation)
    return Feeds(clean, None, validation)


def _fitted(call: FitCall, max_bytes: int, seed: int) -> Feed:
    """Return the samples that ``fit`` trains on."""
    if call.epoch_iterator is None:
        raise DataError(
            "There are no data to measure on: no fit is running that they could be picked up "
            "from. Pass them: TrueLoss(x, y)."
        )
    if can_read(call.x, call.y, call.sample_weight) and call.covers_arrays:
        return _arrays(Given(call.x, call.y, call.sample_weight), call)
    return _tap(call, max_bytes, seed)


def _tap(call: FitCall, max_bytes: int, seed: int) -> TapFeed:
    return TapFeed(
        call.epoch_iterator, class_weight=call.class_weight, max_bytes=max_bytes, seed=seed
    )


def _arrays(given: Given, call: FitCall) -> ArrayFeed:
    return ArrayFeed(
        given.x,
        given.y,
        given.sample_weight,
        class_weight=call.class_weight if given.sample_weight is None else None,
        batch_size=call.batch_size,
        n_replicas=call.n_replicas,
        shuffle=call.shuffle,
    )


def _separate(given: Given, call: FitCall, seed: int) -> Feed | None:
    """Return the given samples; ``None`` where they are those of ``fit``."""
    if not can_read(given.x):
        if given.y is not None or given.sample_weight is not None:
            raise DataError(
                f"Received a {type(given.x).__name__} as x together with y or sample_weight. A "
                "dataset yields (x, y) or (x, y, sample_weight) itself: pass it alone."
            )
        dataset = DatasetFeed(given.x, seed=seed)
        _check_targets(call, has_targets=dataset.has_targets)
        return dataset
    feed = _arrays(given, call)
    _check_targets(call, has_targets=feed.has_targets)
    if not can_read(call.x, call.y, call.sample_weight):
        return feed
    fitted = _arrays(Given(call.x, call.y, call.sample_weight), call)
    whole = fitted.n_total + _n_cut_off(call)
    if feed.n_total not in (fitted.n_total, whole) or not feed.starts_as(fitted):
        return feed
    if given.sample_weight is None:
        return None
    if feed.n_total == fitted.n_total:
        return feed
    data = (given.x, given.y, given.sample_weight)
    training, _ = array_slicing.train_validation_split(data, call.validation_split)
    return _arrays(Given(*training), call)


def _check_targets(call: FitCall, *, has_targets: bool) -> None:
    in_arrays = call.x is not None and can_read(call.x, call.y)
    if in_arrays and call.y is not None and not has_targets:
        raise DataError("TrueLoss received x without y, but fit trains with y. Pass both.")


def _n_cut_off(call: FitCall) -> int:
    if not call.validation_split or call.validation is None:
        return 0
    return ArrayFeed(*call.validation).n_total


def _validation(call: FitCall, seed: int) -> Feed | None:
    if call.validation is None:
        return None
    x, y, sample_weight = call.validation
    if can_read(x, y, sample_weight):
        size = call.validation_batch_size or call.batch_size
        n_replicas = call.n_replicas
        return ArrayFeed(x, y, sample_weight, batch_size=size, n_replicas=n_replicas, shuffle=False)
    if call.validation_steps is not None:  # a part of the dataset, which reading it isn't
        return None
    if not data_adapters.is_tf_dataset(x) or backends.active().is_python(x):
        return None  # Python code of the user's may draw from a state of its own
    try:
        return DatasetFeed(x, seed=seed)
    except DataError:
        return None
