"""What every test run has in common: a quiet TensorFlow, fixed seeds, a clean Keras session."""

import os

# Before anything imports TensorFlow: its C++ log would drown the report. Left alone where set.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import gc
import random
import sys
import tempfile

import hypothesis
import numpy as np
import pytest

SEED = 20240229

# No test reads or writes what waits in the user's home. Threads may outlive their test.
_OUTBOX = tempfile.TemporaryDirectory(prefix="lossgap-tests-", ignore_cleanup_errors=True)
os.environ["LOSSGAP_OUTBOX"] = _OUTBOX.name

# The gate runs the same examples every time; `--hypothesis-profile=explore` draws new ones.
# No deadline: the first example of a model compiles, and no test here asserts wall-clock time.
hypothesis.settings.register_profile(
    "fixed", derandomize=True, deadline=None, database=None, print_blob=True
)
hypothesis.settings.register_profile("explore", deadline=None, print_blob=True)
hypothesis.settings.load_profile("fixed")


@pytest.fixture(autouse=True)
def _seed_and_clear():
    """Start each test from the same seeds, and leave no Keras state to the next one.

    Keras is not imported for a test that doesn't import it: environments without a backend
    can't.
    """
    random.seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002  # the global state is what Keras and tests draw from
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(SEED)
    yield
    if "keras" in sys.modules:
        # No collection of garbage, which takes longer than most tests: Python does it in time.
        sys.modules["keras"].backend.clear_session(free_memory=False)


@pytest.fixture(autouse=True)
def _outbox_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("LOSSGAP_OUTBOX", str(tmp_path / "outbox"))


@pytest.fixture
def figures(record_property):
    """Return what tells how many measurements a test made before a fault, and found after it.

    All are printed at the end of the run.
    """

    def tell(fault, made, found):
        assert found == made > 0, fault
        record_property("figures", [fault, made, found])

    return tell


def pytest_terminal_summary(terminalreporter):
    """Print what was measured before faults, and what of it was found afterwards."""
    rows = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "figures" and report.when == "call"
    ]
    if rows:
        terminalreporter.section("measured before a fault, and found after it")
        total = ["all", *(sum(row[place] for row in rows) for place in (1, 2))]
        for fault, made, found in [*sorted(rows), total]:
            terminalreporter.write_line(f"{made:>8,} measured {found:>8,} found   {fault}")


@pytest.fixture(scope="session")
def browser():
    """Return a running Chromium: one for all tests of a process, which can't hold two."""
    from chromium import chromium

    with chromium() as running:
        yield running


def pytest_sessionfinish():
    """Let go of interrupted pipelines while their threads can still end.

    An iterator over a Python generator that only a traceback holds would be deleted when the
    interpreter is half gone, and wait for a thread that can't run any more.
    """
    gc.collect()


def _fail_if_skipped(report):
    """Turn a skipped test or module into a failed one, where the run asks for it.

    In tox every test that is collected has to run: an environment leaves out by path what it
    can't run. An expected failure is no skip.
    """
    wanted = os.environ.get("LOSSGAP_NO_SKIPS") == "1"
    if wanted and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{reason}\nA skip counts as a failure here (LOSSGAP_NO_SKIPS=1)."
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    return _fail_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    return _fail_if_skipped((yield))
