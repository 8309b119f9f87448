"""A local documentation assistant: it reads documentation, keeps it searchable, and answers with quotes.

The rooms, in the order data walks through them: `ingest` (an address becomes chunks), `search` (chunks
become hits), `answer` (hits become an answer that cites), `golang` (a Go package becomes measurements),
`serve` (all of that over JSON-RPC and HTTP). `app` builds the parts, `cli` is the command line.
"""

__version__ = "0.1.0"
