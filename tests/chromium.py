"""A headless browser for the tests of pages, and none of its own talk with the network."""

import contextlib

from playwright.sync_api import sync_playwright

from install_chromium import find_chromium

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextlib.contextmanager
def chromium():
    """Run a Chromium; without one the tests fail, they don't skip."""
    path = find_chromium()
    if path is None:
        raise AssertionError(
            "No Chromium or Chrome was found. Install one, or set LOSSGAP_CHROMIUM."
        )
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield running
        running.close()
