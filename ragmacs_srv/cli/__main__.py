"""`python -m ragmacs_srv.cli`: the command line, always in this process."""

from . import run

run()
