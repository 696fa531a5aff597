# syntax=docker/dockerfile:1
# Gatepost's image. Build it with `docker build .`; `--target sample` is what docker-compose.yml puts around it.
#
# A tag can be moved, a digest cannot. For a build that can be repeated, give the base with its digest:
#   docker buildx imagetools inspect node:24-bookworm-slim    # shows it
#   docker build --build-arg NODE_IMAGE=node:24-bookworm-slim@sha256:… .
ARG NODE_IMAGE=node:24-bookworm-slim

# Everything that development needs; none of it reaches the image.
FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY tsconfig.json tsconfig.build.json ./
COPY scripts/build.ts scripts/
COPY src src
RUN npm run build

# No script of a package runs: what Gatepost needs of native code comes prebuilt.
FROM ${NODE_IMAGE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts

# A provider and upstreams to try Gatepost with. Not for production.
FROM build AS sample
COPY deploy/sample deploy/sample
USER 65532:65532

FROM ${NODE_IMAGE} AS gatepost
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Gatepost" \
      org.opencontainers.image.description="The policy sidecar beside Envoy" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# npm has nothing to do here, and its own dependencies are what scanners complain of. The two folders are those that
# Gatepost writes to, so that a new volume there is its own; the rest of the root may be read-only.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack /opt/yarn* \
    && ln -s /app/bin/gatepost.js /usr/local/bin/gatepost \
    && install -d -o 65532 -g 65532 -m 0750 /run/gatepost /var/lib/gatepost
WORKDIR /app
COPY package.json LICENSE ./
COPY bin bin
COPY proto proto
COPY envoy envoy
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
ENV NODE_ENV=production \
    GATEPOST_DATA_DIR=/var/lib/gatepost
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --start-interval=1s --retries=3 \
    CMD ["node", "/app/bin/gatepost.js", "check", "--ready"]
ENTRYPOINT ["node", "/app/bin/gatepost.js"]
CMD ["serve"]
