"""NETWORK and files: an address becomes a page, its sections, its chunks."""
