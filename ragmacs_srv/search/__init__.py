"""DISK and MODEL: chunks become hits."""

import os

# Read when numpy is loaded, which nothing of ours does before this. Its products are small here: a second thread only
# waits for the next one, at full speed, and a search then takes twice the CPU time. FAISS has threads of its own.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
