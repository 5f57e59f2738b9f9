"""Run by `helm test`: does the operator answer, and does the cluster serve its resources?"""

import json
import ssl
import sys
import urllib.request
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
API = "https://kubernetes.default.svc/apis/moltbot.io/v1alpha1"
WANTED = {"modelbackends", "modelbackends/status", "moltbotroutes", "moltbotroutes/status"}
SECONDS = 10


def get(url: str, headers: dict[str, str] | None = None, context: ssl.SSLContext | None = None) -> bytes:
    """The body of a 200; raises otherwise."""
    request = urllib.request.Request(url, headers=headers or {})  # noqa: S310 - both schemes are ours
    with urllib.request.urlopen(request, timeout=SECONDS, context=context) as answer:  # noqa: S310
        body: bytes = answer.read()
        return body


def main(service: str) -> int:
    """1 when something is missing, said on a line of its own."""
    get(f"http://{service}:8080/healthz")
    get(f"http://{service}:8080/readyz")
    print("the operator is alive and ready")
    metrics = get(f"http://{service}:9090/metrics").decode()
    if "moltbot_" not in metrics:
        print("the operator's /metrics names no moltbot_ metric")
        return 1
    print(f"/metrics has {sum(line.startswith('moltbot_') for line in metrics.splitlines())} values of ours")
    token = (ACCOUNT / "token").read_text()
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    served = json.loads(get(API, {"Authorization": f"Bearer {token}"}, context))
    missing = WANTED - {each["name"] for each in served["resources"]}
    if missing:
        print(f"the API server does not serve {sorted(missing)}: install the CRDs (crds.install or crds/)")
        return 1
    print("the API server serves both resources with their status")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
