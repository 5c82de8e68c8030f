"""What the verdict claims, and where it keeps silent.

Each sentence has cases in which it must appear and cases in which it must not. The numbers are
made by hand, so that a reader can work out what is true of them.
"""

import re
from dataclasses import replace

import hypothesis
import keras
import pytest
from hypothesis import strategies as st

from lossgap import LossgapError, Measurement, Part, Summary, summarize
from lossgap.core import keys
from lossgap.errors import InvalidArgumentError

NAN, INF = float("nan"), float("inf")


def told(*measurements):
    return summarize(measurements).verdict


def numbers(text):
    """Return the numbers in ``text``, percentages as "40 %" and all others as floats."""
    found = re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?(?: %)?", text)
    return [number if number.endswith("%") else float(number) for number in found]


def sentence_with(words, text):
    """Return the one sentence of ``text`` that contains ``words``."""
    (found,) = [s for s in re.split(r"(?<=\.) ", text) if words in s]
    return found


def course(true, val, **fields):
    """Return one measurement an epoch, with the penalties absent."""
    return [
        Measurement(
            true_loss=t, epoch=i, reported_loss=t * 1.5, val_loss=v, true_val_loss=v, **fields
        )
        for i, (t, v) in enumerate(zip(true, val, strict=True))
    ]


def at_end(parts=None, reported=0.5, true=0.3, **fields):
    """Return the measurement of a fifth and last epoch."""
    found = {name: Part(*values) for name, values in (parts or {}).items()}
    return Measurement(true_loss=true, epoch=4, reported_loss=reported, parts=found, **fields)


# What is reported, and what is true.


def test_the_reported_loss_is_split_into_true_loss_and_the_rest():
    verdict = told(Measurement(0.5, epoch=0), at_end(reported=0.1796, true=0.1082))
    assert numbers(verdict) == [5, 0.1796, 0.1082, 0.0714, "40 %"]
    assert "epoch 5 Keras reports" in verdict
    assert "not loss on the data" in verdict


def test_a_reported_loss_that_is_too_low_is_told_as_such():
    verdict = told(at_end(reported=0.2, true=0.25))
    assert numbers(verdict) == [5, 0.2, 0.25, 0.05, "20 %"]
    assert "too low" in verdict
    assert "not loss on the data" not in verdict


@pytest.mark.parametrize("reported", [0.5, 0.504, 0.497])
def test_equal_losses_are_told_as_equal(reported):
    verdict = told(at_end(reported=reported, true=0.5))
    assert "agrees with the true loss" in verdict
    assert "not loss on the data" not in verdict
    assert "too low" not in verdict


def test_a_gap_within_the_error_of_an_estimate_is_no_gap():
    verdict = told(at_end(reported=0.5, true=0.45, standard_error=0.03, parts={"drift": (0.05,)}))
    assert "can't be told from" in verdict
    assert "0.4500 ± 0.0300" in verdict
    assert "not loss on the data" not in verdict


def test_a_precise_estimate_within_a_percent_is_told_as_agreement():
    verdict = told(at_end(reported=0.5, true=0.498, standard_error=0.0001))
    assert "agrees with the true loss" in verdict
    assert "0.4980 ± 0.0001" in verdict


def test_an_unusable_error_supports_no_conclusion():
    verdict = told(at_end(standard_error=NAN, val_loss=0.6, true_val_loss=0.6))
    assert "can't be told from" in verdict
    assert "alidation" not in verdict


def test_an_estimated_gap_is_told_with_its_error():
    verdict = told(at_end(reported=0.5, true=0.3, standard_error=0.01))
    assert verdict.count("± 0.0100") == 2
    assert "0.2000 ± 0.0100" in verdict


def test_an_exact_number_has_no_error():
    assert "±" not in told(at_end())


def test_without_a_reported_loss_the_true_one_stands_alone():
    verdict = told(Measurement(0.3))
    assert numbers(verdict) == [0.3]
    assert "Keras" not in verdict
    assert "epoch" not in verdict


@pytest.mark.parametrize(
    ("reported", "true", "shares"),
    [
        (-0.2, -0.5, []),
        (0.1, -0.5, []),
        (-0.5, -0.2, []),
        (-0.1, 0.1, []),
        (0.0, 0.4, ["100 %"]),
        (0.4, 0.0, ["100 %"]),
    ],
)
def test_losses_below_zero_have_no_nonsensical_percentage(reported, true, shares):
    verdict = told(at_end(reported=reported, true=true))
    assert re.findall(r"-?\d+ %", verdict) == shares


