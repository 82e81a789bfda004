// The worker that all live pages of a browser share. A page says which stream it wants, and that it is still there.

import { listen } from "./live_stream.js";

/**
 * The stream of a page that says nothing for so long is ended: a browser does not tell when a tab is closed. Timers of a hidden tab
 * run once a minute.
 */
const GONE_AFTER_MS = 150_000;

// @ts-ignore: the type of a worker's own scope is not among those of pages.
self.onconnect = (/** @type {MessageEvent} */ event) => {
  const port = event.ports[0];
  if (!port) return;
  /**
   * Ends the stream; null if there is none.
   * @type {(() => void) | null}
   */
  let stop = null;
  /** When the page was there, or got something. */
  let lastSeen = Date.now();
  let lastNews = lastSeen;
  let watch = 0;
  const silence = () => {
    clearInterval(watch);
    stop?.();
    stop = null;
  };
  const hear = (/** @type {string} */ address) => {
    silence();
    stop = listen(address, (news) => {
      lastNews = Date.now();
      port.postMessage(news);
    });
    watch = setInterval(() => {
      if (Date.now() - lastSeen > GONE_AFTER_MS) silence();
    }, 10_000);
  };
  port.onmessage = ({ data }) => {
    const since = Math.max(lastSeen, lastNews);
    lastSeen = Date.now();
    if (data.type === "listen") {
      hear(data.address);
    } else if (data.type === "here" && !stop && data.address) {
      // The page was silent, as of a computer that slept: it goes on, and is told what it has not got.
      const hole = { since: new Date(since).toISOString(), until: new Date(lastSeen).toISOString(), lines: null };
      hear(data.address);
      port.postMessage({ type: "lines", data: { holes: [hole] } });
    } else if (data.type === "end") {
      silence();
      port.close();
    }
  };
};
