# The environment of docs/install.md. The clone is mounted over /project, so that results and settings stay outside:
#   docker build --tag siamese .
#   docker run --rm --gpus all --volume "$PWD":/project --user "$(id -u):$(id -g)" siamese python -m pipeline repro
FROM python:3.11-slim-bookworm

RUN apt-get update \
 && apt-get install --yes --no-install-recommends git make \
 && rm -rf /var/lib/apt/lists/* \
 && git config --system --add safe.directory /project

ENV DVC_NO_ANALYTICS=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    HOME=/tmp

WORKDIR /project
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY data data
COPY siamese siamese
COPY segmentation segmentation
COPY evaluation evaluation
COPY pipeline pipeline
RUN python -m pip install --constraint constraints.txt --editable ".[medical]"

CMD ["python", "-m", "pipeline", "--help"]