@pytest.mark.parametrize("scale", [1e-12, 1e-7, 1e-3, 1.0, 1e3, 1e7])
def test_numbers_keep_their_digits_on_every_scale(scale):
    reported, true, gap = numbers(told(at_end(reported=0.4321 * scale, true=0.1234 * scale)))[1:4]
    assert reported == pytest.approx(0.4321 * scale, rel=1e-3)
    assert true == pytest.approx(0.1234 * scale, rel=1e-2)
    assert gap == pytest.approx(0.3087 * scale, rel=1e-2)


def test_a_loss_of_zero_is_told():
    assert numbers(told(at_end(reported=0.0, true=0.0)))[1:3] == [0, 0]


def test_a_true_loss_far_below_the_reported_one_is_not_rounded_to_zero():
    assert 2e-6 in numbers(told(at_end(reported=0.5, true=2e-6)))


# What the gap is made of.


def test_regularization_is_told_apart_from_the_epochs_averaging():
    verdict = told(at_end({"dropout": (0.15,), "drift": (0.05,)}))
    causes = sentence_with("dropout", verdict)
    assert numbers(causes) == [0.15, "75 %", 0.05, "25 %"]
    assert "still moving" in causes
    assert causes.index("dropout") < causes.index("averaging")


def test_the_bigger_cause_comes_first():
    causes = sentence_with("dropout", told(at_end({"dropout": (0.05,), "drift": (0.15,)})))
    assert causes.index("averaging") < causes.index("dropout")


def test_several_regularizers_are_added_up_and_told_the_biggest_first():
    parts = {"penalty": (0.03,), "dropout": (0.05,), "noise": (0.08,), "drift": (0.04,)}
    causes = sentence_with("dropout", told(at_end(parts)))
    assert numbers(causes) == [0.16, "80 %", 0.08, 0.05, 0.03, 0.04, "20 %"]
    assert causes.index("noise") < causes.index("dropout") < causes.index("penalty")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("penalty", "the penalty"),
        ("class_weight", "class weighting"),
        ("dropout", "dropout"),
        ("noise", "noise"),
        ("batch_norm", "batch normalization"),
        ("augmentation", "augmentation"),
        ("other", "other layers"),
        ("pipeline", "input pipeline"),
    ],
)
def test_every_regularizing_part_has_a_name_in_words(name, words):
    causes = sentence_with("egularization", told(at_end({name: (0.2,)})))
    assert words in causes
    assert "_" not in causes
    assert "averaging" not in causes


def test_a_small_part_is_left_out():
    verdict = told(at_end({"dropout": (0.195,), "noise": (0.004,), "drift": (0.001,)}))
    assert "dropout" in verdict
    assert "noise" not in verdict
    assert "averaging over weights" not in verdict


def test_a_part_within_two_standard_errors_is_no_cause_but_a_doubt():
    verdict = told(at_end({"dropout": (0.17, 0.01), "noise": (0.03, 0.02)}))
    assert "noise" not in sentence_with("dropout", verdict)
    assert numbers(sentence_with("uncertain", verdict)) == [0.03, 0.02]


def test_a_part_beyond_two_standard_errors_is_a_cause_with_its_error():
    verdict = told(at_end({"dropout": (0.2, 0.01)}))
    assert "0.2000 ± 0.0100" in sentence_with("dropout", verdict)
    assert "uncertain" not in verdict


def test_an_uncertain_part_that_is_surely_small_is_no_doubt():
    verdict = told(at_end({"dropout": (0.2, 0.01), "noise": (0.001, 0.002)}))
    assert "noise" not in verdict
    assert "uncertain" not in verdict


def test_a_part_with_an_unusable_error_is_a_doubt():
    verdict = told(at_end({"dropout": (0.2, NAN)}))
    assert "dropout" in sentence_with("uncertain", verdict)
    assert "makes up" not in verdict


def test_a_part_that_lowers_the_reported_loss_is_told_so():
    parts = {"augmentation": (0.3, 0.001), "batch_norm": (-0.06, 0.001), "drift": (-0.04, 0.001)}
    causes = sentence_with("ugmentation", told(at_end(parts)))
    assert re.search(r"ugmentation raises the reported loss by 0\.3", causes)
    assert re.search(r"batch normalization lowers it by 0\.06", causes)
    assert re.search(r"averaging .* lowers it by 0\.04", causes)
    assert re.search(r"on balance, regularization raises it by 0\.24", causes)
    assert "%" not in causes


