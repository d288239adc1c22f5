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
  AccessDeniedError, PARK, RETRY, SKIP, persistentSubscriptionToStreamSettingsFromDefaults, persistentSubscriptionToAllSettingsFromDefaults,
  PersistentSubscriptionDoesNotExistError, PersistentSubscriptionExistsError, PersistentSubscriptionMaximumSubscribersReachedError,
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

/// Reads a subscription until `wanted` events have come; answers their numbers and the position of the last.
async function until(subscription, wanted) {
  const numbers = [];
  let last;
  for await (const { event } of subscription) {
    numbers.push(event.data.n);
    last = event.position ?? last;
    if (numbers.length === wanted) break;
  }
  await subscription.unsubscribe();
  return { numbers, last };
}

async function subscribes() {
  const stream = `js-${run}-c`;
  const [before] = await all(client.readAll({ direction: BACKWARDS, fromPosition: END, maxCount: 1 }));
  for (let n = 0; n < 40; n += 1) {
    await client.appendToStream(stream, event(n % 2 ? "Odd" : "Even", n), { streamState: ANY });
  }
  const marks = [];
  const checkpointReached = (_, position) => marks.push(position.commit);
  const evens = await until(
    client.subscribeToAll({
      fromPosition: before.position,
      filter: eventTypeFilter({ prefixes: ["Even"], maxSearchWindow: 10, checkpointInterval: 1, checkpointReached }),
    }), 20);
  assert.deepEqual(evens.numbers, Array.from({ length: 20 }, (_, n) => 2 * n));
  assert.ok(marks.length >= 3 && marks.every((at, n) => n === 0 || at > marks[n - 1]), `checkpoints ${marks}`);
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

async function mayOnlyRead() {
  if (!process.env.READER) return;
  const reader = KurrentDBClient.connectionString(process.env.READER);
  assert.equal((await all(reader.readStream(`js-${run}-b`))).length, 1);
  await assert.rejects(reader.appendToStream(`js-${run}-b`, event("X", 1), { streamState: ANY }), AccessDeniedError);
  await reader.dispose();
}

/// Consumes up to an event; answers numbers and how often each had come before. The last one's settling may not get through.
async function consume(stream, group, last, settle) {
  const taken = [];
  const subscription = client.subscribeToPersistentSubscriptionToStream(stream, group, { bufferSize: 1 });
  for await (const resolved of subscription) {
    const { n } = resolved.event.data;
    taken.push([n, resolved.retryCount]);
    await settle(subscription, resolved, n);
    if (n === last) break;
  }
  await subscription.unsubscribe();
  return taken;
}

async function becomes(holds) {
  const end = Date.now() + 10_000;
  while (!(await holds())) {
    assert.ok(Date.now() < end, "it never was so");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function consumesInGroups() {
  const [stream, group] = [`js-${run}-e`, `group-${run}`];
  await client.appendToStream(stream, Array.from({ length: 10 }, (_, n) => event("Job", n)), { streamState: NO_STREAM });
  const ack = (subscription, resolved) => subscription.ack(resolved);
  await assert.rejects(consume(stream, group, 1, ack), PersistentSubscriptionDoesNotExistError);
  const settings = persistentSubscriptionToStreamSettingsFromDefaults({
    startFrom: START, maxRetryCount: 1, maxSubscriberCount: 1, checkPointLowerBound: 1, checkPointUpperBound: 1,
  });
  await client.createPersistentSubscriptionToStream(stream, group, settings);
  await assert.rejects(client.createPersistentSubscriptionToStream(stream, group, settings), PersistentSubscriptionExistsError);
  const known = () => client.getPersistentSubscriptionToStreamInfo(stream, group);
  const taken = await consume(stream, group, 5, async (subscription, resolved, n) => {
    if (n === 2) await subscription.nack(PARK, "later", resolved);
    else if (n === 3) await subscription.nack(RETRY, "again", resolved);
    else if (n === 4) await subscription.nack(SKIP, "never", resolved);
    else await subscription.ack(resolved);
  });
  assert.deepEqual(taken.slice(0, 5), [[0, 0], [1, 0], [2, 0], [3, 0], [3, 1]]);
  await becomes(async () => (await known()).stats.parkedMessageCount === 2n && (await known()).connections.length === 0);
  assert.deepEqual((await known()).settings.startFrom, START);
  const rest = await consume(stream, group, 9, async (subscription, resolved) => {
    await assert.rejects(consume(stream, group, 1, ack), PersistentSubscriptionMaximumSubscribersReachedError);
    await subscription.ack(resolved);
  });
  assert.deepEqual(rest.map(([n]) => n).slice(-4), [6, 7, 8, 9]);
  await client.replayParkedMessagesToStream(stream, group);
  const back = await consume(stream, group, 3, async (subscription, resolved, n) => {
    await subscription.ack(resolved);
    if (n === 3) await becomes(async () => (await known()).stats.parkedMessageCount === 0n);
  });
  assert.deepEqual(back.map(([n]) => n).slice(-2), [2, 3]);
  assert.equal((await client.listPersistentSubscriptionsToStream(stream)).length, 1);
  await client.deletePersistentSubscriptionToStream(stream, group);

  const toAll = persistentSubscriptionToAllSettingsFromDefaults({ consumerStrategyName: "PinnedByCorrelation" });
  await client.createPersistentSubscriptionToAll(group, toAll, { filter: eventTypeFilter({ prefixes: ["Job"] }) });
  await client.appendToStream(stream, [event("Other", 90), event("Job", 91)], { streamState: ANY });
  for await (const resolved of client.subscribeToPersistentSubscriptionToAll(group)) {
    assert.equal(resolved.event.data.n, 91);
    break;
  }
  await client.deletePersistentSubscriptionToAll(group);
}

async function discovers() {
  const found = KurrentDBClient.connectionString(process.argv[2].replace("://", "+discover://"));
  const stream = `js-${run}-g`;
  await found.appendToStream(stream, event("Opened", 1), { streamState: NO_STREAM });
  assert.equal((await all(found.readStream(stream)))[0].data.n, 1);
  for await (const { event } of found.subscribeToStream(stream, { fromRevision: START })) {
    assert.equal(event.data.n, 1);
    break;
  }
  await found.dispose();
}

for (const check of [appendsAndReads, failsOnWrongVersions, subscribes, deletes, consumesInGroups, discovers, mayOnlyRead]) {
  await check();
  console.log(`node client: ${check.name}`);
}
await client.dispose();
process.exit(0);
