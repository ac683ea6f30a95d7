# Detectors over HTTP; docs/serve.md says how to run it with a read-only root.
#     docker build -t twinlatent .
# The build argument PIP_EXTRA_INDEX_URL may name a package index with builds of torch for CPUs alone, which are smaller.
FROM python:3.11-slim AS build
ARG PIP_EXTRA_INDEX_URL=""
WORKDIR /src
RUN python -m venv /opt/twinlatent
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY twinlatent ./twinlatent
RUN /opt/twinlatent/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt ".[serve]"

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin twinlatent
COPY --from=build /opt/twinlatent /opt/twinlatent
ENV PATH=/opt/twinlatent/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:8000/readyz', timeout=3)"]
# The address is open to other machines, so it needs a token: the environment variable TWINLATENT_TOKEN.
ENTRYPOINT ["twinlatent", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["mnist-mim"]
