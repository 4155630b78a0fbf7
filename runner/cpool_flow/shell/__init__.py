"""Shell text with values in it: where a value stands, and the reference that is safe there.

Knows nothing of templates and never sees a value. `places` is the way in; `scan` follows the text.
"""

from cpool_flow.shell.frames import Unprovable
from cpool_flow.shell.places import START, Place, State, advance, finish, hazard, join, place, reference, vouched
from cpool_flow.shell.program import BASH, SH, words

__all__ = [
    "BASH", "SH", "START", "Place", "State", "Unprovable", "advance", "finish", "hazard", "join", "place", "reference", "vouched", "words",
]  # fmt: skip
