"""Which photos are no independent witnesses: copies, one value of a column, one place."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from classify.stratify import Ints
from embed.errors import UserError, did_you_mean

EARTH_KM = 6371.0088  # mean radius
WIDEST_CELL_KM = 5000


def together(columns: Iterable[Any], n: int) -> Ints:
    """(n,) int: rows that share a value in any column, at first or second hand, are one group.

    columns : (n,) each; a missing value joins nothing
    """
    links = coo_array((n, n))
    for column in columns:
        value = pd.factorize(pd.Series(column))[0]
        here = np.flatnonzero(value >= 0)
        _, first, nth = np.unique(value[here], return_index=True, return_inverse=True)
        links = links + coo_array((np.ones(len(here)), (here, here[first][nth])), shape=(n, n))
    group: Ints = connected_components(links, directed=False)[1].astype(np.intp)
    return group


def column_of(rows: Any, name: str, option: str) -> Any:
    """The column of the collection that `option` names, or a `UserError`."""
    if name not in rows:
        raise UserError(
            f"{option} {name}: no such column in the collection. {did_you_mean(name, rows)}"
        )
    return rows[name]


def place_cells(rows: Any, place: str, cell_km: float) -> Any:
    """(n,) str, the cell of each photo in a grid of cells `cell_km` high and about as wide.

    place : the columns of latitude and longitude in degrees (WGS 84), as in `lat,lon`
    A row without two numbers that are a place has no cell (missing). Bands of latitude are cut
    into whole cells, as many as are about square, so that all have about equal area.
    """
    if not 0 < cell_km <= WIDEST_CELL_KM:
        raise UserError(
            f"--cell is the side of a cell in kilometres, up to {WIDEST_CELL_KM}, as in --cell 10. "
            f"Got {cell_km:g}."
        )
    names = [name.strip() for name in place.split(",")]
    if len(names) != 2:
        raise UserError(
            "--place takes the columns of latitude and longitude, as in --place lat,lon. "
            f"Got '{place}'."
        )
    lat, lon = (_degrees(column_of(rows, name, "--place")) for name in names)
    known = (np.abs(lat) <= 90) & (lon >= -180) & (lon <= 360)
    if not known.any():
        raise UserError(
            f"No photo has degrees of latitude in '{names[0]}' and of longitude in '{names[1]}'. "
            "Name the columns as --place LATITUDE,LONGITUDE; degrees are written as 47.37, 8.55."
        )
    bands = max(1, round(np.pi * EARTH_KM / cell_km))
    band = np.minimum((lat[known] + 90) / 180 * bands, bands - 1).astype(int)
    middle = np.radians((band + 0.5) / bands * 180 - 90)
    round_trip = 2 * np.pi * EARTH_KM * np.cos(middle)
    cells = np.maximum(1, np.round(round_trip / cell_km)).astype(int)
    cell = (lon[known] % 360 / 360 * cells).astype(int) % cells
    found = pd.Series(None, index=rows.index, dtype="str")
    found[known] = [f"{b}/{c}" for b, c in zip(band, cell, strict=True)]
    return found


def _degrees(column: Any) -> Any:
    """(n,) float, NaN where there is no number; `47,37` is one too."""
    text = column.astype("str").str.strip().str.replace(",", ".")
    return pd.to_numeric(text, errors="coerce").to_numpy(dtype=float)
