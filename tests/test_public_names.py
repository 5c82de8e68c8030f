"""The public names. Keras is imported here, so this file runs where a backend is."""

import inspect

import pytest

import lossgap

PACKAGES = {"mlflow", "ray", "tensorboard", "torch", "wandb"}
OBJECTS = sorted(set(lossgap.__all__) - {"__version__"} - PACKAGES)


@pytest.mark.parametrize("name", OBJECTS)
def test_a_public_name_is_there_and_documented(name):
    value = getattr(lossgap, name)
    assert value.__module__.startswith("lossgap.")
    assert value.__name__ == name
    assert inspect.getdoc(value)


def test_what_a_public_class_adds_is_documented():
    classes = filter(inspect.isclass, (getattr(lossgap, name) for name in OBJECTS))
    added = [getattr(owner, name) for owner in classes for name in vars(owner) if name[0] != "_"]
    own = [member for member in added if callable(member) or isinstance(member, property)]
    assert own
    assert [member for member in own if not inspect.getdoc(member)] == []


def test_star_import_gives_the_public_names():
    namespace = {}
    exec("from lossgap import *", namespace)
    assert set(namespace) - {"__builtins__"} == set(lossgap.__all__)


def test_dir_lists_the_public_names():
    assert dir(lossgap) == sorted(lossgap.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'lossgap' has no attribute 'true_los'"):
        lossgap.true_los  # noqa: B018
