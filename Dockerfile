# posegpt on the processor, about 1.6 GB:
#   docker build -t posegpt .
#   docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" posegpt sample --action walk --len 64 --out walk.mp4
ARG PYTHON=3.13
FROM python:${PYTHON}-slim

# OpenGL for the mesh, drawn in software: no screen and no GPU is needed.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libegl1 libgl1 \
 && rm -rf /var/lib/apt/lists/*

# torch first: its layer is large, and stays when only posegpt changes.
WORKDIR /opt/posegpt
COPY constraints.txt ./
RUN pip install --no-cache-dir -c constraints.txt --extra-index-url https://download.pytorch.org/whl/cpu torch

COPY pyproject.toml README.md LICENSE NOTICE ./
COPY posegpt_cli posegpt_cli
COPY models models
COPY data data
RUN pip install --no-cache-dir -c constraints.txt .

# Any user may run it: what is remembered between runs goes to a folder that everybody can write to.
ENV HOME=/tmp
WORKDIR /work
ENTRYPOINT ["posegpt"]
CMD ["--help"]
