# syntax=docker/dockerfile:1
# A server that runs on the CPU:    docker build -t siren .
# The same for an NVIDIA GPU:       docker build -t siren:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
#                                   docker run --gpus all -p 50051:50051 -e SIREN_TOKENS=me=TOKEN siren:cuda
ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim AS build
# Where torch comes from; empty takes pip's usual place (which has the CUDA build).
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
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
    /opt/siren/bin/pip install -c constraints.txt './clients/python[cli]' . \
    && /opt/siren/bin/python -m compileall -q /opt/siren/lib

FROM python:${PYTHON_VERSION}-slim
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/siren siren \
    && install -d -o siren -g siren /var/lib/siren/models
COPY --from=build /opt/siren /opt/siren
# Checkpoints that `siren pull` or a first start fetches are kept under HF_HOME: mount a volume there.
ENV PATH=/opt/siren/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/var/lib/siren/models
USER siren
WORKDIR /var/lib/siren
EXPOSE 50051
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=3 \
    CMD ["sh", "-c", "exec siren health --server 127.0.0.1:${SIREN_HEALTH_PORT:-${SIREN_PORT:-50051}}"]
# It starts with tokens, JWTs or client certificates, or SIREN_ALLOW_ANONYMOUS=true: docs/security.md.
ENTRYPOINT ["siren"]
CMD ["serve", "--host", "0.0.0.0"]
