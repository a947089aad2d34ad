"""The private main job: ten hospitals train one model, and what it gives away of any single patient is bounded.

Three federations learn from the same patients, from the same start, and lose the same sites in the same rounds:

    distributed     every site adds its share of integer noise inside the secure sum   federation.py
    trusted server  one Gaussian, added by a server that sees the exact sum            baselines.py
    local noise     every site alone adds what the promise needs, and trusts nobody    baselines.py

All three promise the same epsilon and delta to every patient. The learner is softmax regression by full-batch gradient
descent on clipped gradients, one a patient (``learner.py``, ``hospitals.py``); settings are in ``setting.py``.
"""