def test_an_uncertain_balance_is_not_told():
    parts = {"augmentation": (0.10, 0.01), "batch_norm": (-0.09, 0.01), "drift": (0.19, 0.01)}
    causes = sentence_with("ugmentation", told(at_end(parts)))
    assert "raises" in causes
    assert "lowers" in causes
    assert "on balance" not in causes


def test_causes_that_cancel_are_told_although_there_is_no_gap():
    parts = {"augmentation": (0.1,), "batch_norm": (-0.1,), "drift": (0.0001,)}
    verdict = told(at_end(parts, reported=0.3001, true=0.3))
    assert "agrees" in verdict
    assert "augmentation" in verdict.lower()
    assert "lowers" in verdict
    assert "averaging" not in verdict


def test_where_nothing_adds_to_the_loss_no_cause_is_told():
    verdict = told(at_end({"dropout": (0.0005,)}, reported=0.3005, true=0.3))
    assert "dropout" not in verdict


def test_a_gap_without_parts_has_no_causes():
    verdict = told(at_end())
    assert "egularization" not in verdict
    assert "averaging" not in verdict


def test_only_the_last_measurements_causes_are_told():
    verdict = told(
        Measurement(0.3, epoch=0, reported_loss=0.5, parts={"dropout": Part(0.2)}),
        at_end({"noise": (0.2,)}),
    )
    assert "noise" in verdict
    assert "dropout" not in verdict


# A reported loss above the validation loss.


def test_a_reported_loss_above_the_validation_loss_is_explained():
    verdict = told(at_end(reported=0.57, true=0.3, val_loss=0.4, true_val_loss=0.4))
    alike = sentence_with("above the validation loss", verdict)
    assert numbers(alike)[:3] == [0.4, 0.4, 0.3]
    assert "only because" in alike
    assert "measured alike" in alike


def test_what_remains_of_it_is_not_explained_away():
    verdict = told(at_end(reported=0.57, true=0.4, val_loss=0.3, true_val_loss=0.3))
    alike = sentence_with("above the validation loss", verdict)
    assert "partly because" in alike
    assert "easier" in alike
    assert "generalization gap" not in alike


@pytest.mark.parametrize(
    "losses",
    [
        {"reported": 0.4, "true": 0.3, "val_loss": 0.5, "true_val_loss": 0.5},
        {"reported": 0.4, "true": 0.3, "val_loss": 0.4, "true_val_loss": 0.4},
        {"reported": 0.404, "true": 0.3, "val_loss": 0.4, "true_val_loss": 0.4},
        {"reported": 0.57, "true": 0.3, "val_loss": 0.4},
        {"reported": 0.57, "true": 0.3, "true_val_loss": 0.4},
        {"reported": None, "true": 0.3, "val_loss": 0.4, "true_val_loss": 0.4},
    ],
    ids=["below", "equal", "hardly above", "uncorrected", "unreported", "outside fit"],
)
def test_where_it_is_not_above_or_not_comparable_nothing_is_explained(losses):
    assert "above the validation loss" not in told(at_end(**losses))


def test_penalties_inside_the_validation_loss_are_told():
    verdict = told(at_end(reported=0.9, true=0.3, val_loss=0.95, true_val_loss=0.35))
    assert numbers(sentence_with("penalties", verdict))[:2] == [0.95, 0.6]


def test_a_validation_loss_without_penalties_says_nothing_of_them():
    assert "penalties" not in told(at_end(val_loss=0.4, true_val_loss=0.4))


# Training against validation, measured alike.


def test_the_generalization_gap_is_told_with_its_share():
    verdict = told(at_end(val_loss=0.39, true_val_loss=0.39))
    assert numbers(sentence_with("alike", verdict))[-4:] == [0.39, 0.3, 0.09, "30 %"]


def test_without_validation_nothing_is_said_on_generalization():
    verdict = told(*(Measurement(0.5 - i / 10, epoch=i, reported_loss=0.6) for i in range(4)))
    assert "alidation" not in verdict
    assert "overfit" not in verdict
    assert "generalization" not in verdict


def test_equal_losses_have_no_generalization_gap_to_speak_of():
    verdict = told(at_end(val_loss=0.302, true_val_loss=0.302))
    assert "no generalization gap" in verdict
    assert "%" not in sentence_with("no generalization gap", verdict)


