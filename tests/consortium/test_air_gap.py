"""The same rounds through signed files in a folder."""

from __future__ import annotations

import asyncio
import os
import threading
import time

import msgspec

from secagg.coordinator.folder import FolderServer
from secagg.coordinator.gate import Gate
from secagg.coordinator.web import Web
from secagg.site.link import FolderLink
from secagg.transport import files
from secagg.transport.authentication import SIGNATURE, RequestHead
from tests.consortium.test_study_over_tls import check_study, join_all


def test_a_study_through_a_folder(make_lab, tmp_path) -> None:
    lab = make_lab(sites=3, changes={"rounds = 10": "rounds = 2"})
    shared = tmp_path / "stick"
    engine = lab.engine()
    files.prepare(shared)
    forged = files.RequestFile("POST", "/v1/hello", {"secagg-site": "1"}, b"")
    files.put(shared / files.REQUESTS / "1-7", forged)
    (shared / files.REQUESTS / "noise").write_bytes(b"not a request")
    endless = shared / files.REQUESTS / "endless"
    endless.symlink_to("/dev/zero")
    for number in range(12):  # more than there are threads: each would wait for a writer that never comes
        os.mkfifo(shared / files.REQUESTS / f"pipe{number}")
    whole = shared / files.REQUESTS / "1-8"
    whole.write_bytes(msgspec.msgpack.encode(forged)[:-9])

    def coordinate() -> None:
        async def main() -> None:
            web = Web(engine, Gate(engine.study, {}, tolerance=None), poll_seconds=3600.0)
            await FolderServer(web, shared, until_finished=True).serve()

        asyncio.run(main())

    thread = threading.Thread(target=coordinate)
    thread.start()
    time.sleep(0.5)
    whole.write_bytes(msgspec.msgpack.encode(forged))
    finished = join_all(lab, lab.sites, carrier=lambda *who: FolderLink(*who, shared, patience=60.0))
    thread.join(30)
    engine.store.close()
    assert len(finished) == 3
    check_study(lab, 2)
    for name in ("1-7", "1-8"):
        refused = msgspec.msgpack.decode((shared / files.ANSWERS / name).read_bytes(), type=files.AnswerFile)
        assert refused.status == 401


def test_an_answer_that_is_still_being_copied(make_lab, tmp_path) -> None:
    lab = make_lab(sites=3)
    link = FolderLink(lab.study, 1, lab.key(1), lambda: 1, tmp_path, patience=30.0)
    head = RequestHead("GET", "/v1/next", lab.study.hash, 1, 1, 1, bytes(32))
    headers = head.signed_by(lab.key(1))
    path = tmp_path / files.ANSWERS / f"1-1-{headers[SIGNATURE][:16]}"
    whole = msgspec.msgpack.encode(files.AnswerFile(204, "", b""))
    path.write_bytes(whole[:-3])
    threading.Timer(0.5, lambda: path.write_bytes(whole)).start()
    assert link._carry(head, headers, b"").status == 204
