"""Arrays of the device made from those of the host."""

from __future__ import annotations

from typing import Any

import drjit as dr
import numpy as np

from .recording import recording

ALIGNED = 64  # bytes


def on_device(kind: Any, values: np.ndarray) -> Any:
    """A Dr.Jit array of type ``kind`` with these numbers, flattened.

    On the CPU it shares memory with NumPy, and kernels that read it are compiled for memory that is aligned or for memory
    that is not (Dr.Jit 1.5). NumPy's is by chance; this one always is.
    """
    values = np.ravel(values)
    itemsize = values.dtype.itemsize
    room = np.empty(values.size + ALIGNED // itemsize, values.dtype)
    first = -room.ctypes.data % ALIGNED // itemsize
    room[first : first + values.size] = values
    return kind(room[first : first + values.size])


def same(a: Any, b: Any) -> bool:
    """Do two arrays hold the same? Some shapes make their index buffers anew when they move.

    Inside of what `dr.freeze` records nothing can be compared, and only sizes are.
    """
    if a.index == b.index:
        return True
    return len(a) == len(b) and (recording() or bool(dr.all(a == b)))
