// The `EventSource` of the package `undici`: node undici.js URL NAME...
import { EventSource } from "undici";

const [url, ...names] = process.argv.slice(2);
const source = new EventSource(url);
for (const name of names) {
  source.addEventListener(name, ({ lastEventId, type, data }) => {
    console.log(JSON.stringify({ id: lastEventId, event: type, data }));
  });
}

// A source that waits to reconnect does not keep Node running, as the rest of an app would.
setInterval(() => {}, 60_000);
