#!/usr/bin/env node
// better-sse under test: a channel per topic, as in its documentation, on node's own http, and
// replay by hand, which it leaves to the application. The interface is that of benches/README.md.
//
// It is one process whatever --workers says: channels are not shared between processes.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { createChannel, createEventBuffer, createSession } from "better-sse";

const { values: flags } = parseArgs({
  allowPositionals: true,
  options: {
    port: { type: "string", default: "0" },
    workers: { type: "string", default: "1" },
    history: { type: "string", default: "1000" },
    // Channels of better-sse hold nothing.
    channel: { type: "string" },
  },
});
const history = Number(flags.history);

// The data is sent as it was published, as by the others, and not as a JSON string.
const serializer = (data) => data;

const epoch = Date.now() * 1000;
let last = 0;
const topics = new Map();

function topicOf(name) {
  let topic = topics.get(name);
  if (!topic) {
    topic = { channel: createChannel(), kept: [] };
    topics.set(name, topic);
  }
  return topic;
}

function publish(name, data) {
  const { channel, kept } = topicOf(name);
  const number = ++last;
  const id = `${epoch}-${number}`;
  if (kept.length === history) kept.shift();
  kept.push({ number, id, data });
  channel.broadcast(data, "message", { eventId: id });
}

// Topics in turn; only numbers of this life of the server mean anything.
function missed(names, lastId) {
  if (!lastId) return [];
  const [of, number] = lastId.split("-").map(Number);
  const seen = of === epoch ? number : 0;
  return names
    .flatMap((name) => topicOf(name).kept.filter((event) => event.number > seen))
    .sort((a, b) => a.number - b.number);
}

async function follow(request, response, names) {
  const session = await createSession(request, response, {
    keepAlive: 15_000,
    retry: null,
    serializer,
    headers: {
      "cache-control": "no-cache, no-transform",
      "x-accel-buffering": "no",
    },
  });
  const replay = createEventBuffer({ serializer });
  for (const { id, data } of missed(names, session.lastId)) replay.push(data, "message", id);
  // A buffer is sent at once, so that nothing is published between replay and live.
  if (replay.read()) session.batch(replay);
  for (const name of names) topicOf(name).channel.register(session);
  open += 1;
  session.once("disconnected", () => (open -= 1));
}

let open = 0;

async function lines(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  const text = Buffer.concat(pieces).toString();
  return (text.endsWith("\n") ? text.slice(0, -1) : text).split("\n");
}

function answer(response, status, text) {
  response.writeHead(status, { "content-length": Buffer.byteLength(text) });
  response.end(text);
}

function versionOf(name) {
  const manifest = new URL(`./node_modules/${name}/package.json`, import.meta.url);
  return JSON.parse(readFileSync(manifest, "utf8")).version;
}

const server = createServer({ noDelay: true }, async (request, response) => {
  const url = new URL(request.url, "http://localhost");
  const topic = url.pathname.match(/^\/publish\/(.+)$/)?.[1];
  if (url.pathname === "/events") {
    await follow(request, response, (url.searchParams.get("topics") ?? "").split(","));
  } else if (url.pathname === "/subscribers") {
    answer(response, 200, String(open));
  } else if (url.pathname === "/about") {
    const versions = { "better-sse": versionOf("better-sse"), node: process.versions.node };
    answer(response, 200, JSON.stringify({ versions }));
  } else if (topic && request.method === "POST") {
    const all = await lines(request);
    const begin = process.hrtime.bigint();
    for (const data of all) publish(topic, data);
    const nanos = process.hrtime.bigint() - begin;
    answer(response, 200, `{"nanos": ${nanos}}`);
  } else {
    answer(response, 404, "");
  }
});

// Node's 5 s would close the publisher's connection while clients catch up.
server.keepAliveTimeout = 600_000;
server.listen({ port: Number(flags.port), host: "127.0.0.1", backlog: 4096 }, () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
process.once("SIGTERM", () => process.exit(0));
