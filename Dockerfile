# One node, for a Kafka and a Postgres that exist: `rewindow node`, told all by REWINDOW_*.
FROM python:3.11-slim

# What the code needs comes before the code, so that a change of code does not fetch it again.
WORKDIR /src
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > needed.txt \
 && pip install --no-cache-dir --disable-pip-version-check -c constraints.txt -r needed.txt

COPY README.md LICENSE ./
COPY schemas schemas
COPY formats formats
COPY streams streams
COPY api api
COPY rewindow rewindow
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps . \
 && useradd --uid 10001 --create-home rewindow \
 && mkdir /data && chown rewindow:rewindow /data

USER rewindow
WORKDIR /data
VOLUME /data
ENV REWINDOW_HOST=0.0.0.0 REWINDOW_PORT=4000 REWINDOW_DATA=/data
EXPOSE 4000
HEALTHCHECK --interval=5s --timeout=3s --start-period=2m \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:4000/health/ready', timeout=2)"]
ENTRYPOINT ["rewindow"]
CMD ["node"]
