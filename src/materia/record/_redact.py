"""Settings without their secrets, for everything that shows or stores them outside the campaign folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "[redacted]"
_SECRET_KEY = re.compile(r"token|passw|secret|credential|api[_-]?key|access[_-]?key", re.IGNORECASE)
_USERINFO = re.compile(r"([a-z][a-z0-9+.-]*://)[^/@\s]+@", re.IGNORECASE)
_QUERY = re.compile(r"([?&;](?:[^=&\s]*(?:token|passw|secret|key|signature|sig)[^=&\s]*)=)[^&\s]+", re.IGNORECASE)


def redacted(value: Any) -> Any:
    """The same plain data with secrets replaced by ``[redacted]``.

    A value is a secret when its key says so (``token``, ``password``, ``api_key``...); inside any text, the
    user part of an address (``https://user:word@host``) and query values with such a name are replaced.
    """
    if isinstance(value, Mapping):
        return {
            k: HIDDEN if v and isinstance(v, str) and _SECRET_KEY.search(str(k)) else redacted(v)
            for k, v in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redacted(v) for v in value]
    if isinstance(value, str):
        return _QUERY.sub(rf"\1{HIDDEN}", _USERINFO.sub(rf"\1{HIDDEN}@", value))
    return value
