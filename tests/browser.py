"""A real browser that looks at a file: Debian's chromium, driven by its own driver. Skipped, with the reason, where they are missing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

WIDE, NARROW = (1280, 900), (360, 740)


class Page:
    """The page that the browser shows."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path, *, size: tuple[int, int] = WIDE, dark: bool = False, scripts: bool = True) -> None:
        """Show a file in a window of that size, to a reader who likes it dark or light."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._tell("Emulation.setEmulatedMedia", features=features)
        self._tell("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.resize(*size)
        self.driver.get("about:blank")
        self.logged()
        self.requests()
        self.driver.get(path.as_uri())

    def resize(self, width: int, height: int) -> None:
        self._tell("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)

    def asked(self, script: str, *arguments: Any) -> Any:
        """What an expression comes to in the page. It is evaluated by the driver: no policy of the page is asked."""
        return self.driver.execute_script(f"return {script}", *arguments)

    def logged(self) -> list[str]:
        """What has been written to the console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses that the page has asked for since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"]

    def picture(self, name: str) -> None:
        """Keep a picture of the page for a person to look at, where `CPOOL_PICTURES` names a folder."""
        folder = os.environ.get("CPOOL_PICTURES")
        if folder:
            width, height = self.asked("[innerWidth, Math.min(4000, document.documentElement.scrollHeight)]")
            self.resize(width, height)
            self.driver.save_screenshot(str(Path(folder, f"{name}.png")))

    def _tell(self, command: str, **values: Any) -> None:
        self.driver.execute_cdp_cmd(command, values)


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A browser with a profile of its own, that finds no host in the world."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install 'cpool-flow[dev]'")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs a browser and its driver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    switches = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run")
    for switch in (*switches, "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield Page(opened)
    finally:
        opened.quit()
