# Lobes for processors, with the packages of requirements.lock.
#
#   docker build -t lobes .
#   docker run --rm --shm-size 2g --volume "$PWD:/data" lobes separate MODEL mixture.wav -o out
#
# PyTorch's builds for Linux that package registries have by default need NVIDIA's libraries also where there is no GPU: they
# are about half of the image.
FROM python:3.11-slim-bookworm AS build
RUN apt-get update && \
    apt-get install --yes --no-install-recommends gcc libc6-dev && \
    rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY requirements.lock ./
RUN python -m venv /lobes && \
    /lobes/bin/python -m pip install --no-cache-dir --require-hashes -r requirements.lock
COPY setup.py pyproject.toml MANIFEST.in README.md LICENSE ./
COPY lobes lobes
COPY hparams_shared hparams_shared
COPY recipes recipes
RUN /lobes/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation . && \
    /lobes/bin/lobes recipe list

FROM python:3.11-slim-bookworm
COPY --from=build /lobes /lobes
RUN useradd --create-home user
USER user
ENV PATH="/lobes/bin:$PATH"
WORKDIR /data
ENTRYPOINT ["lobes"]
CMD ["--help"]
