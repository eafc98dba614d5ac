# One image for every process: `api` (default), `worker`, `migrate` and the other commands.
# Node runs the TypeScript directly, so nothing is built.

FROM node:24-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The optional packages are Node and PostgreSQL, for machines without them.
RUN npm ci --omit=dev --omit=optional --ignore-scripts

FROM node:24-bookworm-slim
ENV NODE_ENV=production \
    HOST=0.0.0.0 \
    DATA_DIR=/data
WORKDIR /app
# A new volume that is mounted here belongs to the user below.
RUN install -d -o node -g node /data
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json LICENSE ./
COPY bin ./bin
COPY migrations ./migrations
COPY src ./src
# The image's user `node`, as a number, so that an orchestrator can check that it is not root.
USER 1000:1000
EXPOSE 3000
# Live, not ready: a restart repairs no database. The worker serves no HTTP and has no health check.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.ADMIN_PORT || process.env.PORT || 3000) + '/health/live').then((res) => process.exit(res.ok ? 0 : 1))"]
ENTRYPOINT ["node", "bin/wa-ingest.js"]
CMD ["api"]
