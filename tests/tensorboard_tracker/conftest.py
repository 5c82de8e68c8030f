"""A live TensorBoard for the tests that look at one."""

import pytest

import event_logs


@pytest.fixture(scope="session", params=["true", "false"], ids=["rust", "python"])
def load_fast(request):
    """Return which of TensorBoard's two loaders is used."""
    return request.param


@pytest.fixture
def serve():
    """Return a function that runs TensorBoard on a log directory until the test ends."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda log_dir, load_fast="true": stack.enter_context(
            event_logs.serving(log_dir, load_fast=load_fast)
        )
