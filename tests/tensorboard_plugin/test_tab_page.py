"""The tab in a real browser on a live TensorBoard."""

import re
from urllib.parse import quote, unquote

import pytest

import chart_samples
import tab_logs
from lossgap.charts import palette
from tab_samples import IMAGE, MODELS, SWEEP
from tab_server import without

N_MODELS = len(MODELS) + len(SWEEP)
PANELS = ["loss_comparison", "gap_by_cause", "generalization", "penalty_by_layer"]
NAMES = "[...document.querySelectorAll('#runs tbody tr')].map((row) => row.lossgapName)"
# The rows that a panel draws.
DRAWN = "(id) => document.getElementById(id).lossgapView.data('measurements')"
TITLE = """
(id) => {
  let found = "";
  const walk = (node) => {
    if (node.role === "title-text") found = node.items[0].text;
    (node.items || []).forEach(walk);
  };
  walk(document.getElementById(id).lossgapView.scenegraph().root);
  return found;
}
"""
FOCUSED = """
() => {
  const { id, dataset, textContent } = document.activeElement;
  return id || dataset.run || textContent;
}
"""
# How far the table and the page are scrolled, and what has the focus.
PLACE = """
() => [document.querySelector("#chooser .scroll").scrollTop, scrollY,
       document.activeElement.dataset.run]
"""
KEEP_VIEW = "() => { window.kept = document.getElementById('loss_comparison').lossgapView; }"
IS_KEPT = "window.kept === document.getElementById('loss_comparison').lossgapView"


def at(*names, **others):
    """Return the address of the tab with these runs selected."""
    chosen = ",".join(quote(name, safe="") for name in names)
    more = "".join(f"&p.lossgap.{key}={quote(str(value))}" for key, value in others.items())
    return f"#lossgap&p.lossgap.runs={chosen}{more}"


def address(tab):
    """Return what the address of TensorBoard's window says after its hash."""
    return unquote(tab.page.url.partition("#")[2])


def wait_until_drawn(tab, *names):
    """Wait until all panels of the runs are drawn."""
    wanted = ",".join(quote(name, safe="!'()*") for name in names)
    tab.wait_for_function("(wanted) => document.body.dataset.drawn === wanted", arg=wanted)


def row_of(tab, name):
    """Return the index of a run in the table."""
    return tab.evaluate(NAMES).index(name)


def tick(tab, name):
    tab.locator("#runs tbody input").nth(row_of(tab, name)).click()


def test_one_run_is_told_by_its_numbers_its_verdict_and_five_panels(fast_server, open_tab):
    tab = open_tab(fast_server, at("nested/deep/model"))
    wait_until_drawn(tab, "nested/deep/model")
    last = MODELS["nested/deep/model"][-1]
    tiles = tab.locator(".tile").all_inner_texts()
    assert f"{last.reported_loss:.4g}" in tiles[0]
    assert f"{last.true_loss:.4g}" in tiles[1]
    assert "causes: dropout, penalties" in tiles[2]
    assert tab.inner_text("#verdict").startswith("In epoch 12 Keras reports a loss of ")
    for name in [*PANELS, "waterfall"]:
        assert tab.locator(f"#{name} canvas").count() == 1
    losses = [row["true_loss"] for row in tab.evaluate(DRAWN, "loss_comparison")]
    assert losses == pytest.approx([m.true_loss for m in MODELS["nested/deep/model"]], rel=1e-6)


def test_without_an_address_the_run_that_was_logged_last_is_shown(fast_server, open_tab):
    tab = open_tab(fast_server)
    wait_until_drawn(tab, "long")
    assert "p.lossgap.runs=long" in address(tab)


def test_the_table_shows_last_values_and_the_main_cause(fast_server, open_tab):
    tab = open_tab(fast_server)
    assert sorted(tab.evaluate(NAMES)) == sorted(MODELS | SWEEP)
    cells = tab.locator("#runs tbody tr").nth(row_of(tab, "nested/deep/model")).inner_text()
    last = MODELS["nested/deep/model"][-1]
    assert cells.split("\t")[1:7] == [
        "nested/deep/model",
        "epoch 12",
        f"{last.reported_loss:#.4g}",
        f"{last.true_loss:#.4g}",
        f"+{last.regularization_gap:#.4g}",
        "dropout",
    ]
    assert (
        "NaN\tNaN\tNaN" in tab.locator("#runs tbody tr").nth(row_of(tab, "diverged")).inner_text()
    )
    assert tab.inner_text("#count") == f"{N_MODELS} runs, 1 shown below"


