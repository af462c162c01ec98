"""The nouns: frozen values and pure arithmetic over them. Standard library and pydantic only; no I/O, no clock, no randomness of its own."""