def test_a_validation_loss_below_the_true_one_is_no_generalization_gap():
    verdict = told(at_end(true=0.3, reported=0.31, val_loss=0.2, true_val_loss=0.2))
    assert "easier" in verdict
    assert "generalization gap" not in verdict


def test_a_difference_within_the_estimates_error_is_left_alone():
    verdict = told(at_end(val_loss=0.34, true_val_loss=0.34, standard_error=0.03))
    assert "alidation" not in verdict


def test_a_difference_beyond_the_estimates_error_is_told_with_it():
    verdict = told(at_end(val_loss=0.4, true_val_loss=0.4, standard_error=0.01))
    assert "0.1000 ± 0.0100" in sentence_with("alike", verdict)


def test_overfitting_is_told_since_its_epoch():
    verdict = told(
        *course([0.60, 0.50, 0.42, 0.36, 0.30, 0.25], [0.62, 0.55, 0.52, 0.54, 0.57, 0.60])
    )
    overfits = sentence_with("overfits", verdict)
    assert numbers(overfits) == [3, 0.52, 0.6, 0.42, 0.25]
    assert "epoch 3" in overfits
    assert "isn't overfitting" not in verdict


def test_both_still_falling_is_not_overfitting_yet():
    verdict = told(*course([0.60, 0.50, 0.42, 0.36], [0.61, 0.51, 0.43, 0.37]))
    falling = sentence_with("isn't overfitting yet", verdict)
    assert numbers(falling) == [2, 4, 0.51, 0.37, 0.5, 0.36]
    assert "overfits" not in verdict
    assert "widened" not in verdict


def test_a_gap_that_widens_on_the_way_down_is_told():
    verdict = told(*course([0.60, 0.45, 0.32, 0.20], [0.61, 0.51, 0.43, 0.37]))
    assert numbers(sentence_with("isn't overfitting yet", verdict))[-3:] == [0.01, 1, 0.17]
    assert "widened" in verdict


def test_a_widening_within_the_estimates_errors_is_not_told():
    measured = course([0.60, 0.45, 0.32, 0.20], [0.61, 0.51, 0.43, 0.37], standard_error=0.085)
    assert "widened" not in sentence_with("isn't overfitting yet", told(*measured))


def test_a_validation_loss_that_stands_still_is_told():
    verdict = told(*course([0.60, 0.50, 0.42, 0.36, 0.30], [0.70, 0.553, 0.550, 0.551, 0.552]))
    still = sentence_with("stands still", verdict)
    assert "epoch 2" in still
    assert numbers(still) == [2, 0.55, 0.5, 0.3]
    assert "overfits" not in verdict


def test_both_rising_is_not_called_overfitting():
    verdict = told(*course([0.42, 0.50, 0.58, 0.66], [0.43, 0.53, 0.60, 0.68]))
    worse = sentence_with("both losses rose", verdict)
    assert numbers(worse) == [1, 0.43, 0.68, 0.42, 0.66]
    assert "not overfitting" in worse
    assert "overfits" not in verdict


TREND = re.compile(r"overfit|stands still|rose|fell")


@pytest.mark.parametrize(
    ("true", "val"),
    [
        ([0.6], [0.7]),
        ([0.6, 0.3], [0.5, 0.7]),
        ([0.60, 0.50, 0.42, 0.36], [0.70, 0.60, 0.55, 0.60]),
        ([0.42, 0.40, 0.38, 0.36, 0.34], [0.60, 0.52, 0.60, 0.53, 0.61]),
        ([0.42, 0.40, 0.38, 0.36, 0.34, 0.32], [0.60, 0.50, 0.62, 0.52, 0.58, 0.56]),
        (
            [0.420, 0.415, 0.410, 0.405, 0.400, 0.395, 0.390, 0.385],
            [0.500, 0.501, 0.502, 0.503, 0.504, 0.505, 0.506, 0.560],
        ),
        ([0.42, 0.42, 0.42, 0.42], [0.50, 0.53, 0.56, 0.59]),
        ([0.420, 0.419, 0.418, 0.417], [0.500, 0.501, 0.502, 0.503]),
        ([0.42, 0.42, 0.42, 0.42], [0.60, 0.58, 0.56, 0.54]),
        ([0.42, 0.44, 0.46, 0.48], [0.60, 0.58, 0.56, 0.54]),
    ],
    ids=[
        "one epoch",
        "two epochs",
        "one bad epoch",
        "noise",
        "noise that ends above its minimum",
        "one outlier at the end",
        "val rises, train still",
        "both still",
        "val falls, train still",
        "val falls, train rises",
    ],
)
def test_no_trend_is_told_where_there_is_none(true, val):
    assert not TREND.search(told(*course(true, val)))


