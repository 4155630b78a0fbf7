"""Shell text with values in it: where a value stands, and the reference that is safe there.

Knows nothing of templates and never sees a value. `places` is the way in; `scan` follows the text; `program` is what runs it.
"""
