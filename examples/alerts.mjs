// Prints every alert once, and goes on where it stopped. Usage: node alerts.mjs URI PLACE_FILE
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.NODE_HOME ?? process.cwd(), "package.json"));
const { KurrentDBClient, START, eventTypeFilter } = require("@kurrent/kurrentdb-client");
const [uri, place] = process.argv.slice(2);

// The new place is whole or not there: a crash here repeats one alert and loses none.
const keep = (commit) => {
  writeFileSync(`${place}.new`, commit.toString());
  renameSync(`${place}.new`, place);
};

const at = existsSync(place) ? BigInt(readFileSync(place, "utf8")) : undefined;
const client = KurrentDBClient.connectionString(uri);
const alerts = client.subscribeToAll({
  fromPosition: at === undefined ? START : { commit: at, prepare: at },
  filter: eventTypeFilter({ prefixes: ["AlertScored"], checkpointReached: (_, position) => keep(position.commit) }),
});
for await (const { event } of alerts) {
  console.log(event.id, event.streamId.replace(/^intent-/, ""), event.data.modelType, event.data.priority);
  keep(event.position.commit);
}