def test_a_trend_within_the_estimates_errors_is_not_told():
    true, val = [0.40, 0.39, 0.38, 0.37], [0.50, 0.53, 0.56, 0.59]
    assert "overfits" in told(*course(true, val, standard_error=0.001))
    assert not TREND.search(told(*course(true, val, standard_error=0.02)))


def test_two_trainings_in_a_row_have_no_common_trend():
    once = course([0.6, 0.5, 0.4], [0.50, 0.53, 0.56])
    again = course([0.35, 0.3, 0.25], [0.59, 0.62, 0.65])
    assert "overfits" in told(*once)
    assert not TREND.search(told(*once, *again))
    counted = [replace(m, step=10 * (i + 1)) for i, m in enumerate([*once, *again])]
    assert not TREND.search(told(*counted))


def test_measurements_without_a_time_have_no_trend():
    measured = [Measurement(0.6 - i / 10, true_val_loss=0.5 + i / 20) for i in range(4)]
    assert not TREND.search(told(*measured))


def test_measurements_within_epochs_are_told_by_step():
    measured = [
        Measurement(0.6 - i / 20, epoch=i // 2, step=10 * (i + 1), true_val_loss=0.5 + i / 20)
        for i in range(4)
    ]
    verdict = told(*measured)
    assert "epoch 2, step 40" in verdict
    assert "since epoch 1, step 10 " in sentence_with("overfits", verdict)


def test_epochs_without_validation_are_passed_over():
    measured = course([0.60, 0.50, 0.42], [0.50, 0.53, 0.56])
    between = Measurement(0.55, epoch=3, reported_loss=0.7)
    verdict = told(*measured, between)
    assert "overfits" in verdict
    assert "alike" not in verdict


# Numbers that went bad.


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"reported": NAN}, "the reported loss became NaN"),
        ({"true": NAN}, "the true loss became NaN"),
        ({"true": INF}, "the true loss became infinite"),
        ({"val_loss": -INF}, "the validation loss became minus infinite"),
        ({"true_val_loss": NAN}, "the true validation loss became NaN"),
        ({"parts": {"batch_norm": (NAN,)}}, "batch normalization became NaN"),
    ],
)
def test_a_number_that_went_bad_is_named_with_its_epoch_and_nothing_else(bad, words):
    sound = {"reported": 0.5, "true": 0.3, "val_loss": 0.4, "true_val_loss": 0.4}
    later = Measurement(0.2, epoch=5, reported_loss=NAN)
    verdict = told(Measurement(0.5, epoch=3, reported_loss=0.6), at_end(**sound | bad), later)
    assert words in verdict
    assert numbers(verdict) == [5]
    assert verdict.count(".") == 1


def test_a_bad_loss_is_named_and_not_the_parts_that_follow_from_it():
    verdict = told(at_end({"drift": (NAN,)}, reported=NAN))
    assert "the reported loss is NaN" in verdict
    assert "averaging" not in verdict


def test_a_bad_number_outside_an_epoch_has_no_epoch():
    assert told(Measurement(NAN)) == "The true loss is NaN."


# Form.

LOSSES = st.floats(-1e6, 1e6)
ERRORS = st.none() | st.floats(0, 10)
MEASUREMENTS = st.builds(
    Measurement,
    true_loss=LOSSES,
    epoch=st.none() | st.integers(0, 9),
    step=st.none() | st.integers(0, 9),
    reported_loss=st.none() | LOSSES,
    val_loss=st.none() | LOSSES,
    true_val_loss=st.none() | LOSSES,
    parts=st.dictionaries(st.sampled_from(keys.PARTS), st.builds(Part, LOSSES, ERRORS)),
    standard_error=ERRORS,
)


@hypothesis.given(st.lists(MEASUREMENTS, min_size=1, max_size=5))
def test_any_finite_numbers_give_a_few_whole_sentences(measurements):
    verdict = told(*measurements)
    assert 1 <= verdict.count(". ") + 1 <= 6
    assert verdict[0].isupper()
    assert verdict.endswith(".")
    assert not re.search(r"NaN|nan|inf|None|  ", verdict)


