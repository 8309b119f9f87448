"""Pages of our own under go.dev's paths, so that `crawl go-gc` can be tested anywhere."""

from __future__ import annotations

import hashlib

from tests.servers import Answer, Visit

GUIDE = """<!doctype html><html><head><title>A Guide to the Go Garbage Collector - The Go Programming Language</title>
</head><body><nav><a href="/doc/">Docs</a></nav><main><article><h1>A Guide to the Go Garbage Collector</h1>
<p>This page stands in for the guide: it says in our own words what the collector trades against what.</p>
<h2 id="GOGC">GOGC</h2>
<p>GOGC sets how far the heap may grow before the next collection. At the default of 100 the heap may double: the total
heap is about twice as large as the live data, because a cycle starts when new allocations equal the live heap.</p>
<p>The target is computed as follows:</p>
<pre>Target heap = Live heap + (Live heap + GC roots) * GOGC / 100</pre>
<h2 id="Memory_limit">Memory limit</h2>
<p>GOMEMLIMIT sets a soft limit on the memory the runtime uses. Set it in containers to the memory of the container
minus five to ten percent, so that other memory has room.</p>
<ul><li>The limit counts the heap and what else the runtime manages.</li><li>Near the limit the collector runs more
often, and may take half of the CPU time, but never more.</li></ul>
</article></main><footer>Our footer</footer></body></html>"""

OTHER = """<!doctype html><html><head><title>About {name}</title></head><body><main><article>
<h1>About {name}</h1><p>This page is about {name} and stands in for the real one, which tests cannot reach.</p>
<h2 id="measure-{name}">Measuring {name}</h2><p>Whoever wants to know what {name} does measures it first, with the
profile that fits the question, then changes a line of code called {name}.</p></article></main></body></html>"""


def page(path: str) -> bytes:
    """The page at PATH."""
    name = path.rpartition("/")[2].replace(".", "-")
    return (GUIDE if path == "/doc/gc-guide" else OTHER.format(name=name)).encode()


def answer(visit: Visit) -> Answer:
    """The page asked for, with an ETag, or 304 when the visitor has it already."""
    if visit.path == "/robots.txt":
        return Answer(b"User-agent: *\nAllow: /\n", type="text/plain")
    body = page(visit.path)
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    if visit.headers.get("If-None-Match") == etag:
        return Answer(status=304, headers={"ETag": etag})
    return Answer(body, headers={"ETag": etag})
