"""Adapters: secure rounds inside the federated-learning stacks that people already run.

Here stands what no stack knows and every adapter needs: ``proposal`` (a round described in one text), ``parcel`` (what
travels), ``member`` (a site's rounds) and ``series`` (a server's). An adapter is a folder named after its stack; it
carries parcels over the stack's own messages and sees no other adapter.
"""
