"""Exact integer noise for sums: laws, samplers, the shares of sites, and how far noise can reach.

Draws are exact: no float, no truncation, no rounding takes part in them. Random bytes are handed in; a stream of a
cipher is needed wherever draws have to be replayed. Noise is drawn before data is touched.
"""

from quant.noise.laws import Boundaries, DiscreteGaussian, Law, Skellam, TableLaw
from quant.noise.rational import draw_discrete_gaussian
from quant.noise.sampler import Sampler, draw, sampler_for
from quant.noise.shares import Sharing
from quant.noise.tails import FAILURE, Family, reach

__all__ = [
    "FAILURE",
    "Boundaries",
    "DiscreteGaussian",
    "Family",
    "Law",
    "Sampler",
    "Sharing",
    "Skellam",
    "TableLaw",
    "draw",
    "draw_discrete_gaussian",
    "reach",
    "sampler_for",
]
