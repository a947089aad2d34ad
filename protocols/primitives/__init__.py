"""Cryptographic primitives behind the suites: thin wrappers around ``cryptography`` and small exact arithmetic.

Nothing here knows about protocols, sessions or clients. The wrappers are what the RFC vectors in the tests run through.
"""
