"""Pages opened in headless Chromium: what it made of them, and what it said on its console."""

import html
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WAITING = "waiting"
# The browser's clock leaps over waits while the frame is read in real time: on a busy machine it can win the race.
LONGER_PATIENCE_MS = (100_000, 1_000_000)


@dataclass(frozen=True)
class Page:
    """What a browser made of a page: its elements after all scripts ran, and what it said on its console."""

    dom: str
    console: list[str]

    @property
    def probed(self) -> Any:
        """What the probe of ``open_framed`` found."""
        found = re.search(r"<title>(.*?)</title>", self.dom, re.DOTALL)
        assert found, "the page has no title"
        return json.loads(html.unescape(found[1]))


@dataclass(frozen=True)
class Browser:
    """Headless Chromium with a profile of its own."""

    program: str
    work_dir: Path

    def open(self, page: Path, *, width: int = 1280, height: int = 2000, patience_ms: int = 10_000) -> Page:
        options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync"
        options += " --disable-background-networking --disable-component-update --enable-logging=stderr"
        profile = self.work_dir / f"profile-{len(list(self.work_dir.iterdir()))}"
        command = [self.program, *options.split(), f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        command += [f"--virtual-time-budget={patience_ms}", "--dump-dom", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return Page(done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line])

    def open_framed(self, page: Path, *, width: int, ready: str, probe: str) -> Page:
        """The page in a frame of this width, since a window has a smallest width. Both are expressions on ``inner``
        (its document): ``ready`` says when to look, and the JSON of ``probe`` becomes the outer page's title."""
        outer = self.work_dir / "framed.html"
        frame = (
            f'<iframe id="f" style="border:0;width:{width}px;height:4000px" srcdoc="{html.escape(page.read_text())}">'
        )
        script = (
            "const read = () => { const inner = document.getElementById('f').contentDocument;"
            f"if (!({ready})) return setTimeout(read, 50);"
            f"document.title = JSON.stringify({probe}); }}; read();"
        )
        outer.write_text(f"<!doctype html><title>{WAITING}</title>{frame}</iframe><script>{script}</script>")
        found = self.open(outer)
        for patience_ms in LONGER_PATIENCE_MS:
            if f"<title>{WAITING}</title>" not in found.dom:
                break
            found = self.open(outer, patience_ms=patience_ms)
        return found
