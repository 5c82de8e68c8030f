"""Every autolog function takes the settings of an estimate, and hands them on."""

import inspect

import pytest

import lossgap
from lossgap.core.settings import Settings
from lossgap.errors import InvalidArgumentError
from lossgap.trackers import autolog as every_fit

AUTOLOGS = {name: getattr(lossgap, name).autolog for name in ("mlflow", "tensorboard", "wandb")}
ESTIMATES = ({"samples": 100}, {"precision": 0.02}, {"budget": 0.01, "loss_range": (0.0, 9.0)})


@pytest.mark.parametrize("autolog", AUTOLOGS.values(), ids=AUTOLOGS)
@pytest.mark.parametrize("options", ESTIMATES, ids=str)
def test_the_settings_of_an_estimate_are_handed_on(monkeypatch, autolog, options):
    asked = []
    monkeypatch.setattr(every_fit, "enable", asked.append)
    autolog(**options)
    assert asked[0].settings == Settings(**options)


@pytest.mark.parametrize("autolog", AUTOLOGS.values(), ids=AUTOLOGS)
def test_two_kinds_of_estimate_are_an_error(autolog):
    with pytest.raises(InvalidArgumentError, match="pass one"):
        autolog(samples=10, budget=0.1)


@pytest.mark.parametrize("autolog", AUTOLOGS.values(), ids=AUTOLOGS)
def test_every_setting_is_an_argument_and_of_true_loss_too(autolog):
    settings = set(inspect.signature(Settings).parameters)
    assert settings <= set(inspect.signature(autolog).parameters)
    assert settings <= set(inspect.signature(lossgap.TrueLoss).parameters)
