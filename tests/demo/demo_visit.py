"""A visit to the page in a browser."""

from pathlib import Path
from typing import Any

WAIT_MS = 60_000


class Visit:
    """A page in the browser, and all that it asked for."""

    def __init__(self, browser: Any, url: str) -> None:
        self.context = browser.new_context(viewport={"width": 1400, "height": 1000}, permissions=["camera"])
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.hosts: set[str] = set()
        self.errors: list[str] = []
        self.context.on("request", lambda request: self.hosts.add(host_of(request.url)))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", lambda dialog: self.errors.append(dialog.message))
        self.page.goto(url)
        self.page.wait_for_selector("#vz-video input[type=file]", state="attached")

    def drop(self, file: Path, selector: str = ".vz-film") -> str:
        """Upload a file in place of what is there, and give the text of the answer."""
        if self.page.locator("#vz-video input[type=file]").count() == 0:
            self.clear()
        self.page.set_input_files("#vz-video input[type=file]", str(file))
        return self.answer(selector)

    def clear(self) -> None:
        """Take the video away."""
        # While gradio redraws the video there are two of them.
        self.page.wait_for_function("document.querySelectorAll('#vz-video [aria-label=Clear]').length == 1")
        self.page.locator("#vz-video").get_by_label("Clear").click()
        self.page.wait_for_selector(".vz-hint")

    def answer(self, selector: str = ".vz-film") -> str:
        """The text of the answer once it is there."""
        self.page.wait_for_selector(f"#vz-result {selector}")
        return str(self.page.inner_text("#vz-result"))

    def choose(self, title: str) -> None:
        """Choose another model."""
        self.page.fill("#vz-model input", title)
        self.page.get_by_role("option", name=title, exact=True).click()

    def close(self) -> None:
        """Close the tab."""
        self.context.close()


def host_of(url: str) -> str:
    """The host that an address asks; none where it is part of the page."""
    return "" if url.startswith(("data:", "blob:")) else url.split("/")[2]
