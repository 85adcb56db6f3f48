// One photograph on the page: from the upload to the cut-out, or to what went wrong.

import { imageUrls } from "./backend.js";
import { makeMovable } from "./divider.js";
import { removeBackground } from "./documents.js";
import { request } from "./graphql.js";

const template = document.getElementById("card");
const announcements = document.getElementById("announcements");
let counter = 0;

export class Card {
  /** Make a card; a photograph that is added here brings its `file`, a row from elsewhere doesn't. */
  constructor({ file, name, onRetry }) {
    this.element = template.content.firstElementChild.cloneNode(true);
    this.name = name ?? `Photograph ${++counter}`;
    this.onRetry = onRetry; // of an upload that never became a row
    this.part("title").textContent = this.name;
    this.part("divider").setAttribute("aria-label", `Divider of ${this.name}`);
    this.part("cutout").alt = `${this.name} without its background`;
    this.part("original").alt = this.name;
    this.part("original").addEventListener("load", ({ target }) => {
      URL.revokeObjectURL(target.src); // of a file; the picture is drawn
      this.setShape(target.naturalWidth, target.naturalHeight);
    });
    this.part("original").addEventListener("error", () => {
      this.element.dataset.picture = "none";
    });
    if (file) this.showSource(URL.createObjectURL(file));
    makeMovable(this.part("frame"), this.part("divider"));
    this.part("again").addEventListener("click", () => (this.row ? this.runAgain() : onRetry()));
    this.part("download").addEventListener("click", () => this.download());
  }

  part(name) {
    return this.element.querySelector(`.${name}`);
  }

  /** Show a phase in words: waiting, uploading, pending, done or failed. */
  setPhase(phase, words = "") {
    this.element.dataset.phase = phase;
    this.element.setAttribute("aria-busy", ["waiting", "uploading", "pending"].includes(phase));
    this.part("phase").textContent = words;
    this.part("error").hidden = phase !== "failed";
    this.part("actions").hidden = !["done", "failed"].includes(phase);
    this.part("download").hidden = phase !== "done";
    this.part("facts").hidden = phase !== "done";
    this.part("again").textContent = phase === "failed" ? "Try again" : "Run again";
    this.part("divider").hidden = phase !== "done";
    this.element.querySelector("progress").hidden = phase !== "uploading";
  }

  setProgress(fraction) {
    this.setPhase("uploading", `Uploading, ${Math.round(fraction * 100)} %`);
    this.element.querySelector("progress").value = fraction;
  }

  /** Show what went wrong, and the code to look it up by; a cut-out that is there stays. */
  setError({ message, code }) {
    if (this.row?.status !== "done") this.setPhase("failed");
    this.part("error").hidden = false;
    this.part("error-text").textContent = message;
    this.part("error-code").textContent = code ?? "no-answer";
    this.part("note").hidden = true;
    announcements.textContent = `${this.name} failed: ${message}`;
  }

  /** Show the row as Hasura has it. */
  async setRow(row) {
    const changed = row.status !== this.row?.status || row.processed_at !== this.row?.processed_at;
    this.row = row;
    if (!changed) return;
    if (row.status === "pending") {
      this.setPhase("pending", "Removing the background");
      if (!this.part("original").src) this.showSource((await imageUrls(row.id)).source);
    } else if (row.status === "failed") {
      this.setError({ message: row.error_message, code: row.error_code });
      if (!this.part("original").src) this.showSource((await imageUrls(row.id)).source);
    } else {
      await this.showResult(row);
    }
  }

  async showResult(row) {
    this.setShape(row.width, row.height);
    this.part("size").textContent = `${row.width} × ${row.height}`;
    this.part("time").textContent = seconds(Date.parse(row.processed_at) - Date.parse(row.created_at));
    this.part("coverage").textContent = `${Math.round(row.coverage * 100)} %`;
    const { source, cutout } = await imageUrls(row.id);
    if (!this.part("original").src) this.showSource(source);
    this.part("cutout").src = cutout;
    await this.part("cutout").decode();
    if (this.row !== row) return; // a newer one has come meanwhile
    this.setPhase("done");
    announcements.textContent = `${this.name} is done`;
  }

  /** Have the job done again, and its result in the answer: what the mutation is for. */
  async runAgain() {
    const started = performance.now();
    this.part("again").disabled = true;
    this.part("error").hidden = this.row.status === "done";
    try {
      await request(removeBackground, { id: this.row.id });
      this.part("note").textContent =
        `removeBackground answered in ${seconds(performance.now() - started)}.`;
      this.part("note").hidden = false;
    } catch (error) {
      this.setError(error);
    } finally {
      this.part("again").disabled = false;
    }
  }

  async download() {
    location.assign((await imageUrls(this.row.id)).download); // asked anew: such URLs expire
  }

  showSource(url) {
    this.part("original").src = url;
  }

  setShape(width, height) {
    this.part("frame").style.setProperty("--ratio", width / height);
  }
}

function seconds(milliseconds) {
  return milliseconds < 100 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}
