"""Stores, files and OPeNDAP services are read from a server as from a disk, and a server that fails is told of."""

import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import xarray as xr

from data_pipelines import describe, ingest, open_store
from data_pipelines.schema import DamageError
from data_pipelines.sources import open_source
from data_pipelines.sources.files import open_dataset
from tests.data_pipelines.conftest import sea_level

LEVEL = "sea_surface_height_above_geoid"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files below a folder; in ranges, but for those under ``whole/``; data sets under ``dap/`` by DAP 2.0."""

    folder: ClassVar[Path]
    served: ClassVar[xr.Dataset]
    fails: ClassVar[bool] = False

    def log_message(self, *words: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path, _, query = self.path.partition("?")
        if self.fails:
            self.close_connection = True
            self.connection.close()
            return
        if path.startswith("/dap/"):
            self.send(*self.dap(path.rpartition(".")[2], query), body=body)
            return
        file = self.folder / path.strip("/").removeprefix("whole/")
        if not file.is_file():
            self.send(404, b"", body=body)
            return
        data, given = file.read_bytes(), self.headers.get("Range")
        ranged = not path.startswith("/whole/")
        if ranged and given:
            first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", given).groups()  # type: ignore[union-attr]
            part = data[int(first) : int(last or len(data)) + 1]
            where = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
            self.send(206, part, body=body, **{"Content-Range": where, "Accept-Ranges": "bytes"})
            return
        self.send(200, data, body=body, **({"Accept-Ranges": "bytes"} if ranged else {}))

    def send(self, status: int, data: bytes, *, body: bool, **headers: str) -> None:
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(data))} | headers).items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def dap(self, kind: str, query: str) -> tuple[int, bytes]:
        """Structure, attributes or values (https://earthdata.nasa.gov/esdis/esco/standards-and-practices/dap)."""
        chosen = []
        for part in (
            query.replace("%5B", "[").replace("%5D", "]").split(",") if query else self.served.variables
        ):
            name = str(part).partition("[")[0]
            steps = re.findall(r"\[(\d+)(?::(\d+))?:(\d+)\]", str(part))
            cut = tuple(slice(int(a), int(c) + 1, int(b or 1)) for a, b, c in steps)
            chosen.append((name, self.served[name].dims, self.served[name].to_numpy()[cut or ...]))
        kinds = {"f": "Float32", "d": "Float64"}
        lines = []
        for name, dims, values in chosen:
            sizes = "".join(f"[{dim} = {size}]" for dim, size in zip(dims, values.shape, strict=True))
            lines.append(f"{kinds[values.dtype.char]} {name}{sizes};")
        structure = "Dataset {\n" + "\n".join(lines) + "\n} a;\n"
        if kind == "dds":
            return 200, structure.encode()
        if kind == "das":
            told = [
                f"{name} {{\n"
                + "".join(
                    f'String {key} "{value}";\n' if isinstance(value, str) else f"Float32 {key} {value};\n"
                    for key, value in variable.attrs.items()
                )
                + "}\n"
                for name, variable in self.served.variables.items()
            ]
            return 200, ("Attributes {\n" + "".join(told) + "}\n").encode()
        if kind != "dods":
            return 400, b"Unrecognized request"
        packed = b"".join(
            np.uint32([values.size] * 2).astype(">u4").tobytes()
            + values.astype(values.dtype.newbyteorder(">")).tobytes()
            for _, _, values in chosen
        )
        return 200, structure.encode() + b"\nData:\n" + packed


@pytest.fixture(scope="module")
def field() -> xr.Dataset:
    level = sea_level()
    rows, columns = level.shape[1:]
    return xr.Dataset(
        {"zos": (("time", "lat", "lon"), level, {"standard_name": LEVEL, "units": "m"})},
        coords={
            "time": ("time", np.arange(12.0), {"units": "hours since 2020-01-01", "standard_name": "time"}),
            "lat": (
                "lat",
                55 + 0.1 * np.arange(rows),
                {"units": "degrees_north", "standard_name": "latitude"},
            ),
            "lon": (
                "lon",
                10 + 0.1 * np.arange(columns),
                {"units": "degrees_east", "standard_name": "longitude"},
            ),
        },
    )


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, field: xr.Dataset) -> Iterator[str]:
    """Of a server with the field as NetCDF 4, NetCDF 3, Zarr and a DAP 2.0 service."""
    folder = tmp_path_factory.mktemp("served")
    field.to_netcdf(folder / "a.nc")
    field.to_netcdf(folder / "classic.nc", format="NETCDF3_CLASSIC", engine="scipy")
    ingest(folder / "a.nc", to=folder / "a.zarr")
    Handler.folder, Handler.served = folder, field
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["a.zarr", "a.nc", "whole/a.nc", "classic.nc", "dap/a.nc"])
def test_what_a_server_has_is_what_a_file_has(
    address: str, tmp_path: Path, level: np.ndarray, path: str, capfd: pytest.CaptureFixture[str]
) -> None:
    store = open_store(ingest(f"{address}/{path}", to=tmp_path / "s.zarr"))
    np.testing.assert_array_equal(store["zos"], level)
    assert describe(f"{address}/{path}")["time"]["steps"] == 12
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("path", ["none.nc", "none.zarr"])
def test_what_a_server_does_not_have_is_told(address: str, tmp_path: Path, path: str) -> None:
    words = rf"^{address}/{path} cannot be opened by xarray \(its server has no such file or store\); give the address"
    with pytest.raises(ValueError, match=words):
        ingest(f"{address}/{path}", to=tmp_path / "s.zarr")


def test_a_server_that_breaks_off_is_told_and_is_no_damage(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even to those who skip what is damaged: the rest of the store would be made without it."""
    source = open_source(f"{address}/a.zarr")
    monkeypatch.setattr(Handler, "fails", True)
    with pytest.raises(
        ValueError, match=r"^a\.zarr: variable 'zos' cannot be read from its server \("
    ) as caught:
        source.fields["zos"].fetch(slice(0, 12), [0], slice(0, 6), slice(0, 8))
    assert not isinstance(caught.value, DamageError)
    source.close()
    with pytest.raises(ValueError, match=rf"^{address}/a\.zarr: its server cannot be reached, or broke off"):
        ingest(f"{address}/a.zarr", to=tmp_path / "t.zarr", skip_bad=True)


def test_an_address_that_needs_another_library_says_which() -> None:
    with pytest.raises(ValueError, match=r"^s3://bucket/a\.nc cannot be opened by xarray \(Install s3fs"):
        open_dataset("s3://bucket/a.nc")
