"""A study: what a consortium agrees on, signs, and trains. Files, keys and shapes that all parties share.

No sockets and no web framework here: the coordinator and the site import this room, never each other.
"""