def test_a_click_on_a_heading_sorts_and_says_so(fast_server, open_tab):
    tab = open_tab(fast_server)
    headings = tab.locator("#runs thead th")
    assert headings.first.get_attribute("aria-sort") == "ascending"
    tab.click("#runs thead button:text-is('True loss')")
    assert tab.locator("#runs thead th[aria-sort]").all_inner_texts() == ["True loss"]
    names = tab.evaluate(NAMES)
    known = {name: m[-1].true_loss for name, m in (MODELS | SWEEP).items()}
    values = [known[name] for name in names if name != "diverged"]
    assert values == sorted(values)
    assert names[-1] == "diverged"
    tab.click("#runs thead button:text-is('True loss')")
    assert tab.locator("#runs thead th[aria-sort=descending]").count() == 1
    turned = tab.evaluate(NAMES)
    values = [known[name] for name in turned if name != "diverged"]
    assert values == sorted(values, reverse=True)
    assert turned[-1] == "diverged"
    assert "p.lossgap.sort=true_loss.descending" in address(tab)


def test_names_sort_as_people_count(fast_server, open_tab):
    tab = open_tab(fast_server)
    names = [name for name in tab.evaluate(NAMES) if name.startswith("sweep/")]
    assert names == [f"sweep/run {index}" for index in range(30)]


def test_searching_narrows_the_table_down_and_says_how_far(fast_server, open_tab):
    tab = open_tab(fast_server)
    tab.fill("#find", "RUN 1 sweep")
    tab.wait_for_function(f"{NAMES}.length === 12")
    assert tab.inner_text("#count").startswith(f"12 of {N_MODELS} runs found")
    tab.fill("#find", "nothing is called so")
    tab.wait_for_function(f"{NAMES}.length === 0")
    tab.fill("#find", "")
    tab.wait_for_function(f"{NAMES}.length === {N_MODELS}")


def test_runs_are_ticked_to_be_compared(fast_server, open_tab):
    tab = open_tab(fast_server, at("sweep/run 1"))
    tick(tab, "sweep/run 2")
    wait_until_drawn(tab, "sweep/run 1", "sweep/run 2")
    rows = tab.evaluate(DRAWN, "loss_comparison")
    assert {row["run"] for row in rows} == {"sweep/run 1", "sweep/run 2"}
    assert tab.locator("#told option").all_inner_texts() == ["sweep/run 1", "sweep/run 2"]
    tab.select_option("#told", label="sweep/run 1")
    text = f"{SWEEP['sweep/run 1'][-1].true_loss:.4g}"
    tab.wait_for_function(
        "(text) => document.querySelectorAll('.tile')[1].textContent.includes(text)", arg=text
    )
    tick(tab, "sweep/run 1")
    wait_until_drawn(tab, "sweep/run 2")
    tab.click("#none")
    tab.wait_for_function("document.getElementById('shown').hidden")


def test_thirty_runs_are_drawn_together_and_shared_by_their_address(fast_server, open_tab):
    tab = open_tab(fast_server, "#lossgap&p.lossgap.find=sweep")
    tab.click("#all")
    names = sorted(SWEEP, key=lambda name: int(name.split()[-1]))
    wait_until_drawn(tab, *names)
    assert "no more than 30 fit" in tab.inner_text("#count")
    rows = tab.evaluate(DRAWN, "gap_by_cause")
    assert {row["run"] for row in rows} == set(names)
    other = open_tab(fast_server, "#" + tab.page.url.partition("#")[2])
    wait_until_drawn(other, *names)
    assert other.input_value("#find") == "sweep"
    assert other.evaluate(NAMES) == tab.evaluate(NAMES)


def test_an_address_survives_names_with_signs_of_its_own(fast_server, open_tab):
    tab = open_tab(fast_server, at(IMAGE, "", "nested/deep/model", at=3))
    wait_until_drawn(tab, IMAGE, "", "nested/deep/model")
    assert tab.evaluate(TITLE, "waterfall").endswith("in epoch 3")


