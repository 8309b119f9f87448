"""LLM over HTTP: hits become an answer whose every claim can be opened."""
