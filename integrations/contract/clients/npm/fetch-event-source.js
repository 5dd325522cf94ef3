// The package `@microsoft/fetch-event-source`: node fetch-event-source.js URL
import { fetchEventSource } from "@microsoft/fetch-event-source";

// It is made for browsers: this is what it takes from one.
globalThis.window = globalThis;
globalThis.document = Object.assign(new EventTarget(), { hidden: false });

const [url] = process.argv.slice(2);
await fetchEventSource(url, {
  onmessage({ id, event, data }) {
    console.log(JSON.stringify({ id, event: event || "message", data }));
  },
  onclose() {
    // A clean end would be the last of it otherwise.
    throw new Error("the server ended the stream");
  },
});
