"""A headless browser for tests of pages; without one on the machine these tests are skipped."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip


@contextlib.contextmanager
def chromium(downloads: Path | None = None, width: int = 1200, height: int = 900) -> Iterator:
    """Yield a selenium driver of a Chromium with an empty profile, which saves what it downloads in `downloads`.

    Skips the test when selenium, chromium or chromedriver is not installed.
    """
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    browser, driver_file = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not driver_file:
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium, chromium-driver)")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        if downloads:
            options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(driver_file))
        try:
            yield driver
        finally:
            driver.quit()


def find(page, selector: str):
    """Return the first element of a page that a CSS selector finds."""
    from selenium.webdriver.common.by import By

    return page.find_element(By.CSS_SELECTOR, selector)
