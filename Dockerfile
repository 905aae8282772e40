# On the CPU. The command: docker build -t np-rnn . && docker run --rm np-rnn --help
# Serving runs/: docker compose up serve

FROM python:3.13-slim AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.13-slim AS command
# The address of PyTorch's wheels for the CPU (pytorch.org, Get Started) leaves some gigabytes of CUDA
# out: docker build --build-arg PIP_EXTRA_INDEX_URL=...
ARG PIP_EXTRA_INDEX_URL
COPY constraints.txt /tmp/
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --constraint /tmp/constraints.txt "$(ls /wheels/*.whl)[serve,export]" \
    && rm /tmp/constraints.txt
# What is downloaded or cached lies in /tmp, so that any user may run it.
ENV TORCH_HOME=/tmp/torch HF_HOME=/tmp/huggingface MPLCONFIGDIR=/tmp/matplotlib
RUN useradd --create-home --uid 1000 np-rnn && install --directory --owner np-rnn /data
USER np-rnn
WORKDIR /data
ENTRYPOINT ["np-rnn"]

FROM command AS serve
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/', timeout=4)"]
CMD ["eval", "serve", "--host", "0.0.0.0"]

FROM command
CMD ["--help"]
