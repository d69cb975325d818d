"""Histories: what a client did and was told, recorded as data and checked afterwards.

After Jepsen: `generate` draws what to do, `play` does it, `checker` knows what may be observed.
"""
