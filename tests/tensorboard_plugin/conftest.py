"""Live TensorBoards, and pages of a real browser that tell what happened on them."""

import contextlib

import pytest

import tab_samples
from tab_server import serving

PATIENCE = 60_000


@pytest.fixture(scope="session")
def logdir(tmp_path_factory):
    """Return a log directory with many models."""
    return tab_samples.write(tmp_path_factory.mktemp("logs"))


def loaded(server):
    """Wait until a server has read all of the log directory."""
    n_models = len(tab_samples.MODELS) + tab_samples.N_SWEEP

    def whole():
        models = server.models()
        return len(models) == n_models and models["long"]["place"] == 1000

    server.wait_for(whole)
    return server


@pytest.fixture(scope="session")
def fast_server(logdir):
    """Return a TensorBoard with its Rust loader."""
    with serving(logdir, fast=True) as server:
        yield loaded(server)


@pytest.fixture(scope="session")
def slow_server(logdir):
    """Return a TensorBoard with its Python loader."""
    with serving(logdir, fast=False) as server:
        yield loaded(server)


@pytest.fixture(params=["fast", "slow"])
def server(request):
    """Return TensorBoard with one of its loaders after the other."""
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture
def serve():
    """Return a function that starts a TensorBoard; it ends after the pages that show it."""
    with contextlib.ExitStack() as stack:
        yield lambda logdir, **options: stack.enter_context(serving(logdir, **options))


@pytest.fixture
def open_tab(browser, serve):
    """Return a function that opens the tab; afterwards nothing wrong may have happened.

    Every word of the tab on the console, every error there of anybody, every uncaught error
    and every request to another place than TensorBoard fails the test. With ``silent=False``
    the console doesn't count, where the browser itself writes of answers that failed.
    """
    opened = []

    def visit(server, address="#lossgap", *, silent=True, **options):
        context = browser.new_context(viewport={"width": 1440, "height": 1000}, **options)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        said = []
        page.on("console", lambda message: said.append(_told(message)))
        page.on("pageerror", lambda error: said.append(f"uncaught: {error}"))
        page.on("dialog", lambda dialog: (said.append("a dialog"), dialog.dismiss()))
        inside = (server.address, "data:", f"blob:{server.address}")
        page.on(
            "request",
            lambda request: said.append(
                "" if request.url.startswith(inside) else f"request: {request.url[:200]}"
            ),
        )
        opened.append((context, said if silent else []))
        page.goto(server.address + address)
        tab = page.wait_for_selector("iframe[src*='name=lossgap']").content_frame()
        tab.wait_for_selector("body[data-ready]")
        return tab

    yield visit
    for context, said in opened:
        context.close()
        assert [words for words in said if words] == []


def _told(message):
    """Return what counts: TensorBoard's own page has warnings of its own."""
    url = message.location.get("url", "")
    # Nor is everything there where TensorBoard looks for it: its icon, and fonts below a path.
    missing = url.endswith(("favicon.ico", ".woff2"))
    counts = "lossgap" in url or (message.type == "error" and not missing)
    return f"{message.type}: {message.text} ({url})" if counts else ""
