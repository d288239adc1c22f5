// The official Node client against our server: append, read, subscribe, fail, delete. Usage: node client.mjs URI
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import { join } from "node:path";

// The packages lie where they were installed, not beside this file.
const require = createRequire(join(process.env.NODE_HOME ?? process.cwd(), "package.json"));
const db = require("@kurrent/kurrentdb-client");
const {
  KurrentDBClient, jsonEvent, binaryEvent, BACKWARDS, END, START, NO_STREAM, ANY,
  StreamNotFoundError, StreamDeletedError, WrongExpectedVersionError, eventTypeFilter, streamNameFilter,
} = db;

const client = KurrentDBClient.connectionString(process.argv[2]);
const run = randomUUID().slice(0, 8);
const event = (type, n) => jsonEvent({ type, data: { n } });
const all = async (reading) => {
  const events = [];
  for await (const { event } of reading) events.push(event);
  return events;
};

async function appendsAndReads() {
  const stream = `js-${run}-a`;
  const events = Array.from({ length: 100 }, (_, n) => event("Opened", n));
  const done = await client.appendToStream(stream, events, { streamState: NO_STREAM });
  assert.equal(done.nextExpectedRevision, 99n);
  const raw = binaryEvent({ type: "Raw", data: Buffer.from([255, 0]), metadata: new Uint8Array([1, 2]) });
  await client.appendToStream(stream, raw, { streamState: 99n });
  const read = await all(client.readStream(stream));
  assert.deepEqual(read.map((event) => event.id), [...events, raw].map((event) => event.id));
  assert.equal(read[7].data.n, 7);
  assert.deepEqual([...read[100].data], [255, 0]);
  const back = await all(client.readStream(stream, { direction: BACKWARDS, fromRevision: END, maxCount: 2 }));
  assert.deepEqual(back.map((event) => event.revision), [100n, 99n]);
  const some = await all(client.readStream(stream, { fromRevision: 98n }));
  assert.equal(some.length, 3);
  const newest = await all(client.readAll({ direction: BACKWARDS, fromPosition: END, maxCount: 1 }));
  assert.equal(newest[0].id, raw.id);
}

async function failsOnWrongVersions() {
  const stream = `js-${run}-b`;
  await client.appendToStream(stream, event("Opened", 1), { streamState: NO_STREAM });
  await assert.rejects(client.appendToStream(stream, event("Opened", 2), { streamState: NO_STREAM }), WrongExpectedVersionError);
  await assert.rejects(client.appendToStream(stream, event("Opened", 2), { streamState: 9n }), WrongExpectedVersionError);
  await assert.rejects(all(client.readStream(`js-${run}-none`)), StreamNotFoundError);
}

/// Reads a subscription until `wanted` events have come; answers their numbers and how many checkpoints came between.
async function until(subscription, wanted) {
  const numbers = [];
  let marks = 0;
  let last;
  subscription.on("checkpointReached", (_, position) => { marks += 1; last = position; });
  for await (const { event } of subscription) {
    numbers.push(event.data.n);
    last = event.position ?? last;
    if (numbers.length === wanted) break;
  }
  await subscription.unsubscribe();
  return { numbers, marks, last };
}

async function subscribes() {
  const stream = `js-${run}-c`;
  const [before] = await all(client.readAll({ direction: BACKWARDS, fromPosition: END, maxCount: 1 }));
  for (let n = 0; n < 40; n += 1) {
    await client.appendToStream(stream, event(n % 2 ? "Odd" : "Even", n), { streamState: ANY });
  }
  const evens = await until(
    client.subscribeToAll({
      fromPosition: before.position,
      filter: eventTypeFilter({ prefixes: ["Even"], maxSearchWindow: 10, checkpointInterval: 1 }),
    }), 20);
  assert.deepEqual(evens.numbers, Array.from({ length: 20 }, (_, n) => 2 * n));
  assert.ok(evens.marks >= 3, `${evens.marks} checkpoints`);
  const live = until(
    client.subscribeToAll({ fromPosition: evens.last, filter: streamNameFilter({ regex: `^js-${run}-c$` }) }), 2);
  await client.appendToStream(stream, event("Odd", 41), { streamState: ANY });
  assert.deepEqual((await live).numbers, [39, 41]);
  const followed = await until(client.subscribeToStream(stream, { fromRevision: START }), 41);
  assert.equal(followed.numbers.length, 41);
}

async function deletes() {
  const stream = `js-${run}-d`;
  await client.appendToStream(stream, [0, 1, 2].map((n) => event("Opened", n)), { streamState: NO_STREAM });
  await client.setStreamMetadata(stream, { maxCount: 2 });
  assert.equal((await client.getStreamMetadata(stream)).metadata.maxCount, 2);
  assert.deepEqual((await all(client.readStream(stream))).map((event) => event.data.n), [1, 2]);
  await client.deleteStream(stream, { expectedRevision: 2n });
  await assert.rejects(all(client.readStream(stream)), StreamNotFoundError);
  await client.appendToStream(stream, event("Again", 3), { streamState: ANY });
  assert.equal((await all(client.readStream(stream)))[0].revision, 3n);
  await client.tombstoneStream(stream);
  await assert.rejects(all(client.readStream(stream)), StreamDeletedError);
  await assert.rejects(client.appendToStream(stream, event("Never", 4), { streamState: ANY }), StreamDeletedError);
}

for (const check of [appendsAndReads, failsOnWrongVersions, subscribes, deletes]) {
  await check();
  console.log(`node client: ${check.name}`);
}
await client.dispose();
process.exit(0);
