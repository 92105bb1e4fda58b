# assay in a container. Targets: runtime (the service: api, worker and monitor share it), development
# (docker-compose.development.yml) and test (what `make test` and `make test-e2e` run in where no
# toolchain is). Builds with and without BuildKit; packages come before sources, so that their layers
# are kept.

FROM debian:trixie-slim AS toolchain
WORKDIR /src
COPY tools/packages.txt tools/packages.sh tools/
RUN tools/packages.sh --install build && rm -rf /var/lib/apt/lists/*

# Has no program of its own: docker/build-on-change.sh makes it into the volume at /build.
FROM toolchain AS development
RUN tools/packages.sh --install run && rm -rf /var/lib/apt/lists/* \
    && mkdir /build && chown 65534:65534 /build && ln -s /build/bin/assay /usr/local/bin/assay
USER 65534:65534

FROM toolchain AS build
COPY Makefile ./
COPY src src
RUN make -j"$(nproc)" build && strip -o /assay build/assay

FROM debian:trixie-slim AS runtime
COPY tools/packages.txt tools/packages.sh /tmp/tools/
RUN /tmp/tools/packages.sh --install run && rm -rf /var/lib/apt/lists/* /tmp/tools \
    && mkdir /data /assets && chown 65534:65534 /data
COPY --from=build /assay /usr/local/bin/assay
USER 65534:65534
# Only two of these are ever published, never a worker's health; what is in /data is all there is to keep.
ENV ASSAY_LISTEN=0.0.0.0:5001 \
    ASSAY_MONITOR_LISTEN=0.0.0.0:5555 \
    ASSAY_HEALTH_LISTEN=0.0.0.0:5002 \
    ASSAY_STORE=sqlite:/data/assay.db \
    ASSAY_ROOT=/assets
WORKDIR /data
EXPOSE 5001 5555
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["assay", "health"]
ENTRYPOINT ["assay"]
CMD ["server"]

FROM toolchain AS test
RUN tools/packages.sh --install test try engine && rm -rf /var/lib/apt/lists/* && chown 65534:65534 /src
USER 65534:65534
ENV HOME=/tmp
COPY --chown=65534:65534 . .
RUN make -j"$(nproc)" build tests && make -j"$(nproc)" MODE=asan replays
CMD ["make", "native-test"]

# what `docker build .` makes
FROM runtime