def test_the_run_that_is_told_is_part_of_the_address(fast_server, open_tab):
    tab = open_tab(fast_server, at("sweep/run 1", "sweep/run 2"))
    wait_until_drawn(tab, "sweep/run 1", "sweep/run 2")
    tab.select_option("#told", label="sweep/run 2")
    assert "p.lossgap.told=sweep/run 2" in address(tab)
    other = open_tab(fast_server, "#" + tab.page.url.partition("#")[2])
    assert other.input_value("#told") == "1"


def test_a_run_that_is_not_there_yet_is_waited_for(tmp_path, open_tab, serve):
    tab_logs.write(tmp_path / "first", chart_samples.training(3))
    server = serve(tmp_path)
    server.wait_for(server.models)
    tab = open_tab(server, at("second"))
    tab.wait_for_function("document.getElementById('verdict').textContent.includes('yet')")
    tab_logs.write(tmp_path / "second", chart_samples.training(3))
    tab.wait_for_function("document.getElementById('verdict').textContent.includes('Keras')")
    assert "p.lossgap.runs=second" in address(tab)


def test_another_tab_of_tensorboard_keeps_its_address_and_ours_comes_back(fast_server, open_tab):
    tab = open_tab(fast_server, at("sweep/run 1", "sweep/run 2"))
    wait_until_drawn(tab, "sweep/run 1", "sweep/run 2")
    page = tab.page
    page.get_by_role("tab", name="Scalars").click()
    page.wait_for_function("location.hash.startsWith('#scalars')")
    page.wait_for_timeout(500)
    page.get_by_role("tab", name="True Loss").click()
    page.wait_for_function("location.hash.includes('p.lossgap.runs=')")
    assert "p.lossgap.runs=sweep/run 1,sweep/run 2" in address(tab)


def test_the_tab_works_below_a_path(tmp_path, open_tab, serve):
    tab_logs.write(tmp_path / "model", chart_samples.training(3))
    server = serve(tmp_path, options=["--path_prefix=/some/where"])
    tab = open_tab(server, "some/where/#lossgap")
    wait_until_drawn(tab, "model")


def test_names_from_attackers_stay_text(fast_server, open_tab):
    tab = open_tab(fast_server, at(IMAGE))
    wait_until_drawn(tab, IMAGE)
    assert (
        tab.locator("#runs tbody tr").nth(row_of(tab, IMAGE)).inner_text().split("\t")[1] == IMAGE
    )
    tab.click("#every summary")
    tab.wait_for_selector("#numbers tbody tr")
    assert IMAGE in tab.inner_text("#numbers caption")
    assert chart_samples.INJECTION in tab.inner_text("#numbers thead")
    box = tab.locator("#penalty_by_layer canvas").bounding_box()
    tab.hover("#penalty_by_layer canvas", position={"x": 150, "y": box["height"] - 80})
    tab.wait_for_selector("#vg-tooltip-element.visible")
    assert chart_samples.INJECTION in tab.inner_text("#vg-tooltip-element")
    assert tab.locator("img").count() == 0
    assert tab.locator("script").count() == 1


def test_the_keyboard_reaches_everything(fast_server, open_tab):
    tab = open_tab(fast_server, at("sweep/run 0"))
    wait_until_drawn(tab, "sweep/run 0")
    keyboard = tab.page.keyboard
    tab.focus("#find")
    seen = []
    for _ in range(11):
        keyboard.press("Tab")
        seen.append(tab.evaluate(FOCUSED))
    headings = ["Run", "Last", "Reported loss", "True loss", "Gap", "Main cause", "True val loss"]
    # The table's one stop is its first row: the run of the log directory has no name.
    assert seen == ["all", "none", *headings, "Logged", ""]
    keyboard.press("End")
    assert tab.evaluate(FOCUSED) == "sweep/run 29"
    keyboard.press("ArrowUp")
    keyboard.press("Space")
    wait_until_drawn(tab, "sweep/run 0", "sweep/run 28")
    assert tab.evaluate(FOCUSED) == "sweep/run 28"
    keyboard.press("ArrowUp")
    keyboard.press("Enter")
    wait_until_drawn(tab, "sweep/run 27")
    keyboard.press("Tab")
    while tab.evaluate("document.activeElement.id") != "at":
        keyboard.press("Tab")
    keyboard.press("ArrowLeft")
    tab.wait_for_function(f"({TITLE})('waterfall').endsWith('in epoch 4')")
    assert tab.get_attribute("#at", "aria-valuetext") == "epoch 4"
    assert "p.lossgap.at=4" in address(tab)


