"""A user's locustfile, for files that name one; it is never run here."""
