"""A person at the web UI: Debian's chromium, driven by Playwright, noting everything that goes wrong on the way.

    with Person(browser, gust.url) as person:
        person.opens("/dags/etl/runs", "manual__1")
        person.presses("Trigger")

`AS_AIRFLOW` names the errors that Airflow itself answers or writes to the console, with the reason.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, Response, expect, sync_playwright

PATIENCE: Final = 60_000
"""Milliseconds until something that should show up has failed to; ample on two busy cores."""

SCREENSHOTS: Final = Path(__file__).parents[2] / "test-output" / "screenshots"

AS_AIRFLOW: Final = (
    # The page that highlights SQL asks for a module that the wheel does not hold.
    re.compile(r" 404 .*/static/wasm/sqlparser_rs_wasm\.js$"),
    # `[api] expose_config` is off.
    re.compile(r"^GET 403 /api/v2/config$"),
)

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """The machine's own: none is downloaded."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


def executable() -> str:
    """Where chromium is; fails the test that asks on a machine without."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.fail("The web UI is tested with chromium, which is not here: apt install chromium")
    return found


class Person:
    """One window. `problems` grows while it is looked at; leaving the `with` block fails if there are any."""

    def __init__(self, browser: Browser, url: str, folder: str = "") -> None:
        self.url = url
        self._screenshots = SCREENSHOTS / folder
        self.problems: list[str] = []
        self._forgiven: list[re.Pattern[str]] = []
        self._context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-US", timezone_id="UTC")
        self._context.set_default_timeout(PATIENCE)
        self.page: Page = self._context.new_page()
        self._under_way: set[Request] = set()
        self.page.on("request", self._note_request)
        self.page.on("requestfinished", self._note_end)
        self.page.on("requestfailed", self._note_end)
        self.page.on("response", self._note_response)
        self.page.on("console", self._note_console)
        self.page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        self.asked: set[str] = set()

    def __enter__(self) -> Person:
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is not None:
            self.shoots("failed")
        else:
            self._hears_the_answers()
        self._context.close()
        if kind is None:
            self.found_nothing_wrong()

    # -- looking ---------------------------------------------------------------------------------------------------

    def opens(self, path: str, *texts: str) -> None:
        """Go there, and see all of the texts; as a person on a busy machine does, after loading the page once more.
        What went wrong before that counts all the same."""
        self.page.goto(self.url + path)
        try:
            self.sees(*texts)
        except AssertionError:
            self.page.reload()
            self.sees(*texts)

    def sees(self, *texts: str) -> None:
        for text in texts:
            expect(self.page.get_by_text(text).filter(visible=True).first).to_be_visible(timeout=PATIENCE)

    def sees_no_more(self, text: str) -> None:
        expect(self.page.get_by_text(text)).to_have_count(0, timeout=PATIENCE)

    def shoots(self, name: str) -> Path:
        """A screenshot, in a folder that git does not keep."""
        self._screenshots.mkdir(parents=True, exist_ok=True)
        file = self._screenshots / f"{name}.png"
        self.page.screenshot(path=file)
        return file

    def forgives(self, problem: str) -> None:
        """For what this test brings about, in Airflow as well. A regular expression."""
        self._forgiven.append(re.compile(problem))

    def found_nothing_wrong(self) -> None:
        known = (*AS_AIRFLOW, *self._forgiven)
        wrong = [p for p in self.problems if not any(one.search(p) for one in known)]
        assert not wrong, "\n".join(dict.fromkeys(wrong))

    # -- acting ----------------------------------------------------------------------------------------------------

    def button(self, name: str | re.Pattern[str]) -> Locator:
        return self.page.get_by_role("button", name=name, exact=isinstance(name, str)).filter(visible=True).first

    def presses(self, name: str | re.Pattern[str]) -> None:
        self.button(name).click()

    @contextmanager
    def asks(self, method: str, path: str, *, saying: str = "") -> Iterator[None]:
        """What is done inside makes the page ask this, and it is granted. `path`: a regular expression; `saying`: part of
        what it sends."""

        def is_it(response: Response) -> bool:
            request = response.request
            return (
                request.method == method and bool(re.search(path, response.url)) and saying in (request.post_data or "")
            )

        with self.page.expect_response(is_it, timeout=PATIENCE) as answered:
            yield
        assert answered.value.status < 400, answered.value.text()

    # -- what goes wrong -------------------------------------------------------------------------------------------

    def _hears_the_answers(self) -> None:
        """A page may show what it is there to show, and have asked for more that is refused a moment later."""
        deadline = time.monotonic() + PATIENCE / 1000
        while self._under_way:
            assert time.monotonic() < deadline, f"not answered: {[request.url for request in self._under_way]}"
            self.page.wait_for_timeout(50)

    def _note_request(self, request: Request) -> None:
        self._under_way.add(request)

    def _note_end(self, request: Request) -> None:
        self._under_way.discard(request)

    def _note_response(self, response: Response) -> None:
        address = response.url.removeprefix(self.url)
        self.asked.add(f"{response.request.method} {address.partition('?')[0]}")
        if response.status >= 400:
            self.problems.append(f"{response.request.method} {response.status} {address}")

    def _note_console(self, message: ConsoleMessage) -> None:
        # An answer with an error is noted as such; the console repeats it without its status.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.problems.append(f"console: {message.text}")
