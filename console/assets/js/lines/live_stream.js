// The stream of live lines: one connection for all pages that ask the same. It works in a SharedWorker, where all tabs share it,
// and in a page, where there are none.

/** Different questions at one time: a browser has six connections to a host, and pages need some. */
const STREAMS_MAX = 4;

/**
 * @typedef {{type: "lines", data: any} | {type: "open"} | {type: "lost", since: number} | {type: "back", since: number} | {type: "refused", text: string}} StreamNews
 */

class Stream {
  /** @param {string} address */
  constructor(address) {
    /** @type {Set<(news: StreamNews) => void>} */
    this.listeners = new Set();
    /** When the last word came; while the connection is lost, since when. */
    this.lastWord = Date.now();
    this.isLost = false;
    this.source = new EventSource(address);
    this.source.onopen = () => {
      if (this.isLost) this.tell({ type: "back", since: this.lastWord });
      else this.tell({ type: "open" });
      this.isLost = false;
      this.lastWord = Date.now();
    };
    this.source.onmessage = (event) => {
      this.lastWord = Date.now();
      this.tell({ type: "lines", data: JSON.parse(event.data) });
    };
    this.source.onerror = () => {
      if (this.source.readyState === EventSource.CLOSED) {
        this.tell({ type: "refused", text: "The console ends this stream: log in again, or correct the filter." });
      } else if (!this.isLost) {
        this.isLost = true;
        this.tell({ type: "lost", since: this.lastWord });
      }
    };
  }

  /** @param {StreamNews} news */
  tell(news) {
    for (const listener of this.listeners) listener(news);
  }
}

/** @type {Map<string, Stream>} */
const streams = new Map();

/**
 * Listens to a stream. The answer ends it.
 * @param {string} address
 * @param {(news: StreamNews) => void} listener
 * @returns {() => void}
 */
export function listen(address, listener) {
  let stream = streams.get(address);
  if (!stream) {
    if (streams.size >= STREAMS_MAX) {
      listener({ type: "refused", text: `There are ${STREAMS_MAX} live pages with different filters already; close one.` });
      return () => {};
    }
    stream = new Stream(address);
    streams.set(address, stream);
  } else if (stream.source.readyState === EventSource.OPEN) {
    listener({ type: "open" });
  }
  const found = stream;
  found.listeners.add(listener);
  return () => {
    found.listeners.delete(listener);
    if (found.listeners.size === 0) {
      found.source.close();
      streams.delete(address);
    }
  };
}
