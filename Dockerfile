# The one file, and nothing else: an init container that installs the plugin, a server, or a command line.
#
#   docker build --build-arg VERSION=0.1.0 -t chaosplugin .
#
# Where that allows 1,024 open files only, as buildah does: --ulimit nofile=16384:16384, for zig.
# With what `make dist` has built, the first stage is not needed:
#
#   mkdir -p out/tmp && chmod 1777 out/tmp && cp dist/chaosplugin-linux-amd64 out/chaosplugin
#   buildah build --build-context build=. --timestamp 0 --build-arg VERSION=0.1.0 -t chaosplugin .
FROM debian:bookworm-slim AS build
ENV XDG_CACHE_HOME=/cache
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates make python3 python3-venv
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/cache make file && install -D dist/chaosplugin-linux-*64 /out/chaosplugin \
	&& install --directory --mode=1777 /out/tmp

FROM scratch
ARG VERSION=unknown
LABEL org.opencontainers.image.title="chaosplugin" \
	org.opencontainers.image.description="Metric plugin for Argo Rollouts that gates a canary with a Chaos Mesh experiment" \
	org.opencontainers.image.licenses="Apache-2.0" \
	org.opencontainers.image.version="${VERSION}"
COPY --from=build /out/ /
USER 999:999
ENTRYPOINT ["/chaosplugin"]
CMD ["--help"]
