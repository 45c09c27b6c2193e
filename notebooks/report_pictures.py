"""Pictures of a report as a desk and a phone show it: python notebooks/report_pictures.py REPORT.html --to FOLDER."""

import argparse
import shutil
import subprocess
import tempfile
from html import escape
from pathlib import Path

from PIL import Image

# Name, width and height of the page in pixels, and the section at its top
PICTURES = (
    ("report-verdict", 1280, 1240, ""),
    ("report-curves", 1280, 610, "errors"),
    ("report-maps", 1280, 800, "maps"),
    ("report-phone", 390, 844, "maps"),
)


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    asked = parser.parse_args()
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit(
            "there is no chromium to open the report in; install it, or open the report yourself."
        )
    asked.to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, width, height, section in PICTURES:
            picture = Path(folder) / f"{name}.png"
            take(browser, asked.report.resolve(), picture, width=width, height=height, section=section)
            with Image.open(picture) as image:
                cut = image.convert("RGB").crop((0, 0, width, height))
                cut.save(asked.to / f"{name}.png", optimize=True)


def take(browser: str, report: Path, picture: Path, *, width: int, height: int, section: str) -> None:
    """Open the report in a frame, which unlike a window can be as narrow as a phone."""
    frame = picture.with_suffix(".html")
    address = escape(report.as_uri() + (f"#{section}" if section else ""))
    frame.write_text(
        "<!doctype html><style>body{margin:0}iframe{border:0}</style>"
        f'<iframe src="{address}" width="{width}" height="{height}"></iframe>',
        encoding="utf-8",
    )
    words = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--virtual-time-budget=20000",
    ]
    words += [f"--user-data-dir={picture.parent}/profile", f"--window-size={max(width, 500)},{height}"]
    command = [browser, *words, f"--screenshot={picture}", frame.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


if __name__ == "__main__":
    main()
