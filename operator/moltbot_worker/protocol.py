"""How gateway, worker and client talk.

::

    client ─► public listener ─► worker ─► worker listener ─► chain of the rule ─► provider
                     └── worker unreachable, or its answer is marked ──► the same chain

**Gateway to worker.** `POST` to the rule's operations with the path `/v1` + operation
(`/v1/chat/completions`), and `GET` and `DELETE` of `/v1/jobs/{id}` where a rule has `async`. The body is the
client's, its `model` maybe replaced by the drawn candidate's. The client's own headers follow, without
credentials.

=================  ======================================================================================
`x-mb-worker-key`  the secret that both sides share (file `gateway.key` of the configuration); without it 403,
                   marked as below
`x-mb-rule`        name of the rule; absent for `/v1/jobs/{id}`
`x-mb-consumer`    name of the consumer, the anonymous one's too
`x-mb-route`       the final route that was drawn, such as `tech/0`; absent: the worker draws by weight
`x-mb-model`       `=` and the model's name as the client wrote it, or `-`; absent: as in the body
`x-request-id`     goes on to the worker's own calls, so that audit records can be put together
=================  ======================================================================================

**Worker to worker listener.** Path, body and the client's headers as they came, and:

=================  ======================================================================================
`x-mb-worker-key`  as above; the listener refuses requests without it, by 401 or 403 that names no backend
                   (`x-moltbot-backend`), and trusts the others only with it
`x-mb-rule`        name of the rule
`x-mb-consumer`    as it came; `moltbot-warm-up` for warm-up
`x-mb-route`       the final route: its chain with all of its failover. Where the worker drew, it has written
                   the model of the chain's first backend into the body. Or else
`x-mb-backend`     the label of one backend of the rule, asked once: no other is tried. The worker has
                   written that backend's model into the body
`idempotency-key`  for jobs: the job's id, the same at every try
=================  ======================================================================================

The listener's answers carry `x-moltbot-backend`, the label of the backend that answered, as all answers of a
gateway do; the worker passes it on (a cached answer names the backend that made it), and the public listener
leaves a given one as it is. Headers that begin with `x-mb-` never reach a client.

**What clients send and see.**

========================  ===============================================================================
`x-moltbot-cache`         asked: `allow` (keep this answer though it is not deterministic), `refresh` (answer
                          anew and keep), `bypass`. Answered: `hit`, `miss`, `stale`, `bypass;reason=…`
`cache-control`           asked: `no-store` and `no-cache` are `bypass` and `refresh`
`age`                     seconds since the answer was made, with hit and stale
`x-moltbot-coalesced`     `true` where another request's call gave the answer
`x-moltbot-batch`         requests that shared the call
`x-moltbot-async`         asked: `true` or `false`, over what the rule says
`x-moltbot-webhook`       asked, with a job: URL that is told of its end
`x-moltbot-job`           id of the job, with 202
`x-moltbot-aggregate`     strategy and what came of it: `Vote;votes=2/3;backend=a`
`x-moltbot-recovered`     backends whose streams broke before this one went on, known when headers were sent
`x-moltbot-translated`    API of the backend that answered, where it is not the client's, and the fields that
                          were left out: `Anthropic;without=seed,user`
========================  ===============================================================================

The kind of task, `x-moltbot-task`, is found and answered by the gateway, whether a worker has part or not.

**What fails.** A worker that can't be reached, resets before headers, or answers 503 with
`x-mb-fault: worker` (too busy, draining, the listener not reached, a defect of its own): nothing was sent to
the client, so the gateway goes on with the candidates, and the feature is left out. Every other answer is
final, a provider's error too: the chain has been through already, and the gateway must not try again. So only
`connect-failure`, `refused-stream`, `reset-before-request`, `reset` before headers and this mark lead on. A
store that is away makes features be left out, never a request fail: a job is then answered at once with 200
in place of 202, as it is by a gateway whose workers are all down.

**Ports.** `port`: requests. `metrics_port`: `/metrics`, `/healthz` (503 after a defect) and
`/readyz` (503 before warm-up ended, and from SIGTERM on). `evidence_port`: `/evidence`, see evidence.py.

**What a scaler reads** at `/metrics`, all gauges of this pod but the last two:
`moltbot_worker_in_flight`, `moltbot_worker_queue_depth{queue}`, `moltbot_worker_queue_age_seconds{queue}`
(of the whole queue, from the store: the same in every pod), `moltbot_worker_requests_total`,
`moltbot_worker_request_duration_seconds` (histogram), and `process_cpu_seconds_total`.
"""

from typing import Final

__all__ = [
    "AGGREGATE",
    "ASYNC",
    "BACKEND",
    "BATCH",
    "CACHE",
    "COALESCED",
    "CONSUMER",
    "FAULT",
    "JOB",
    "KEY",
    "MODEL",
    "OWN",
    "RECOVERED",
    "REQUEST_ID",
    "ROUTE",
    "RULE",
    "SERVED_BY",
    "TRANSLATED",
    "WARM_UP",
    "WEBHOOK",
]

OWN: Final = b"x-mb-"
"""Headers of this prefix stay between gateway and worker."""

KEY: Final = b"x-mb-worker-key"
RULE: Final = b"x-mb-rule"
CONSUMER: Final = b"x-mb-consumer"
ROUTE: Final = b"x-mb-route"
MODEL: Final = b"x-mb-model"
BACKEND: Final = b"x-mb-backend"
FAULT: Final = b"x-mb-fault"
REQUEST_ID: Final = b"x-request-id"

SERVED_BY: Final = b"x-moltbot-backend"
CACHE: Final = b"x-moltbot-cache"
COALESCED: Final = b"x-moltbot-coalesced"
BATCH: Final = b"x-moltbot-batch"
ASYNC: Final = b"x-moltbot-async"
WEBHOOK: Final = b"x-moltbot-webhook"
JOB: Final = b"x-moltbot-job"
AGGREGATE: Final = b"x-moltbot-aggregate"
RECOVERED: Final = b"x-moltbot-recovered"
TRANSLATED: Final = b"x-moltbot-translated"

WARM_UP: Final = "moltbot-warm-up"
"""The consumer as whom templates are run."""
