"""STDIO and SOCKETS: the same work for every client."""
