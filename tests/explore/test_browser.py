"""The page in a browser: real clicks, a real keyboard, no network."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

from tests.explore.browser import browser
from tests.explore.kernels import relu3, sqrl

CALM = "return getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    relu3.explore(path=folder / "relu3.html")
    sqrl.explore([torch.ones(4, 5)], path=folder / "sqrl.html")
    return {path.stem: path for path in folder.iterdir()}


@pytest.fixture(params=["relu3", "sqrl"])
def page(request: pytest.FixtureRequest, chrome: Chrome, pages: dict[str, Path]) -> Iterator[Chrome]:
    yield from _opened(chrome, pages[request.param])


@pytest.fixture
def scalar_page(chrome: Chrome, pages: dict[str, Path]) -> Iterator[Chrome]:
    yield from _opened(chrome, pages["relu3"])


@pytest.fixture
def tensor_page(chrome: Chrome, pages: dict[str, Path]) -> Iterator[Chrome]:
    yield from _opened(chrome, pages["sqrl"])


def _opened(chrome: Chrome, path: Path) -> Iterator[Chrome]:
    chrome.get(path.as_uri())
    yield chrome
    assert not chrome.get_log("browser")


def pane(chrome: Chrome, group: str) -> WebElement:
    return chrome.find_element(By.CSS_SELECTOR, f'.pane[data-group="{group}"]')


def row(chrome: Chrome, group: str, text: str) -> WebElement:
    rows = pane(chrome, group).find_elements(By.CSS_SELECTOR, ".row")
    return next(found for found in rows if text in found.text)


def lit(chrome: Chrome, group: str, kind: str = ".same, .near, .pinned") -> list[str]:
    selector = ", ".join(f".row{one.strip()}" for one in kind.split(","))
    return [found.text.strip() for found in pane(chrome, group).find_elements(By.CSS_SELECTOR, selector)]


def test_source_ir_and_cpp_stand_side_by_side(page: Chrome) -> None:
    shown = page.find_elements(By.CSS_SELECTOR, ".pane")
    assert [found.get_attribute("data-group") for found in shown] == ["Python", "value", "vjp", "C++"]
    left = [found.rect["x"] for found in shown]
    assert left == sorted(left)
    assert len({found.rect["y"] for found in shown}) == 1
    assert all(found.rect["height"] > 200 for found in shown)


def test_pointing_at_a_python_line_lights_up_what_it_became(scalar_page: Chrome) -> None:
    ActionChains(scalar_page).move_to_element(row(scalar_page, "Python", "return 1 / 3 * x**3")).perform()
    assert any("0.3333333333333333" in text for text in lit(scalar_page, "value"))
    assert any("result_bar" in text for text in lit(scalar_page, "vjp"))
    cpp = lit(scalar_page, "C++")
    assert "return x * x * result_bar;" in cpp
    assert not any("0.6666667f" in text for text in cpp)


def test_a_constant_lights_up_too(scalar_page: Chrome) -> None:
    ActionChains(scalar_page).move_to_element(row(scalar_page, "Python", "return 0.0")).perform()
    assert lit(scalar_page, "value") == ["0.0"]
    assert lit(scalar_page, "vjp") == ["0.0"]
    assert lit(scalar_page, "C++").count("return 0.0f;") == 2


def test_pointing_at_cpp_lights_up_all_that_was_folded_into_it(tensor_page: Chrome) -> None:
    folded = next(
        found
        for found in pane(tensor_page, "C++").find_elements(By.CSS_SELECTOR, ".row")
        if ("0.125" in found.text and "? " in found.text) or ("ks::select" in found.text and "-0.125" in found.text)
    )
    ActionChains(tensor_page).move_to_element(folded.find_element(By.CSS_SELECTOR, ".t")).perform()
    assert {"t = -0.125 * x", "t = 1 / 2 * x**2"} <= set(lit(tensor_page, "Python"))


def test_the_part_of_the_line_is_underlined(tensor_page: Chrome) -> None:
    ActionChains(tensor_page).move_to_element(
        row(tensor_page, "vjp", "(cos").find_element(By.CSS_SELECTOR, ".t")
    ).perform()
    underlined = pane(tensor_page, "Python").find_element(By.CSS_SELECTOR, "u")
    assert underlined.text == "torch.sin(t)"


def test_a_click_keeps_the_light_on_and_scrolls_the_others(tensor_page: Chrome) -> None:
    row(tensor_page, "Python", "y = torch.sum(x)").click()
    ActionChains(tensor_page).move_to_element(tensor_page.find_element(By.TAG_NAME, "h1")).perform()
    assert lit(tensor_page, "Python", ".pinned") == ["y = torch.sum(x)"]
    assert any("reduce add" in text for text in lit(tensor_page, "value"))
    code = pane(tensor_page, "C++").find_element(By.CSS_SELECTOR, ".code")
    view = code.rect
    tops = [found.rect["y"] for found in code.find_elements(By.CSS_SELECTOR, ".row.same")]
    assert any(view["y"] <= top <= view["y"] + view["height"] for top in tops)
    assert pane(tensor_page, "C++").find_elements(By.CSS_SELECTOR, ".ticks i")
    row(tensor_page, "Python", "y = torch.sum(x)").click()
    ActionChains(tensor_page).move_to_element(tensor_page.find_element(By.TAG_NAME, "h1")).perform()
    assert not lit(tensor_page, "value")


def test_passes_are_stepped_through(tensor_page: Chrome) -> None:
    found = pane(tensor_page, "vjp")
    last = found.get_attribute("data-title")
    back, on = (found.find_element(By.CSS_SELECTOR, name) for name in (".back", ".on"))
    assert not on.is_enabled()
    back.click()
    assert found.get_attribute("data-title") != last
    on.click()
    assert found.get_attribute("data-title") == last
    Select(found.find_element(By.TAG_NAME, "select")).select_by_visible_text("vjp: as traced")
    assert not back.is_enabled()
    assert "torch" not in found.find_element(By.CSS_SELECTOR, ".code").text
    assert "(def sqrl" in found.find_element(By.CSS_SELECTOR, ".code").text
    Select(found.find_element(By.TAG_NAME, "select")).select_by_visible_text("vjp: vjp")
    assert "[rev sqrl]" in found.find_element(By.CSS_SELECTOR, ".code").text
    assert found.find_elements(By.CSS_SELECTOR, ".row.new")


def test_panes_come_and_go(page: Chrome) -> None:
    page.find_element(By.ID, "add-pane").click()
    assert len(page.find_elements(By.CSS_SELECTOR, ".pane")) == 5
    for _ in range(6):
        page.find_element(By.CSS_SELECTOR, ".pane .close").click()
    assert len(page.find_elements(By.CSS_SELECTOR, ".pane")) == 1


def test_search(tensor_page: Chrome) -> None:
    tensor_page.find_element(By.TAG_NAME, "body").send_keys("/")
    box = tensor_page.switch_to.active_element
    assert box.get_attribute("id") == "search"
    box.send_keys("SIN(")
    hits = tensor_page.find_elements(By.CSS_SELECTOR, ".row.hit")
    assert hits
    assert all("sin(" in found.text for found in hits)
    assert tensor_page.find_element(By.ID, "hits").text == f"{len(hits)} lines"
    box.send_keys(Keys.ENTER)
    assert tensor_page.find_element(By.ID, "hits").text == f"1 of {len(hits)} lines"
    tensor_page.find_element(By.ID, "previous-hit").click()
    assert tensor_page.find_element(By.ID, "hits").text == f"{len(hits)} of {len(hits)} lines"
    (current,) = tensor_page.find_elements(By.CSS_SELECTOR, ".row.current")
    assert "sin(" in current.text
    box.send_keys(Keys.ESCAPE)
    assert not tensor_page.find_elements(By.CSS_SELECTOR, ".row.hit")


def test_the_plot_tells_values(scalar_page: Chrome) -> None:
    svg = scalar_page.find_element(By.ID, "curves")
    assert len(svg.find_elements(By.TAG_NAME, "path")) == 2
    ActionChains(scalar_page).move_to_element_with_offset(svg, svg.rect["width"] // 4, 0).perform()
    told = scalar_page.find_element(By.ID, "readout").text
    assert told.startswith("x = ")
    x, value, slope = (
        float(part) for part in told.replace("x = ", "").replace("derivative ", "").replace(":", ",").split(",")
    )
    assert x > 1.0
    assert value == pytest.approx(x - 2 / 3, abs=1e-3)
    assert slope == 1.0


def test_no_plot_where_there_is_no_number(tensor_page: Chrome) -> None:
    assert not tensor_page.find_elements(By.ID, "curves")


def test_counts_lead_to_versions(tensor_page: Chrome) -> None:
    (toggle,) = tensor_page.find_elements(By.CSS_SELECTOR, '[data-drawer="counts"]')
    assert not tensor_page.find_element(By.ID, "counts").is_displayed()
    toggle.click()
    table = tensor_page.find_element(By.ID, "counts")
    assert table.is_displayed()
    first = next(
        found for found in table.find_elements(By.CSS_SELECTOR, "tbody tr") if found.text.startswith("value: as traced")
    )
    assert "x_rows" in first.text
    assert "= " in first.text
    first.click()
    assert pane(tensor_page, "value").get_attribute("data-title") == "as traced"


def test_light_and_dark(page: Chrome) -> None:
    seen = {page.execute_script(CALM)}
    for scheme in ("dark", "light"):
        page.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        seen.add(page.execute_script(CALM))
    assert len(seen) == 2
    before = page.execute_script(CALM)
    page.find_element(By.ID, "theme").click()
    assert page.execute_script(CALM) != before
    assert page.execute_script(CALM) in seen


def test_nothing_is_loaded(page: Chrome) -> None:
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0


def test_in_a_notebook_it_is_as_the_notebook_is(chrome: Chrome, tmp_path: Path) -> None:
    found = relu3.explore(path=tmp_path / "relu3.html")
    colours = []
    themes = ('data-jp-theme-light="true"', 'data-jp-theme-light="false"', 'data-theme="light"', 'class="vscode-dark"')
    for k, theme in enumerate(themes):
        host = tmp_path / f"{k}.html"
        host.write_text(f"<body {theme}>{found._repr_html_()}</body>", encoding="utf-8")
        chrome.get(host.as_uri())
        chrome.switch_to.frame(chrome.find_element(By.TAG_NAME, "iframe"))
        colours.append(chrome.execute_script(CALM))
        assert len(chrome.find_elements(By.CSS_SELECTOR, ".pane")) == 4
        assert chrome.find_element(By.CSS_SELECTOR, ".code").size["height"] > 200
        chrome.switch_to.default_content()
    assert colours[0] == colours[2] != colours[1] == colours[3]
    chrome.set_window_size(1000, 800)
    chrome.get(host.as_uri())
    chrome.switch_to.frame(chrome.find_element(By.TAG_NAME, "iframe"))
    shown = chrome.find_elements(By.CSS_SELECTOR, ".pane")
    assert [each.get_attribute("data-group") for each in shown] == ["Python", "vjp", "C++"]
    chrome.switch_to.default_content()
    chrome.set_window_size(1600, 1000)
    assert not chrome.get_log("browser")
