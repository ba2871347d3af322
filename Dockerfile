# The receiver, with all first-party sinks, from the hashed lock. docs/deployment.md has how to run it.
#
#   docker build -t media-stream-receiver .
#
# The base is named by its tag, which moves with Debian's and Python's fixes. For an image that can be built again bit by
# bit, name it by its digest, which "docker buildx imagetools inspect python:3.13-slim-trixie" shows:
#
#   docker build --build-arg BASE=python:3.13-slim-trixie@sha256:… -t media-stream-receiver .
ARG BASE=python:3.13-slim-trixie

# What builds stays behind in this stage: pip, setuptools, the sources.
FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

COPY requirements/build.txt requirements/image.txt requirements/
RUN python -m venv --without-pip /opt/build \
    && pip --python /opt/build/bin/python install --require-hashes -r requirements/build.txt
RUN python -m venv --without-pip /opt/receiver \
    && pip --python /opt/receiver/bin/python install --no-compile --only-binary :all: --require-hashes \
        -r requirements/image.txt

COPY pyproject.toml README.md LICENSE ./
COPY receiver receiver
COPY plugins plugins
RUN pip --python /opt/build/bin/python wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && pip --python /opt/receiver/bin/python install --no-compile --no-deps dist/*.whl

FROM ${BASE}
ARG VERSION=unknown
LABEL org.opencontainers.image.title="media-stream-receiver" \
      org.opencontainers.image.description="Receives the audio of live phone calls over WebSocket" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"

# OPUS is decoded by Debian's libopus. PyAV, which could as well, brings FFmpeg with codecs under the GPL: it is left out.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libopus0 \
    && rm -rf /var/lib/apt/lists/*

# The user has a number that never changes, so that volumes stay its own. /secrets is for what docker-compose.yml makes.
RUN groupadd --gid 10001 receiver \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin receiver \
    && install --directory --owner 10001 --group 10001 --mode 0750 /recordings /secrets

COPY --from=build /opt/receiver /opt/receiver

# Compiled once, here, also what the base image ships without: nothing can be written where it runs, and so every start
# and every health check would compile the same modules again. Unchecked, because the sources never change.
RUN python -m compileall -q -f -j 0 --invalidation-mode unchecked-hash \
        "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" /opt/receiver/lib

ENV PATH=/opt/receiver/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# Relative paths start here: /config.toml is read where it is mounted, recordings go to /recordings.
WORKDIR /
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/livez', timeout=4)"]
ENTRYPOINT ["receiver"]
CMD ["serve"]
