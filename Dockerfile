# fmkit as an image for Amazon SageMaker: `docker run IMAGE train` and `docker run IMAGE serve` over the tree /opt/ml.
FROM debian:bookworm-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev python3-dev python3-venv
WORKDIR /source
COPY pyproject.toml setup.py README.md LICENSE ./
COPY fmcore fmcore
COPY fmcli fmcli
RUN python3 -m venv /opt/fmkit \
 && /opt/fmkit/bin/pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
 && /opt/fmkit/bin/pip install --no-cache-dir "fmkit[serve] @ file://$(ls /wheels/fmkit-*.whl)" \
 && /opt/fmkit/bin/pip uninstall -y pip setuptools

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 python3 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/fmkit /opt/fmkit
ENV PATH=/opt/fmkit/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# The port to listen on may come in SAGEMAKER_BIND_TO_PORT, as it does in an inference pipeline.
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true
EXPOSE 8080
# No ENTRYPOINT and no shell around the command: SageMaker names the command, and its SIGTERM reaches it.
CMD ["fm", "--help"]
