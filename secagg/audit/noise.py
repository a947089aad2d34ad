"""Rule T29: of a survivor's noise components 1 .. K only D + 1 .. K came off, D being the invited that are missing."""

from __future__ import annotations

from secagg.audit import derive
from secagg.audit.keys import graph_of
from secagg.audit.privacy import Release
from secagg.audit.reading import Round
from secagg.transcript import records as r


def excess(one: Round, release: Release) -> tuple[list[str], str]:
    """Return what is wrong with the noise that was revealed in a round that opened a sum, and what is right."""
    params, promise = one.begin.params, release.promise
    clients, components = len(params.clients), params.noise_components
    shared, survivors, answers = one.get(r.Shared), one.get(r.Survivors), one.get(r.Answers)
    if shared is None or survivors is None or answers is None:
        return ["the records before it are missing"], ""
    wrong = []
    wanted = clients - promise.least_survivors if promise.removable else 0
    if components != wanted:
        wrong.append(f"{components} removable components of noise; the task needs {wanted}")
    dealers = tuple(client for client, _ in shared.self_mask_hashes) if components else ()
    if tuple(client for client, _ in shared.noise_commitments) != dealers:
        wrong.append("not exactly those that shared keys committed to their noise")
    first = len(set(params.clients) - set(survivors.survivors)) + 1
    comes_off, near = first <= components, graph_of(one)
    for answer in answers.answers:
        around = {*near.get(answer.client, ()), answer.client} if comes_off else set[int]()
        if answer.noise != tuple(client for client in survivors.survivors if client in around):
            wrong.append(f"client {answer.client} revealed noise of others than its surviving neighbours")
    wrong += _links(one, shared, survivors.survivors if comes_off else (), first)
    if comes_off:
        return wrong, f"components {first} to {components} of {len(survivors.survivors)} survivors"
    return wrong, "none: all noise stays in the sum"


def _links(one: Round, shared: r.Shared, expected: tuple[int, ...], first: int) -> list[str]:
    """Where what was opened is kept: links number ``first``, by where their chains end, and no others."""
    opening, directory = one.get(r.Opening), one.get(r.Directory)
    if opening is None or directory is None:
        return []
    wrong, params = [], one.begin.params
    if tuple(client for client, _ in opening.noise_links) != expected:
        wrong.append("the noise opened is not that of the survivors")
    session, published = bytes.fromhex(directory.session), dict(shared.noise_commitments)
    for client, link in opening.noise_links:
        about = (params.cipher_suite, session, client, first, params.noise_components)
        if derive.noise_commitment(*about, bytes.fromhex(link)).hex() != published.get(client):
            wrong.append(f"what was opened of client {client}'s noise is not link {first} of what it published")
    return wrong
