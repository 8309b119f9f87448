"""Our tools: a model's call becomes a reply in at most 6,000 characters that it can quote and go on from.

Each is a function in the module of its subject, defined once for every transport (see `registry`).
"""

from . import documents, reading  # noqa: F401 - their tools, the first in every list

# isort: split
from . import allocations, doc, explain, generate, golang, profiles  # noqa: F401 - of Go, and what its programs left
