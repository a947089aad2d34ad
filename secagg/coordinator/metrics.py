"""``/metrics`` for Prometheus: facts of the study, read from the engine when they are asked for."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from secagg.coordinator.engine import Engine
from secagg.study.receipt import Receipt
from secagg.study.rounds import Validation


class StudyCollector(Collector):
    """Describes an engine; no figure depends on one site's data."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        """Give all metrics as they are now."""
        engine = self._engine
        receipts = engine.receipts()
        rounds = CounterMetricFamily("secagg_rounds", "Attempts at rounds that have ended.", labels=["outcome"])
        for outcome in ("opened", "aborted"):
            rounds.add_metric([outcome], sum(said.outcome == outcome for said in receipts))
        yield rounds
        opened = [said for said in receipts if said.outcome == "opened"]
        dropped = sum(len(said.clients) - len(said.included) for said in opened)
        yield CounterMetricFamily("secagg_dropouts_survived", "Invited sites missing from opened sums.", value=dropped)
        members = len(engine.study.site)
        yield GaugeMetricFamily("secagg_sites_on_roster", "Members of the study.", value=members)
        here = len(engine.present())
        yield GaugeMetricFamily("secagg_sites_present", "Members heard of lately.", value=here)
        yield GaugeMetricFamily("secagg_study_finished", "1 when the study is over.", bool(engine.progress.finished))
        yield GaugeMetricFamily("secagg_round", "Number of the round that is on or next, from 1.", _round(engine))
        promised = 0.0 if engine.study.privacy is None else engine.study.privacy.epsilon
        says = "Epsilon of all rounds so far in which data were used; 0 without privacy."
        yield GaugeMetricFamily("secagg_privacy_epsilon_spent", says, engine.spent)
        yield GaugeMetricFamily("secagg_privacy_epsilon_budget", "Epsilon that was promised; 0 for none.", promised)
        yield self._phase()
        yield from self._model(opened)

    def _phase(self) -> Metric:
        live = self._engine.live
        waiting = GaugeMetricFamily(
            "secagg_phase_sites", "Sites of the phase that is on, by whether they are done.", labels=["phase", "state"]
        )
        if live is not None and (phase := live.status.phase) is not None:
            waiting.add_metric([phase.value, "done"], len(live.status.have))
            waiting.add_metric([phase.value, "awaited"], len(live.status.pending))
        return waiting

    @staticmethod
    def _model(opened: Sequence[Receipt]) -> Iterator[Metric]:
        judged = Validation(opened[-1].counters) if opened else None
        if judged is not None and judged.accuracy is not None and judged.loss is not None:
            yield GaugeMetricFamily("secagg_validation_accuracy", "Before the last round, all sites.", judged.accuracy)
            yield GaugeMetricFamily("secagg_validation_loss", "Before the last round, all sites.", judged.loss)


def _round(engine: Engine) -> int:
    return engine.progress.round + 1


def metrics_route(engine: Engine, token: str) -> Route:
    """Return the route; it asks for ``Authorization: Bearer`` and the page's token."""
    registry = CollectorRegistry()
    registry.register(StudyCollector(engine))

    async def serve(request: Request) -> Response:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            return PlainTextResponse("metrics need the header Authorization: Bearer and the page's token\n", 401)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return Route("/metrics", serve)
