"""Pictures inside a page: PNG files as data URIs."""

import base64
import io
from pathlib import Path

from PIL import Image

WIDEST = 1400  # pixels


def data_uri(path: Path) -> str:
    """A PNG as a data URI, at most WIDEST pixels wide."""
    with Image.open(path) as image:
        if image.width <= WIDEST:
            content = path.read_bytes()
        else:
            smaller = image.convert("RGB").resize((WIDEST, round(image.height * WIDEST / image.width)))
            buffer = io.BytesIO()
            smaller.save(buffer, "PNG", optimize=True)
            content = buffer.getvalue()
    return "data:image/png;base64," + base64.b64encode(content).decode()
