# Trains, and serves the web page; see "In a container" in docs/gpus-and-clusters.md.
#
#   docker build -t signs-lightning .
#   docker build -t signs-lightning:gpu \
#       --build-arg BASE=pytorch/pytorch:2.8.0-cuda12.8-cudnn9-runtime .
ARG BASE=python:3.12-slim
FROM ${BASE}

# The second: some bases' Python is the system's, into which pip installs on this word only.
ENV PIP_NO_CACHE_DIR=1 \
    PIP_BREAK_SYSTEM_PACKAGES=1 \
    PYTHONUNBUFFERED=1

# PyTorch for the CPU, a tenth of the one with CUDA, where the base brings none.
RUN python -c "import torch, torchvision" 2>/dev/null || \
    python -m pip install --index-url https://download.pytorch.org/whl/cpu \
        "torch>=2.6" "torchvision>=0.21"

# Which extras of pyproject.toml: demo,onnx,heic for example.
ARG EXTRAS=demo
WORKDIR /source
COPY pyproject.toml setup.py README.md LICENSE ./
COPY configs configs
COPY signs_lightning signs_lightning
# A folder has no version to pin:
# hadolint ignore=DL3013
RUN python -m pip install ".[${EXTRAS}]"

# Whoever runs it, also with --user, has a name and a place for caches.
ENV USER=signs \
    HOME=/tmp
RUN useradd --no-create-home --uid 10001 signs && \
    install -d -o signs -g signs /work /work/data /work/lightning_logs
USER 10001
WORKDIR /work
VOLUME ["/work/data", "/work/lightning_logs"]
EXPOSE 7860
ENTRYPOINT ["signs-lightning"]
CMD ["--help"]
