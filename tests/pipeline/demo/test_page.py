"""The page in a real browser: a mask drawn with the pointer, its image, and the pair that `generate` makes of it."""

import json
import time
import zipfile
from urllib.parse import urlsplit

import pytest
from PIL import Image

from data.pairs.files import sha256_tree
from pipeline.cli import main
from tests.browser import find
from tests.siamese.generate.conftest import GENERATOR

WAIT_S = 120


@pytest.fixture
def page(browser, page_server):
    browser.get_log("performance")  # what the browser asked for before it came here
    browser.get(page_server.url)
    until(lambda: find(browser, "#make").is_enabled())
    return browser


def asked_for(page):
    """Return the addresses that the browser has asked for since this was last looked at."""
    messages = [json.loads(line["message"])["message"] for line in page.get_log("performance")]
    return [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]


def until(true):
    end = time.monotonic() + WAIT_S
    while not (said := true()):
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.1)
    return said


def stroke(page, *points):
    """Press, move and release the pointer, by shares of the canvas from its middle."""
    from selenium.webdriver.common.action_chains import ActionChains

    canvas = find(page, "#canvas")
    side = canvas.size["width"]
    places = [(round(x * side), round(y * side)) for x, y in points]
    chain = ActionChains(page, duration=20).move_to_element_with_offset(canvas, *places[0]).click_and_hold()
    for place in places[1:]:
        chain = chain.move_to_element_with_offset(canvas, *place)
    chain.release().perform()


def test_a_drawn_mask_becomes_the_pair_that_generate_makes(page, project, downloads, tmp_path):
    stroke(page, (-0.2, -0.2), (0.2, -0.2), (0.2, 0.2), (-0.2, 0.2))
    find(page, "#seed").clear()
    find(page, "#seed").send_keys("5")
    find(page, "[data-setting=mask_guidance]").clear()
    find(page, "[data-setting=mask_guidance]").send_keys("2")
    find(page, "#make").click()
    until(lambda: find(page, "#shown").is_displayed() or find(page, "#problem").is_displayed())
    assert not find(page, "#problem").is_displayed()
    assert page.execute_script("return document.getElementById('image').naturalWidth") == 32
    assert "No judge of phantom is trained" in find(page, "#outlines-text").text
    assert "at a distance of" in find(page, "#nearest-text").text

    find(page, "#download").click()
    file = until(lambda: next(downloads.glob("*.zip"), None))
    assert file.name == "phantom-controlnet-g3-drawn-seed5.zip"
    with zipfile.ZipFile(file) as archive:
        archive.extractall(tmp_path / "downloaded")
    mask = Image.open(tmp_path / "downloaded/masks/drawn.png")
    assert [mask.getpixel(place) for place in ((16, 16), (10, 10), (21, 21), (3, 16), (16, 28))] == [
        255,
        255,
        255,
        0,
        0,
    ]
    options = ["--masks", str(tmp_path / "downloaded/masks"), "--out", str(tmp_path / "made"), "--seed", "5"]
    assert main(["generate", "--generator", str(project / GENERATOR), *options, "--mask-guidance", "2"]) == 0
    assert sha256_tree(tmp_path / "downloaded") == sha256_tree(tmp_path / "made")
    asked = [urlsplit(address) for address in asked_for(page)]
    assert {"/", "/page.js", "/pair"} <= {address.path for address in asked}
    assert {address.hostname for address in asked if address.scheme in ("http", "https", "ws", "wss")} == {"127.0.0.1"}
    assert page.get_log("browser") == []


def test_what_is_wrong_with_a_mask_is_said_on_the_page(page):
    stroke(page, (0, 0), (0.1, 0.1))
    find(page, "#undo").click()
    find(page, "#make").click()
    problem = find(page, "#problem")
    until(problem.is_displayed)
    assert "no mask of 1 has a lesion" in problem.text
    assert not find(page, "#shown").is_displayed()


@pytest.mark.parametrize(("width", "height"), [(400, 800), (1280, 800)])
def test_the_first_screen_is_enough_to_draw_with(page, width, height):
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    for name in ("#generator", "#canvas", "#clear", "#file", "#seed", "#make"):
        place = find(page, name).rect
        assert place["x"] >= 0, name
        assert place["x"] + place["width"] <= width, name
        assert place["y"] + place["height"] <= height, name
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