def test_screen_readers_are_told_what_things_are(fast_server, open_tab):
    tab = open_tab(fast_server, at("nested/deep/model"))
    wait_until_drawn(tab, "nested/deep/model")
    page = tab.page.frame_locator("iframe[src*='name=lossgap']")
    for role, name in [
        ("region", "Runs"),
        ("searchbox", "Search runs"),
        ("table", "Runs with their last values"),
        ("columnheader", "Reported loss"),
        ("rowheader", "nested/deep/model"),
        ("checkbox", "Show nested/deep/model"),
        ("slider", "epoch of the waterfall"),
        ("group", "Reported loss and true loss"),
    ]:
        assert page.get_by_role(role, name=name, exact=True).count() == 1, (role, name)
    assert page.get_by_role("status").inner_text() == f"{N_MODELS} runs, 1 shown below"
    assert tab.evaluate("document.documentElement.lang") == "en"


@pytest.mark.parametrize("dark", [False, True])
def test_the_tab_follows_tensorboard_s_theme(fast_server, open_tab, dark):
    tab = open_tab(fast_server, f"?darkMode={str(dark).lower()}{at('nested/deep/model')}")
    wait_until_drawn(tab, "nested/deep/model")
    painted = "getComputedStyle(document.body).backgroundColor"
    assert tab.evaluate(painted) == rgb(palette.PAGES["dark" if dark else "light"])
    tab.page.evaluate("document.body.classList.toggle('dark-mode')")
    tab.wait_for_function(f"{painted} === '{rgb(palette.PAGES['light' if dark else 'dark'])}'")


def rgb(colour):
    return "rgb({}, {}, {})".format(*(int(colour[i : i + 2], 16) for i in (1, 3, 5)))


def test_a_late_answer_does_not_overtake_a_newer_choice(fast_server, open_tab):
    tab = open_tab(fast_server, at("sweep/run 1"))
    wait_until_drawn(tab, "sweep/run 1")
    held = []
    slow = re.compile(r"/panels\?run=sweep%2Frun\+2$")
    tab.page.route(slow, lambda route: held.extend([route]))
    tab.locator("#runs tbody th button").nth(row_of(tab, "sweep/run 2")).click()
    tab.page.wait_for_timeout(500)
    tab.locator("#runs tbody th button").nth(row_of(tab, "sweep/run 3")).click()
    wait_until_drawn(tab, "sweep/run 3")
    tab.page.unroute(slow)
    tab.page.wait_for_timeout(500)
    assert len(held) == 1
    losses = [row["true_loss"] for row in tab.evaluate(DRAWN, "loss_comparison")]
    assert losses == pytest.approx([m.true_loss for m in SWEEP["sweep/run 3"]], rel=1e-6)


def test_every_number_is_listed_on_request(fast_server, open_tab):
    tab = open_tab(fast_server, at("gaps"))
    wait_until_drawn(tab, "gaps")
    assert tab.locator("#numbers tr").count() == 0
    tab.click("#every summary")
    tab.wait_for_selector("#numbers tbody tr")
    rows = tab.locator("#numbers tbody tr").all_inner_texts()
    assert len(rows) == 8
    assert "\N{INFINITY}" in rows[6]
    assert "\N{EN DASH}" in rows[4]


def test_a_long_run_says_that_it_is_thinned(fast_server, open_tab):
    tab = open_tab(fast_server, at("long", *sorted(SWEEP)[:9]))
    wait_until_drawn(tab, "long", *sorted(SWEEP)[:9])
    assert re.match(r"Drawn are [\d,]+ of [\d,]+ points", tab.inner_text("#drawn"))


def test_a_narrow_window_needs_no_sideways_scrolling(fast_server, open_tab):
    tab = open_tab(fast_server, at("nested/deep/model"))
    wait_until_drawn(tab, "nested/deep/model")
    tab.page.set_viewport_size({"width": 480, "height": 900})
    tab.wait_for_function("document.documentElement.scrollWidth <= innerWidth")


