"""Cohort counts, means, histograms and quantiles over sites, through the secure sum.

A `Query` is one or several questions that are answered by one sum: exact without noise, private with. Bounds, edges and
categories are public and stated beforehand; nothing about a question depends on data. See `run` for one call, and
`Query` for the three steps that a site and a coordinator do.
"""

from secagg.analytics.answers import Answer, Answers, Estimate
from secagg.analytics.counting import Count, Histogram
from secagg.analytics.moments import Mean, Variance
from secagg.analytics.quantiles import Quantiles
from secagg.analytics.query import Query
from secagg.analytics.records import Condition, Records
from secagg.analytics.run import run
from secagg.analytics.tables import from_config

__all__ = [
    "Answer",
    "Answers",
    "Condition",
    "Count",
    "Estimate",
    "Histogram",
    "Mean",
    "Quantiles",
    "Query",
    "Records",
    "Variance",
    "from_config",
    "run",
]
