"""Secure aggregation in NVIDIA FLARE: a Collab job, the classic controller and executor, and a filter of the site.

``collab`` has ``SecureServer`` and ``SecureSite`` to derive from. ``classic`` has ``SecureController`` and
``SecureExecutor`` for jobs of the Controller API. ``site_filter`` has ``OnlySecureSums``, which a site puts in its own
``privacy.json``. Import the module that you need: each brings in its part of FLARE only.
"""
