"""The same rounds through signed files in a folder."""

from __future__ import annotations

import asyncio
import threading

import msgspec

from secagg.coordinator.folder import FolderServer
from secagg.coordinator.gate import Gate
from secagg.coordinator.web import Web
from secagg.site.link import FolderLink
from secagg.transport import files
from tests.consortium.test_study_over_tls import check_study, join_all


def test_a_study_through_a_folder(make_lab, tmp_path) -> None:
    lab = make_lab(sites=3, changes={"rounds = 10": "rounds = 2"})
    shared = tmp_path / "stick"
    engine = lab.engine()
    files.prepare(shared)
    forged = files.RequestFile("POST", "/v1/hello", {"secagg-site": "1"}, b"")
    files.put(shared / files.REQUESTS / "1-7", forged)
    (shared / files.REQUESTS / "noise").write_bytes(b"not a request")

    def coordinate() -> None:
        async def main() -> None:
            web = Web(engine, Gate(engine.study, {}, tolerance=None), poll_seconds=3600.0)
            await FolderServer(web, shared, until_finished=True).serve()

        asyncio.run(main())

    thread = threading.Thread(target=coordinate)
    thread.start()
    finished = join_all(lab, lab.sites, carrier=lambda *who: FolderLink(*who, shared, patience=60.0))
    thread.join(30)
    engine.store.close()
    assert len(finished) == 3
    check_study(lab, 2)
    refused = msgspec.msgpack.decode((shared / files.ANSWERS / "1-7").read_bytes(), type=files.AnswerFile)
    assert refused.status == 401
