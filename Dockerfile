# syntax=docker/dockerfile:1
# A server that runs on the CPU:     docker build -t siren .
# The same for an NVIDIA GPU:        docker build -t siren:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
#                                    docker run --gpus all -p 50051:50051 -e SIREN_TOKENS=me=TOKEN siren:cuda
# With a model baked in:             --build-arg MODEL=nvidia/nemotron-speech-streaming-en-0.6b
# Without inverse text normalisation (165 MB): --build-arg EXTRAS=
#
# docs/deployment.md has the rest; scripts/check_image.sh builds it with no Docker and no registry.
ARG PYTHON_VERSION=3.11
# Where torch comes from; empty takes pip's usual place (which has the CUDA build).
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

FROM python:${PYTHON_VERSION}-slim AS build
ARG TORCH_INDEX
ARG EXTRAS=itn
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
# For what inverse text normalisation finds no wheels of.
# hadolint ignore=DL3008
RUN if [ -n "$EXTRAS" ]; then \
        apt-get update && apt-get install --yes --no-install-recommends gcc g++ libc6-dev \
        && rm -rf /var/lib/apt/lists/*; \
    fi
RUN python -m venv /opt/siren
WORKDIR /src
# torch first and alone: its layer outlives changes of everything below.
COPY constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    torch=$(sed -n 's/^\(torch==[0-9.]*\).*/\1/p' constraints.txt) \
    && /opt/siren/bin/pip install --no-deps ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$torch"
COPY pyproject.toml README.md LICENSE ./
COPY clients/python clients/python
COPY siren_grpc siren_grpc
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/siren/bin/pip install -c constraints.txt './clients/python[cli]' ".${EXTRAS:+[$EXTRAS]}"
# Some files of torch are for newer Pythons only and do not compile: they are not imported either.
RUN /opt/siren/bin/python -m compileall -q /opt/siren/lib >/dev/null || true
# A model to bake in. The embedded one is there anyway.
ARG MODEL=siren-mini-en
ENV HF_HOME=/opt/models
RUN install -d /opt/models && /opt/siren/bin/siren pull "$MODEL" && chmod -R a+rX /opt/models

FROM python:${PYTHON_VERSION}-slim
ARG MODEL=siren-mini-en
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Siren gRPC" \
      org.opencontainers.image.description="Streaming speech-to-text over gRPC, on NVIDIA NeMo's cache-aware models" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
ARG TORCH_INDEX
# On a GPU Triton builds the launcher of its kernels where it runs, into TRITON_CACHE_DIR.
# hadolint ignore=DL3008
RUN case "$TORCH_INDEX" in \
        */cpu) ;; \
        *) apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev \
           && rm -rf /var/lib/apt/lists/* ;; \
    esac
RUN groupadd --system --gid 10001 siren \
    && useradd --system --uid 10001 --gid 10001 --create-home --home-dir /var/lib/siren siren \
    && install -d -o siren -g siren /var/lib/siren/models
COPY --from=build /opt/siren /opt/siren
COPY --from=build --chown=10001:10001 /opt/models /var/lib/siren/models
# The root file system may be read-only, with a tmpfs at /tmp: nothing is written elsewhere, but for
# checkpoints that a first start fetches. They go to HF_HOME: mount a volume there to keep them.
# A base without CUDA gets the GPU's driver because it asks for it; on the CPU this does nothing.
ENV PATH=/opt/siren/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HOME=/var/lib/siren/models \
    NUMBA_CACHE_DIR=/tmp/numba \
    TRITON_CACHE_DIR=/tmp/triton \
    MPLCONFIGDIR=/tmp/matplotlib \
    XDG_CACHE_HOME=/tmp/cache \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    SIREN_HOST=0.0.0.0 \
    SIREN_MODEL=$MODEL
# By number, so that Kubernetes can tell that it is not root.
USER 10001:10001
WORKDIR /var/lib/siren
EXPOSE 50051
STOPSIGNAL SIGTERM
# Asks SIREN_HEALTH_PORT or else SIREN_PORT. The start may have a model to download.
HEALTHCHECK --interval=30s --timeout=15s --start-period=600s --retries=3 \
    CMD ["python", "-m", "siren_grpc.probe"]
# It starts with tokens, JWTs or client certificates, or SIREN_ALLOW_ANONYMOUS=true: docs/security.md.
ENTRYPOINT ["siren"]
CMD ["serve"]
