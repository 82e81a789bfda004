// The worker that all live pages of a browser share. A page says which stream it wants, and that it is still there.

import { listen } from "./live_stream.js";

/** A page that says nothing for so long is gone: a browser does not tell when a tab is closed. */
const GONE_AFTER_MS = 45_000;

// @ts-ignore: the type of a worker's own scope is not among those of pages.
self.onconnect = (/** @type {MessageEvent} */ event) => {
  const port = event.ports[0];
  if (!port) return;
  let stop = () => {};
  let lastSeen = Date.now();
  const watch = setInterval(() => {
    if (Date.now() - lastSeen > GONE_AFTER_MS) end();
  }, 10_000);
  const end = () => {
    clearInterval(watch);
    stop();
    port.close();
  };
  port.onmessage = ({ data }) => {
    lastSeen = Date.now();
    if (data.type === "listen") {
      stop();
      stop = listen(data.address, (news) => port.postMessage(news));
    } else if (data.type === "end") {
      end();
    }
  };
};
