"""The page in a browser: on a narrow screen, printed, and by its links."""

import pytest

from evaluation.page.page import render_report
from evaluation.page.pictures import Picture
from tests.browser import chromium
from tests.report.test_page import report_of

HIDDEN = "return [...document.querySelectorAll('details > :not(summary)')].filter(e => !e.checkVisibility()).length"
WIDTH = "return document.documentElement.scrollWidth"


@pytest.mark.heavy
def test_it_is_read_on_a_phone_on_paper_and_by_its_links(tree, tmp_path):
    real, _ = tree.samples["phantom", "siamese", "random"]
    picture = Picture("phantom", "methods", "All", real.folder / real.pairs[0].image)
    page = tmp_path / "report.html"
    page.write_text(render_report(report_of(tree.root, tree.grid()), [picture]), encoding="utf-8")
    with chromium() as browser:
        screen = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        browser.get(f"{page.as_uri()}#scores-ph2")
        assert browser.execute_script("return document.querySelectorAll('details[open]').length") == 1  # by the link
        browser.execute_script("document.querySelectorAll('details').forEach(e => e.open = true)")
        assert browser.execute_script(WIDTH) <= 400
        browser.get(page.as_uri())
        assert browser.execute_script(HIDDEN) > 10
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        assert browser.execute_script(HIDDEN) == 0
