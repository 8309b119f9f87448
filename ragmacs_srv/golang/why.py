"""What is measured becomes the pages that say why it matters: (what the page says, its address).

The addresses open at their headings; a test looks for each in the handbook, and for the guide's in its saved page.
"""

from __future__ import annotations

from typing import Final

Pages = tuple[tuple[str, str], ...]

GUIDE: Final = "https://go.dev/doc/gc-guide"

ALLOCATIONS: Final[Pages] = (
    (
        "Why the number of allocations counts more than their size",
        "handbook:fewer-allocations#why-the-number-of-allocations-counts-more-than-their-size",
    ),
    ("Eliminating heap allocations, in the Go GC guide", f"{GUIDE}#Eliminating_heap_allocations"),
)
COSTS: Final[Pages] = (
    ("Why you profile first", "handbook:pprof-first#why-you-profile-first"),
    ("Identifying costs, in the Go GC guide", f"{GUIDE}#Identifying_costs"),
)
ESCAPES: Final[Pages] = (
    ("What escapes to the heap", "handbook:stack-over-heap#what-escapes-to-the-heap"),
    ("Escape analysis, in the Go GC guide", f"{GUIDE}#Escape_analysis"),
)
GOGC: Final[Pages] = (
    (
        "Why the heap is about twice as large as the live data",
        "handbook:gogc-and-gomemlimit#why-the-heap-is-about-twice-as-large-as-the-live-data",
    ),
    ("GOGC, in the Go GC guide", f"{GUIDE}#GOGC"),
)
GOROUTINES: Final[Pages] = (
    ("How to find leaked goroutines", "handbook:goroutines-return#how-to-find-leaked-goroutines"),
)
LIMIT: Final[Pages] = (
    ("Why GOMEMLIMIT is a soft limit", "handbook:gogc-and-gomemlimit#why-gomemlimit-is-a-soft-limit"),
    ("Memory limit, in the Go GC guide", f"{GUIDE}#Memory_limit"),
)
MEMORY: Final[Pages] = (
    ("How to set GOMEMLIMIT in a container", "handbook:gogc-and-gomemlimit#how-to-set-gomemlimit-in-a-container"),
    ("Suggested uses, in the Go GC guide", f"{GUIDE}#Suggested_uses"),
)
PROFILES: Final[Pages] = (
    ("How to measure memory with pprof", "handbook:pprof-first#how-to-measure-memory-with-pprof"),
    ("Heap profiling, in the Go GC guide", f"{GUIDE}#Heap_profiling"),
)
RACES: Final[Pages] = (("Data Race Detector", "https://go.dev/doc/articles/race_detector"),)
STACK: Final[Pages] = (
    ("Why the stack is cheaper than the heap", "handbook:stack-over-heap#why-the-stack-is-cheaper-than-the-heap"),
    ("Where Go Values Live, in the Go GC guide", f"{GUIDE}#Where_Go_Values_Live"),
)
STRUCTS: Final[Pages] = (
    (
        "Why the order of fields changes a struct's size",
        "handbook:struct-layout#why-the-order-of-fields-changes-a-structs-size",
    ),
)
TRACES: Final[Pages] = (
    ("How to see what the garbage collector costs", "handbook:pprof-first#how-to-see-what-the-garbage-collector-costs"),
    ("Understanding costs, in the Go GC guide", f"{GUIDE}#Understanding_costs"),
)
EVERYTHING: Final = (
    *ALLOCATIONS,
    *COSTS,
    *ESCAPES,
    *GOGC,
    *GOROUTINES,
    *LIMIT,
    *MEMORY,
    *PROFILES,
    *RACES,
    *STACK,
    *STRUCTS,
    *TRACES,
)
