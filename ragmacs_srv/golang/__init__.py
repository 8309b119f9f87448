"""SUBPROCESS: a Go package and a type become measurements."""
