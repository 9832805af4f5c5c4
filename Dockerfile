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

# Which extras of pyproject.toml: demo,onnx,heic for example.
ARG EXTRAS=demo
WORKDIR /source
COPY pyproject.toml setup.py README.md LICENSE ./
COPY configs configs
COPY signs_lightning signs_lightning
# Options of pip, such as another index that has PyTorch for the CPU alone, a tenth of the size.
ARG PIP_OPTIONS=
# A folder has no version to pin, and options are several words:
# hadolint ignore=DL3013,SC2086
RUN python -m pip install ${PIP_OPTIONS} ".[${EXTRAS}]"

# Whoever runs it, also with --user, has a name and a place for caches.
ENV USER=signs \
    HOME=/tmp
RUN useradd --no-create-home --uid 10001 signs && \
    install -d -o signs -g signs /signs /signs/data /signs/lightning_logs
USER 10001
WORKDIR /signs
VOLUME ["/signs/data", "/signs/lightning_logs"]
EXPOSE 7860
ENTRYPOINT ["signs-lightning"]
CMD ["--help"]
