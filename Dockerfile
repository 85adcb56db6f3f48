# syntax=docker/dockerfile:1
# The service for CPU and CUDA: torch's own wheels carry the CUDA runtime, the host only the driver.
# `make image` builds it; docs/deployment.md runs it.

FROM python:3.11-slim-bookworm AS packages
WORKDIR /build
RUN python -m venv /opt/venv
COPY requirements.txt ./
COPY requirements/cuda.txt requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/venv/bin/pip install --require-hashes --only-binary :all: \
        -r requirements.txt -r requirements/cuda.txt


FROM python:3.11-slim-bookworm
RUN useradd --no-log-init --uid 10001 --user-group --no-create-home --home-dir /cache \
        --shell /usr/sbin/nologin webhook \
    && install --directory --owner=webhook --group=webhook /cache
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HOME=/cache/huggingface \
    HF_HUB_DISABLE_TELEMETRY=1
WORKDIR /app
COPY --from=packages /opt/venv /opt/venv
COPY graphql graphql
COPY webhook webhook
RUN python -m compileall -q webhook
# Of root's files nothing can be changed from here on; what is written goes to /cache and /tmp.
USER 10001:10001

# Weights to bake in, by names as in MODELS, separated by spaces. Empty: fetched at the first start.
ARG WEIGHTS=""
RUN --mount=type=secret,id=HF_TOKEN,env=HF_TOKEN \
    for model in $WEIGHTS; do python -m webhook pull "$model" || exit 1; done

EXPOSE 8000
# Until the first answer it loads the models, and may fetch 900 MB of weights before.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15m --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('PORT') or 8000), timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "webhook"]
CMD ["serve"]

# Last: a new commit rebuilds nothing but these.
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="Hasura Background Removal" \
      org.opencontainers.image.description="Webhook for Hasura: transparent PNGs of images in S3" \
      org.opencontainers.image.base.name="python:3.11-slim-bookworm" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
