"""A forecast as a film: the same limits from the first lead to the last, one frame in memory at a time."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from forecasting.fields import SIGNED, Field, limits
from forecasting.lane import Ends, Lane, Pair, joint
from forecasting.page import LAND, STYLE, Page, Panel, colour_map
from forecasting.projection import cells_of

Progress = Callable[[str, int, int], None]

RATE = 8  # frames a second
DPI = 80
LOOKED_AT = 48  # leads, evenly chosen, that the limits are fitted to
GREYS = 28  # of a GIF's 256 colours, for words, coast and arrows


def animate(
    ds: xr.Dataset,
    *,
    variable: str,
    to: str | Path,
    start: Any = None,
    truth: xr.Dataset | str | Path | None = None,
    depth: float | None = None,
    every: int = 1,
    rate: int = RATE,
    progress: Progress | None = None,
) -> Path:
    """Draw the leads of one start as frames of a GIF or, where ``ffmpeg`` is installed, an MP4.

    The limits are fitted once, to the truth where there is one, and hold for every frame: a forecast that leaves them
    saturates. Fields are read, drawn and written lead by lead.

    Parameters
    ----------
    ds
        A forecast file.
    variable, start, depth
        As :func:`forecasting.maps.draw_map` takes them.
    to
        Ends in ``.gif`` or ``.mp4``.
    truth
        A store that holds what happened, or its path: drawn beside, with the difference.
    every
        Steps from one frame to the next.
    rate
        Frames a second.
    progress
        Called as ``progress(words, done, total)``.

    Raises
    ------
    ValueError
        If the suffix is another one, ``ffmpeg`` is needed and not installed, or the forecast does not hold what is
        asked for.
    """
    path = Path(to)
    _require_writable(path)
    if every < 1 or not 1 <= rate <= 60:
        raise ValueError(
            f"every {every} steps a frame, {rate} frames a second; give 1 or more steps, and a rate from 1 to 60."
        )
    lane = Lane(ds, variable=variable, start=start, depth=depth, truth=truth)
    columns = list(range(0, len(lane), every))
    film = _Film(lane, columns)
    with _written(path, film.figure, rate, film.palette) as writer:
        for number, pair in enumerate(lane.pairs(columns), start=1):
            film.show(pair)
            writer.frame()
            if progress is not None:
                progress("", number, len(columns))
    return path


class _Writer(Protocol):
    def frame(self) -> None: ...


class _Film:
    """The page whose maps change."""

    def __init__(self, lane: Lane, columns: list[int]) -> None:
        import matplotlib

        looked_at = np.unique(np.linspace(0, len(columns) - 1, LOOKED_AT).astype(int))
        ends, difference_ends = [], []
        for shown, happened in lane.pairs([columns[i] for i in looked_at]):
            if happened is None:
                ends.append(limits(shown))
            elif np.isfinite(happened.values).any():
                ends.append(limits(happened))
                difference_ends.append(limits(shown.minus(happened)))
        shown, happened = lane.at(columns[0])
        cells = cells_of(lane.ds)
        with matplotlib.rc_context(STYLE):
            if happened is None:
                self.page = Page(cells, 1, size=30.0, bars=(0,))
                self.panels = [self._panel(0, shown, joint(ends))]
            else:
                # Where no frame that was looked at has a truth, the forecast itself has limits
                shared, difference = joint(ends or [limits(shown)]), shown.minus(happened)
                self.page = Page(cells, 3, size=15.0, bars=(1, 2))
                self.panels = [
                    self._panel(0, shown, shared, shown.who),
                    self._panel(1, happened, shared, "truth"),
                    self._panel(
                        2, difference, joint(difference_ends or [limits(difference)]), "forecast − truth"
                    ),
                ]
        names = [shown.colours] if happened is None else [shown.colours, SIGNED]
        self.palette = _palette(list(dict.fromkeys(names)))
        self.figure = self.page.figure

    def _panel(self, number: int, field: Field, ends: Ends, heading: str = "") -> Panel:
        # Which frames go beyond the ends is not known before the last: a bar is open where values may
        beyond = replace(field, values=np.array([[ends[0] - (ends[0] != 0.0), ends[1] + 1.0]]))
        return self.page.panel(number, field, ends, heading=heading, of=[beyond])

    def show(self, pair: Pair) -> None:
        """Change the maps and the title."""
        shown, happened = pair
        fields = [shown] if happened is None else [shown, happened, shown.minus(happened)]
        for panel, field in zip(self.panels, fields, strict=True):
            panel.update(field)
        self.page.title(f"{shown.label}  ·  {shown.who}", shown.when)


def _require_writable(path: Path) -> None:
    if path.suffix.lower() not in (".gif", ".mp4"):
        raise ValueError(
            f"{path}: an animation is written as .gif or .mp4, not '{path.suffix}'; give one of these suffixes."
        )
    if path.suffix.lower() == ".mp4" and shutil.which("ffmpeg") is None:
        raise ValueError(
            f"{path}: an MP4 is made by the program 'ffmpeg', which is not installed here; install it, or write a .gif."
        )


@contextmanager
def _written(path: Path, figure: Any, rate: int, palette: NDArray[np.uint8]) -> Iterator[_Writer]:
    """A writer of frames, whose file is at the path when it is whole."""
    import matplotlib

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.partial{path.suffix}")
    try:
        with matplotlib.rc_context(STYLE):
            if path.suffix.lower() == ".gif":
                with partial.open("wb") as file:
                    writer = _Gif(file, figure, rate, palette)
                    yield writer
                    writer.close()
            else:
                with _Mp4(partial, figure, rate) as film:
                    yield film
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


class _Gif:
    """Frames with one palette, of which only what changed is stored.

    Pillow's own writer of films keeps all frames until the last; its blocks are written one by one here.
    """

    def __init__(self, file: BinaryIO, figure: Any, rate: int, palette: NDArray[np.uint8]) -> None:
        from PIL import Image

        self.file, self.figure, self.milliseconds = file, figure, round(100 / rate) * 10
        self.palette = Image.new("P", (1, 1))
        self.palette.putpalette(palette.tobytes())
        self.before: NDArray[np.uint8] | None = None

    def frame(self) -> None:
        from PIL import GifImagePlugin, Image

        self.figure.set_dpi(DPI)
        self.figure.canvas.draw()
        image = Image.fromarray(np.asarray(self.figure.canvas.buffer_rgba())[..., :3])
        image = image.quantize(palette=self.palette, dither=Image.Dither.NONE)
        now = np.asarray(image)
        box = (0, 0, *image.size)
        if self.before is None:
            header, _ = GifImagePlugin.getheader(image.copy(), info={"loop": 0})
            self.file.writelines(header)
        else:
            box = _changed(self.before, now)
        part = image.crop(box)
        self.file.writelines(GifImagePlugin.getdata(part, box[:2], duration=self.milliseconds))
        self.before = now

    def close(self) -> None:
        self.file.write(b";")


def _changed(before: NDArray[np.uint8], now: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what differs; one pixel where nothing does."""
    rows, columns = (np.flatnonzero((before != now).any(axis)) for axis in (1, 0))
    if not rows.size:
        return 0, 0, 1, 1
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


