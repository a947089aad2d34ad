"""Schemes that cannot be summed, by name: why, and what to use here instead.

Under secure aggregation the server sees one sum of integers, so a decoder has to be linear with public parameters. What
a site scales, sorts or encodes by its own data is lost in the sum. Three of them exist in ``references.py``, as
local compressors to compare with.
"""

from quant.errors import ConfigurationError

_OWN_SCALE = "it divides every update by that site's own norm, so sums of its integers have no common unit"
_PUBLIC_SCALE = "UniformGrid with a public range: clip, rotation and rounding='dither' give less error at equal bits"
_OWN_INDICES = "every site would pick its own coordinates, which do not add up and tell what its data is like"
_PUBLIC_INDICES = (
    "SharedRandomK (random_k), SRHT (rotation + random_k), or server_top_k of the previous aggregate (keep)"
)
_CODEBOOK = "its integers are names in a codebook that depends on one update: their sum names nothing"
_ENTROPY = "masked bytes are uniform and do not compress, and codes of different lengths cannot be added"

REASONS: dict[str, tuple[str, str]] = {
    "qsgd": (_OWN_SCALE, _PUBLIC_SCALE),
    "terngrad": (_OWN_SCALE, "UniformGrid(3, range) (levels: 3), which is ternary with a public range"),
    "signsgd": (_OWN_SCALE, "UniformGrid(2, range) (bits: 1), which is unbiased, with a rotation before it"),
    "drive": (_OWN_SCALE, _PUBLIC_SCALE),
    "eden": (f"{_OWN_SCALE}, and its centroids are not evenly spaced", _PUBLIC_SCALE),
    "topk": (_OWN_INDICES, _PUBLIC_INDICES),
    "stc": (_OWN_INDICES, _PUBLIC_INDICES),
    "randomk": ("it must be the same at all sites", "SharedRandomK (random_k)"),
    "blockwise": (_CODEBOOK, "LayerScales or LayeredGrid with public ranges per layer"),
    "bitsandbytes": (_CODEBOOK, "LayerScales or LayeredGrid with public ranges per layer"),
    "nf4": (_CODEBOOK, "LayerScales or LayeredGrid with public ranges per layer"),
    "kmeans": (_CODEBOOK, "UniformGrid after HadamardRotation, which makes all updates look alike"),
    "productquantization": (_CODEBOOK, "UniformGrid after HadamardRotation, which makes all updates look alike"),
    "adaquant": (_OWN_SCALE, "LayerScales with public scales"),
    "huffman": (_ENTROPY, "fewer levels: facts.lanes(clients) already sends no bit that the sum does not need"),
    "arithmeticcoding": (
        _ENTROPY,
        "fewer levels: facts.lanes(clients) already sends no bit that the sum does not need",
    ),
    "eliasgamma": (_ENTROPY, "fewer levels: facts.lanes(clients) already sends no bit that the sum does not need"),
    "eliasdelta": (_ENTROPY, "fewer levels: facts.lanes(clients) already sends no bit that the sum does not need"),
    "rans": (_ENTROPY, "fewer levels: facts.lanes(clients) already sends no bit that the sum does not need"),
    "entropycoder": (_ENTROPY, "fewer levels: facts.lanes(clients) already sends no bit that the sum does not need"),
    "gzip": (_ENTROPY, "fewer levels: facts.lanes(clients) already sends no bit that the sum does not need"),
    "zstd": (_ENTROPY, "fewer levels: facts.lanes(clients) already sends no bit that the sum does not need"),
}
"""Name in small letters without punctuation: (why it cannot be summed, what to use)."""


def refuse_scheme(name: object) -> None:
    """Do nothing for a name that is not in the table.

    Raises:
        ConfigurationError: the scheme cannot be summed; saying why and what here replaces it.
    """
    plain = "".join(letter for letter in str(name).lower() if letter.isalnum())
    if plain in REASONS:
        why, instead = REASONS[plain]
        raise ConfigurationError(f"{name} cannot be summed: {why}. Use {instead}")