@pytest.mark.parametrize(
    "measurements",
    [
        course([0.60, 0.50, 0.42, 0.36, 0.30, 0.25], [0.62, 0.55, 0.52, 0.54, 0.57, 0.60]),
        [at_end({"dropout": (0.17, 0.01), "noise": (0.03, 0.02)}, val_loss=0.4, true_val_loss=0.3)],
        [at_end({"augmentation": (0.3,), "batch_norm": (-0.1,)})],
    ],
)
def test_a_verdict_is_a_few_whole_sentences(measurements):
    verdict = told(*measurements)
    sentences = re.split(r"(?<=\.) ", verdict)
    assert 1 <= len(sentences) <= 6
    assert all(s[0].isupper() and s.endswith(".") for s in sentences)
    assert not re.search(r"  | ,|\.\.|nan|None|_", verdict)


def test_a_summary_prints_as_its_verdict():
    summary = summarize([at_end()])
    assert str(summary) == summary.verdict != ""
    assert Summary(()).verdict == ""


# Where the measurements come from.


HISTORY = {
    "loss": [0.9, 0.75, 0.63],
    "true_loss": [0.6, 0.5, 0.42],
    "regularization_gap": [0.3, 0.25, 0.21],
    "val_loss": [0.50, 0.53, 0.56],
    "true_val_loss": [0.50, 0.53, 0.56],
}


def real_history(columns, epochs):
    history = keras.callbacks.History()
    history.set_model(keras.Sequential())
    history.on_train_begin()
    for index, epoch in enumerate(epochs):
        history.on_epoch_end(epoch, {name: values[index] for name, values in columns.items()})
    return history


def test_measurements_a_history_and_its_dict_give_the_same_verdict():
    verdict = told(*course(HISTORY["true_loss"], HISTORY["val_loss"]))
    assert "overfits" in verdict
    assert summarize(HISTORY).verdict == verdict
    assert summarize(real_history(HISTORY, range(3))).verdict == verdict


def test_a_history_knows_the_epochs_of_a_continued_training():
    verdict = summarize(real_history(HISTORY, range(7, 10))).verdict
    assert "epoch 10 Keras reports" in verdict
    assert "since epoch 8 " in verdict


def test_a_validation_column_with_gaps_is_left_out():
    verdict = summarize(HISTORY | {"val_loss": [0.5], "true_val_loss": [0.5]}).verdict
    assert verdict == told(
        *(
            Measurement(t, epoch=i, reported_loss=1.5 * t)
            for i, t in enumerate(HISTORY["true_loss"])
        )
    )


def test_a_history_without_reported_loss_keeps_the_true_one():
    verdict = summarize({"true_loss": [0.5, 0.4]}).verdict
    assert numbers(verdict) == [2, 0.4]


def test_an_object_with_measurements_brings_its_costs():
    class Trained:
        measurements = (at_end(seconds=0.25), at_end(seconds=0.5))
        compile_seconds = 1.5

    summary = summarize(Trained())
    assert summary.measurements == Trained.measurements
    assert summary.compile_seconds == 1.5
    assert summary.fit_seconds is None
    assert summary.measurement_seconds == 0.75


@pytest.mark.parametrize(
    ("source", "received", "way_out"),
    [
        (None, "None", "sequence of lossgap.Measurement"),
        ("true_loss", "'true_loss'", "sequence of lossgap.Measurement"),
        (at_end(), "type Measurement", "into a list"),
        ([], "no measurement", "after at least one measured epoch"),
        ([at_end(), 0.3], "0.3 of type float at index 1", "sequence of lossgap.Measurement"),
        ({}, "keys []", "lossgap.fit"),
        ({"loss": [0.5], "val_loss": [0.5]}, "['loss', 'val_loss']", "lossgap.fit"),
        ({"true_loss": []}, "['true_loss']", "at least one epoch"),
        (HISTORY | {"true_loss": [0.5]}, "1 values of 'true_loss' for 3", "TrueLoss callback"),
        (HISTORY | {"loss": ["high"] * 3}, "'high'", "a number for each epoch"),
        (HISTORY | {"val_loss": 0.5}, "0.5 under 'val_loss'", "a number for each epoch"),
    ],
)
def test_what_holds_no_measurements_is_refused_with_a_way_out(source, received, way_out):
    with pytest.raises(InvalidArgumentError) as error:
        summarize(source)
    assert isinstance(error.value, LossgapError | ValueError)
    assert received in str(error.value)
    assert way_out in str(error.value)
    assert "expected" in str(error.value)
