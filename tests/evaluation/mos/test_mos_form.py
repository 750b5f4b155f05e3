"""The form in a real browser, from file:// and without network: rated by hand, closed half way, saved and scored."""

import csv
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from evaluation.mos.ratings import read_key, read_ratings
from evaluation.mos.score import score
from tests.browser import find
from tests.evaluation.mos.sets import write_toy_deck

IMAGES, PRACTICE = 4, 2
RATED = 3 * IMAGES  # two sets and the controls


@pytest.fixture(scope="module")
def deck(tmp_path_factory):
    return write_toy_deck(tmp_path_factory.mktemp("mos"), IMAGES, PRACTICE)


@pytest.fixture
def page(browser, deck, downloads):
    """Return the browser at the start of the deck, as on a machine that never saw it."""
    browser.get((deck[0] / "index.html").as_uri())
    browser.execute_script("localStorage.clear()")
    browser.refresh()
    for path in downloads.iterdir():
        path.unlink()
    return browser


def keys(page, *pressed):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(page).send_keys(*pressed).perform()


def start(page, rater):
    find(page, "#rater").clear()
    find(page, "#rater").send_keys(rater)
    find(page, "#start button").click()


def place(page):
    return find(page, "#place").text


def shown(page):
    return Path(find(page, "#picture").get_attribute("src")).stem


def click_through(page, answer, confidence):
    find(page, f"input[name=answer][value={answer}]").click()
    find(page, f"input[name=confidence][value='{confidence}']").click()
    find(page, "#next").click()


def saved(downloads, name):
    until = time.monotonic() + 60  # the browser makes the file before it has written it
    while not ((downloads / name).is_file() and (downloads / name).stat().st_size) and time.monotonic() < until:
        time.sleep(0.05)
    with (downloads / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_rated_with_mouse_and_keys_across_a_reload_then_scored(page, deck, downloads, tmp_path):
    from selenium.webdriver.common.keys import Keys

    key = read_key(deck[1])
    truth = {card.image: "real" if card.set == "real" else "synthetic" for card in key.cards}
    start(page, "Dr. A, Example")
    assert place(page) == f"Practice 1 of {PRACTICE}"
    for _ in range(PRACTICE):
        click_through(page, "real", 0)

    expected = {}
    for number in range(1, RATED + 1):
        assert place(page) == f"Image {number} of {RATED}"
        image = shown(page)
        answer, confidence = truth[image] if number > 1 else "real", number % 11
        expected[image] = (answer, str(confidence))
        if number % 2:
            click_through(page, answer, confidence)
        else:
            keys(page, "r" if answer == "real" else "s", *str(confidence), Keys.ENTER)
        if number == 5:
            page.refresh()
            assert find(page, "#rater").get_attribute("value") == "Dr. A, Example"
            find(page, "#start button").click()
    assert find(page, "#thanks").is_displayed()
    assert page.switch_to.active_element == find(page, "#thanks")
    find(page, "#save").click()

    rows = saved(downloads, "ratings-Dr-A-Example.csv")
    assert list(rows[0]) == ["deck", "rater", "image", "answer", "confidence", "seconds"]
    assert {row["image"]: (row["answer"], row["confidence"]) for row in rows} == expected
    assert {row["rater"] for row in rows} == {"Dr. A, Example"}
    assert all(0 <= float(row["seconds"]) < 600 for row in rows)

    shutil.copy(downloads / "ratings-Dr-A-Example.csv", tmp_path)
    found = score(key, read_ratings(tmp_path, key), np.random.default_rng(0))
    assert found["controls"]["judged_real"]["value"] == 1
    assert found["all"]["d_prime"]["value"] > 1
    assert json.dumps(found, allow_nan=False)


def test_ten_is_typed_as_one_and_nought(page):
    start(page, "ten")
    keys(page, "1")
    assert find(page, "input[name=confidence]:checked").get_attribute("value") == "1"
    keys(page, "0")
    assert find(page, "input[name=confidence]:checked").get_attribute("value") == "10"
    keys(page, "0")
    assert find(page, "input[name=confidence]:checked").get_attribute("value") == "0"


def test_an_unanswered_question_keeps_the_image(page):
    from selenium.webdriver.common.keys import Keys

    start(page, "hasty")
    keys(page, "r", Keys.ENTER)
    assert place(page) == f"Practice 1 of {PRACTICE}"
    keys(page, "7", Keys.ENTER)
    assert place(page) == f"Practice 2 of {PRACTICE}"


def test_an_answer_can_be_mended_and_counts_once(page, downloads):
    from selenium.webdriver.common.keys import Keys

    start(page, "mender")
    for _ in range(PRACTICE + 1):
        keys(page, "r", "3", Keys.ENTER)
    keys(page, "b")
    assert find(page, "input[name=answer]:checked").get_attribute("value") == "real"
    keys(page, "s", Keys.ENTER)
    find(page, "#save-now").click()
    rows = saved(downloads, "ratings-mender.csv")
    assert [(row["answer"], row["confidence"]) for row in rows] == [("synthetic", "3")]


def order(page, rater):
    from selenium.webdriver.common.keys import Keys

    page.execute_script("localStorage.clear()")
    page.refresh()
    start(page, rater)
    seen = []
    for _ in range(PRACTICE + RATED):
        seen.append(shown(page))
        keys(page, "r", "3", Keys.ENTER)
    return seen


def test_each_rater_has_an_order_that_stays(page):
    first, again, other = order(page, "anna"), order(page, "anna"), order(page, "bert")
    assert first == again
    assert first != other
    assert sorted(first) == sorted(other)
    assert first[:PRACTICE] == other[:PRACTICE]


def test_the_page_asks_the_network_for_nothing_and_logs_no_error(page):
    page.get_log("performance")  # what the browser asked for before it came here
    page.refresh()
    start(page, "quiet")
    click_through(page, "real", 5)
    messages = [json.loads(line["message"])["message"] for line in page.get_log("performance")]
    asked = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    assert any(url.endswith(".png") for url in asked)
    assert {url.split(":")[0] for url in asked} <= {"file", "data", "blob"}
    assert page.get_log("browser") == []


def test_every_control_has_a_name_and_every_image_a_text(page):
    from selenium.webdriver.common.by import By

    start(page, "labels")
    for _ in range(PRACTICE):
        click_through(page, "real", 5)
    controls = page.find_elements(By.CSS_SELECTOR, "#rating input, #rating button, #rating progress, #rating img")
    assert len(controls) > 15
    assert all(control.accessible_name for control in controls)


@pytest.mark.parametrize("width", [400, 1200])
def test_nothing_is_cut_off_and_the_image_is_seen_with_the_questions(page, width):
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    start(page, "narrow")
    assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert page.execute_script("return document.querySelector('#next').getBoundingClientRect().bottom <= innerHeight")
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_browser_that_keeps_nothing_says_so_and_still_saves_the_file(page, downloads):
    code = "Storage.prototype.setItem = Storage.prototype.getItem = () => { throw new Error('refused') }"
    added = page.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": code})
    page.refresh()
    page.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
    start(page, "private")
    assert find(page, "#storage-note").is_displayed()
    for _ in range(PRACTICE + 1):
        click_through(page, "real", 2)
    find(page, "#save-now").click()
    assert len(saved(downloads, "ratings-private.csv")) == 1
