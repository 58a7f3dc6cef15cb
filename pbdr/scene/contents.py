"""The plugins right below a plugin."""

from __future__ import annotations

from functools import cache
from typing import Any

import mitsuba as mi


def contents(owner: Any, kind: type | tuple[type, ...] | None = None) -> list[tuple[str, Any]]:
    """(name, plugin) of what ``owner`` contains, by the names that `mi.traverse` gives them.

    Args:
        kind: only plugins of this type (default: all).
    """
    callback = _callback(mi.variant())(mi.Object if kind is None else kind)
    owner.traverse(callback)
    return callback.found


@cache
def _callback(variant: str) -> type:
    """The class of callbacks in a variant. One for all calls: each class is part of a cycle, which would keep the plugins."""

    class Contents(mi.TraversalCallback):
        def __init__(self, kind):
            super().__init__()
            self.kind, self.found = kind, []

        def put_object(self, name, value, flags):
            if isinstance(value, self.kind):
                self.found.append((name, value))

        def put_value(self, name, value, flags):
            pass

        def put(self, name, value, *_):
            self.put_object(name, value, None)

    return Contents
