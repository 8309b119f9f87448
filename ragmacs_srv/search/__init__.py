"""DISK and MODEL: chunks become hits."""
