"""A real headless browser, and pages that tell what happened on them."""

import pytest


@pytest.fixture
def open_page(browser):
    """Return a function that opens a file; afterwards nothing may have been said or asked for.

    Every message on the console, every uncaught error and every request beyond the file
    itself fails the test.
    """
    opened = []

    def visit(path, **options):
        context = browser.new_context(viewport={"width": 1440, "height": 900}, **options)
        context.set_default_timeout(15_000)
        page = context.new_page()
        said = []
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"uncaught: {error}"))
        page.on("request", lambda request: said.append(f"request: {request.url[:200]}"))
        page.on("dialog", lambda dialog: (said.append("dialog"), dialog.dismiss()))
        page.goto(path.as_uri())
        page.wait_for_selector("body[data-ready]")
        opened.append((context, path, said))
        return page

    yield visit
    for context, path, said in opened:
        context.close()
        inside = [f"request: {path.as_uri()}"]
        assert [s for s in said if not s.startswith(("request: data:", "request: blob:"))] == inside
