"""The one digest by which contents are told apart."""

import hashlib
import json
from typing import Any


def digest(value: Any) -> str:
    """SHA-256, as 64 hexadecimal digits, of a text or (of anything else) of its JSON.

    Names of files that are not UTF-8 count as they are.
    """
    text = value if isinstance(value, str) else json.dumps(value)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