def test_a_training_is_followed_while_it_goes_on(tmp_path, open_tab, serve):
    whole = chart_samples.training(40)
    tags = list(tab_logs.scalars_of(whole[0]))
    training = tab_logs.Training(tmp_path / "live", tags)
    for m in whole[:10]:
        training.log(m)
    for name, measurements in list(SWEEP.items()):
        tab_logs.write(tmp_path / name, measurements)
    server = serve(tmp_path)
    server.wait_for(lambda: len(server.models()) == 31)
    server.wait_for(lambda: server.models()["live"]["place"] == 10)
    tab = open_tab(server, at("live", "sweep/run 3"))
    wait_until_drawn(tab, "live", "sweep/run 3")
    tab.evaluate(
        "document.querySelector('#chooser .scroll').scrollTop = 120; window.scrollTo(0, 260)"
    )
    tab.locator("#runs tbody input").nth(row_of(tab, "sweep/run 5")).focus()
    before = tab.evaluate(PLACE)
    tab.evaluate(KEEP_VIEW)
    for m in whole[10:20]:
        training.log(m)
    tab.wait_for_function(
        f"({DRAWN})('loss_comparison').filter((row) => row.run === 'live').length === 20"
    )
    assert "epoch 20" in tab.locator("#runs tbody tr").nth(row_of(tab, "live")).inner_text()
    tab.wait_for_function("document.getElementById('at_text').textContent === 'epoch 20'")
    assert tab.evaluate(PLACE) == before
    assert tab.evaluate(IS_KEPT)
    assert "p.lossgap.runs=live,sweep/run 3" in address(tab)
    training.close()


def test_an_empty_directory_says_how_to_log_and_notices_the_first_measurement(
    tmp_path, open_tab, serve
):
    server = serve(tmp_path)
    tab = open_tab(server)
    text = tab.inner_text("#empty")
    assert "No true loss has been logged here yet" in text
    assert 'lossgap.tensorboard.autolog("logs")' in text
    assert not tab.is_visible("#chooser")
    tab_logs.write(tmp_path / "first", chart_samples.training(3))
    wait_until_drawn(tab, "first")
    assert not tab.is_visible("#empty")
    assert tab.is_visible("#chooser")


@pytest.mark.parametrize("name", ["altair", "vl_convert"])
def test_without_the_charts_the_page_has_its_table_and_says_what_to_install(
    tmp_path, open_tab, serve, name
):
    environment = without(name, tmp_path / "broken")
    tab_logs.write(tmp_path / "logs" / "model", chart_samples.training(3))
    server = serve(tmp_path / "logs", environment=environment)
    server.wait_for(server.models)
    tab = open_tab(server, at("model"), silent=False)
    tab.wait_for_function("document.getElementById('problem').textContent.includes('[charts]')")
    assert "Keras reports a loss" in tab.inner_text("#verdict")
    assert tab.locator("#runs tbody tr").count() == 1
    assert tab.inner_text("#trouble") == ""


def test_panels_that_failed_are_asked_for_again(fast_server, open_tab):
    tab = open_tab(fast_server, at("sweep/run 1"), silent=False)
    wait_until_drawn(tab, "sweep/run 1")
    failing = re.compile("/lossgap/panels")
    tab.page.route(failing, lambda route: route.abort())
    tab.locator("#runs tbody th button").nth(row_of(tab, "sweep/run 2")).click()
    tab.wait_for_function("document.getElementById('trouble').textContent !== ''")
    tab.page.unroute(failing)
    wait_until_drawn(tab, "sweep/run 2")
    tab.wait_for_function("document.getElementById('trouble').textContent === ''")


def test_the_tab_says_when_tensorboard_is_gone_and_when_it_is_back(fast_server, browser):
    # Not by `open_tab`: the browser itself writes refused requests to the console.
    page = browser.new_page()
    page.goto(fast_server.address + "#lossgap")
    tab = page.wait_for_selector("iframe[src*='name=lossgap']").content_frame()
    tab.wait_for_selector("body[data-ready]")
    page.route(re.compile("/lossgap/overview"), lambda route: route.abort())
    tab.wait_for_function(
        "document.getElementById('trouble').textContent.includes(\"doesn't answer\")",
        timeout=60_000,
    )
    page.unroute(re.compile("/lossgap/overview"))
    page.unroute_all()
    tab.wait_for_function("document.getElementById('trouble').textContent === ''", timeout=60_000)
    page.close()