class _Mp4:
    """Frames handed to ffmpeg through a pipe."""

    def __init__(self, path: Path, figure: Any, rate: int) -> None:
        from matplotlib.animation import FFMpegWriter

        self.writer = FFMpegWriter(
            fps=rate, codec="h264", extra_args=["-crf", "20", "-movflags", "+faststart"]
        )
        self.path, self.figure = path, figure

    def __enter__(self) -> "_Mp4":
        self.writer.setup(self.figure, str(self.path), dpi=DPI * 1.5)
        return self

    def frame(self) -> None:
        self.writer.grab_frame(facecolor="white")

    def __exit__(self, *error: object) -> None:
        self.writer.finish()


def _palette(names: list[str]) -> NDArray[np.uint8]:
    """The colours of the maps, evenly, land, and greys from black to white, ``[256, 3]``."""
    from matplotlib.colors import to_rgb

    share = (255 - GREYS) // len(names)
    maps = [np.asarray(colour_map(name)(np.linspace(0, 1, share)))[:, :3] for name in names]
    greys = np.repeat(np.linspace(0, 1, GREYS)[:, None], 3, axis=1)
    colours = np.concatenate([np.array([to_rgb(LAND)]), greys, *maps])
    filled = np.concatenate([colours, np.ones((256 - len(colours), 3))])
    return (filled * 255).round().astype(np.uint8)
