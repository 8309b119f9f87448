"""`python -m ragmacs_srv` is what `ragmacs` is."""

from .client import main

main()
