"""Shell text with values in it: where a value stands, and the reference that is safe there.

Knows nothing of templates and never sees a value. `places` is the way in; `scan` follows the text.
"""

from cpool_flow.shell.frames import Unprovable
from cpool_flow.shell.places import START, Place, State, advance, finish, hazard, join, place, reference, vouched

__all__ = ["START", "Place", "State", "Unprovable", "advance", "finish", "hazard", "join", "place", "reference", "vouched"]
