"""A page in headless Chromium, at the width of a phone or a desk."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

MEASURE = """<script>
const frame = document.querySelector("iframe");
frame.onload = () => {
  const page = frame.contentDocument, style = frame.contentWindow.getComputedStyle(page.body);
  const inner = page.body.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  const tables = [...page.querySelectorAll("table.fit")].map(table => table.getBoundingClientRect().width);
  const pictures = [...page.querySelectorAll("img")].map(image => [image.naturalWidth, image.alt]);
  document.title = JSON.stringify({page: page.documentElement.scrollWidth, inner, tables, pictures});
};
</script>"""


def measure(page: str, width: int, folder: Path) -> dict[str, Any]:
    """`page`: width in pixels that the whole takes, `inner`: of its column, `tables`: of its tables, `pictures`.

    In a frame, since headless windows have a least width. Skips where there is no Chromium.
    """
    program = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
    )
    if not program:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    file = folder / "frame.html"
    frame = f'<iframe width="{width}" height="800" style="border: 0" srcdoc="{html.escape(page)}"></iframe>'
    file.write_text(f'<!doctype html><meta charset="utf-8"><title></title>{frame}{MEASURE}', encoding="utf-8")
    options = ["--no-sandbox", "--disable-gpu", "--window-size=1400,900", "--virtual-time-budget=10000"]
    command = [program, "--headless=new", *options, f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    done = subprocess.run([*command, file.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.S)
    assert title and title[1], "the page was not laid out"
    measured: dict[str, Any] = json.loads(html.unescape(title[1]))
    return measured
