# The webhook's image with Ray, for deploy/kubernetes/rayservice.yaml:
#   make image && docker build -f deploy/ray.Dockerfile -t hasura-background-removal-ray .
ARG BASE=hasura-background-removal:0.1.0
FROM ${BASE}
USER root
# KubeRay's probes call it.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/*
COPY requirements/ray.txt /tmp/requirements/
RUN /opt/venv/bin/pip install --no-cache-dir --require-hashes --only-binary :all: \
        -r /tmp/requirements/ray.txt
USER 10001:10001
ENV RAY_USAGE_STATS_ENABLED=0 \
    PYTHONPATH=/app
# KubeRay brings the command, `ray start …`.
ENTRYPOINT []
CMD ["serve", "--help"]
HEALTHCHECK NONE
