"""A restricted unpickler for data.

A pickle can call arbitrary functions. Some data sets exist only as pickles, so they are read by an
unpickler that allows numpy's constructors and plain containers and refuses every other name.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from tasks.data import DataError


def load_arrays(path: Path) -> Any:
    """The content of the pickle at `path`, of arrays, numbers, strings and containers only."""
    try:
        with path.open("rb") as file:
            return _ArraysOnly(file, encoding="latin1").load()
    except _Refused as error:
        raise DataError(
            f"{str(path)!r} is refused, because it asks for {error}, and data needs nothing but "
            "arrays and plain containers; get it from a source you trust."
        ) from error
    except Exception as error:  # damaged bytes can raise any exception
        raise DataError(f"{str(path)!r} is damaged ({error}); replace it.") from error


class _Refused(pickle.UnpicklingError):
    pass


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "numpy" and name in _CONSTRUCTORS:
            return _CONSTRUCTORS[name]
        if (module, name) == ("_codecs", "encode"):  # the encoding of bytes in protocols 0 to 2
            return _latin1
        raise _Refused(f"{module}.{name}")


# Numpy's own constructors, from whatever module this version keeps them in.
_CONSTRUCTORS: dict[str, Any] = {
    "ndarray": np.ndarray,
    "dtype": np.dtype,
    "_reconstruct": np.zeros(1).__reduce__()[0],
    "_frombuffer": np.zeros(1).__reduce_ex__(5)[0],
    "scalar": np.int64(0).__reduce__()[0],
}


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise _Refused(f"bytes encoded as {encoding}")
    return text.encode("latin1")
