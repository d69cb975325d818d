"""Attacks on a server, and what it must answer to them: `siren abuse`."""
