"""A headless Chromium, driven through its DevTools protocol over two pipes: the standard library is enough."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import queue
import shutil
import subprocess
import threading
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--no-first-run",
    "--remote-debugging-pipe",
)
SECONDS = 60
KEYS = {"Tab": (9, ""), "Enter": (13, "\r"), " ": (32, " ")}
TOO_WIDE = """((inside) => Array.from(document.querySelectorAll("body *")).filter((element) =>
  !element.closest(inside) && element.checkVisibility({visibilityProperty: true, opacityProperty: true})
  && element.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map((element) => element.outerHTML.slice(0, 200)))"""


def program() -> str | None:
    """The browser of this machine, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One browser with one tab; `events` are all that the tab has reported since the last page was opened."""

    def __init__(self, folder: Path) -> None:
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        # The browser reads from 3 and writes to 4; the pipes must not have these numbers themselves.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (commands, answers)]

        def place() -> None:
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        command = [program() or "", *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        with open(folder / "log.txt", "wb") as log:
            self._process = subprocess.Popen(command, pass_fds=(3, 4), preexec_fn=place, stdout=log, stderr=log)
        for end in (commands, answers, *ends):
            os.close(end)
        self._messages: queue.Queue[dict] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.events: list[dict] = []
        self._last, self._session = 0, {}
        tab = next(t for t in self.send("Target.getTargets")["targetInfos"] if t["type"] == "page")
        found = self.send("Target.attachToTarget", targetId=tab["targetId"], flatten=True)
        self._session = {"sessionId": found["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send("Page.setLifecycleEventsEnabled", enabled=True)

    def send(self, method: str, **params) -> dict:
        """Call a method of the protocol and return its result."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params, **self._session}
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._messages.get(timeout=SECONDS)).get("id") != self._last:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, page: Path, width: int, dark: bool = False) -> None:
        """Open a file in a window of a width, and wait until it is loaded."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.send("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media="", features=[scheme])
        self.events.clear()
        loader = self.send("Page.navigate", url=page.as_uri())["loaderId"]
        while not any(_is_load(event, loader) for event in self.events):
            self.events.append(self._messages.get(timeout=SECONDS))

    def run(self, script: str):
        """The value of an expression of JavaScript; a promise is waited for."""
        found = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key as a person does."""
        code, text = KEYS[key]
        common = {"key": key, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def screenshot(self, path: Path) -> None:
        """Keep the whole page as a picture."""
        found = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def print_preview(self) -> None:
        """Show the page as it is printed."""
        self.send("Emulation.setEmulatedMedia", media="print")

    def too_wide(self, may_scroll: str = ".scroll, .skip, svg") -> list[str]:
        """What is seen of the page beyond the window's right edge, and does not lie in a part that may scroll."""
        width = self.run("document.documentElement.scrollWidth - window.innerWidth")
        return [f"the page, by {width} pixels"] * (width > 0) + self.run(f"{TOO_WIDE}({json.dumps(may_scroll)})")

    def errors(self) -> list[dict]:
        """What the page has reported as wrong."""
        self.run("1")  # all events before this have arrived
        wrong = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"}
        return [event for event in self.events if event.get("method") in wrong]

    def requests(self) -> list[str]:
        """The addresses that the page asked for; what it brings itself is no request."""
        self.run("1")
        asked = [event for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        urls = (event["params"]["request"]["url"] for event in asked)
        return [url for url in urls if not url.startswith(("data:", "blob:"))]

    def close(self) -> None:
        """End the browser."""
        os.close(self._commands)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> None:
        rest = b""
        while chunk := os.read(self._answers, 1 << 20):
            *whole, rest = (rest + chunk).split(b"\0")
            for message in whole:
                self._messages.put(json.loads(message))
        os.close(self._answers)


def _is_load(event: dict, loader: str) -> bool:
    found = event.get("params", {})
    return event.get("method") == "Page.lifecycleEvent" and (found["name"], found["loaderId"]) == ("load", loader)
