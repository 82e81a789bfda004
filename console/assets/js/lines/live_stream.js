// The stream of live lines: one connection for all pages that ask the same. It works in a SharedWorker, where all tabs share it,
// and in a page, where there are none.

import { refusal } from "../base/api.js";

/** Different questions at one time: a browser has six connections to a host, and pages need some. */
const STREAMS_MAX = 4;

/** After so long a stream that the server did not give is asked for again. */
const OPEN_AGAIN_MS = 5_000;

/**
 * @typedef {{type: "lines", data: any} | {type: "open"} | {type: "lost", since: number} | {type: "back", since: number} | {type: "refused", text: string}} StreamNews
 */

class Stream {
  /** @param {string} address */
  constructor(address) {
    this.address = address;
    /** @type {Set<(news: StreamNews) => void>} */
    this.listeners = new Set();
    /** When the last word came; while the connection is lost, since when. */
    this.lastWord = Date.now();
    this.isLost = false;
    this.isClosed = false;
    this.timer = 0;
    this.source = this.open(false);
  }

  /** @param {boolean} isAnew  whether there was a connection before, of which the server does not know */
  open(isAnew) {
    const source = new EventSource(this.address);
    source.onopen = () => {
      if (isAnew) {
        const hole = { since: new Date(this.lastWord).toISOString(), until: new Date().toISOString(), lines: null };
        this.tell({ type: "lines", data: { holes: [hole] } });
        isAnew = false;
      }
      if (this.isLost) this.tell({ type: "back", since: this.lastWord });
      else this.tell({ type: "open" });
      this.isLost = false;
      this.lastWord = Date.now();
    };
    source.onmessage = (event) => {
      this.lastWord = Date.now();
      this.tell({ type: "lines", data: JSON.parse(event.data) });
    };
    source.onerror = () => {
      if (!this.isLost) {
        this.isLost = true;
        this.tell({ type: "lost", since: this.lastWord });
      }
      // The browser tries again by itself, but not after an answer that is no stream.
      if (source.readyState === EventSource.CLOSED) this.openAgain();
    };
    return source;
  }

  /** Opens the stream anew after a while, unless the console refuses it for good. */
  async openAgain() {
    const why = await refusal(this.address);
    if (this.isClosed) return;
    if (why === null) {
      this.timer = setTimeout(() => { this.source = this.open(true); }, OPEN_AGAIN_MS);
      return;
    }
    // Who asks again gets a stream of its own.
    this.close();
    this.tell({ type: "refused", text: why });
  }

  close() {
    this.isClosed = true;
    clearTimeout(this.timer);
    this.source.close();
    if (streams.get(this.address) === this) streams.delete(this.address);
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
  } else if (stream.isLost) {
    listener({ type: "lost", since: stream.lastWord });
  }
  const found = stream;
  found.listeners.add(listener);
  return () => {
    found.listeners.delete(listener);
    if (found.listeners.size === 0) found.close();
  };
}
