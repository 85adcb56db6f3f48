// The page put together: files in, one card per photograph, rows from the subscription.

import { listSamples, session } from "./backend.js";
import { Card } from "./card.js";
import { watchImages } from "./documents.js";
import { subscribe } from "./graphql.js";
import { setUpPanel } from "./panel.js";
import { addPhotograph } from "./upload.js";

const UPLOADS_AT_ONCE = 3;
const gallery = document.getElementById("gallery");
const cards = new Map(); // by the row's id
const waiting = [];
let uploading = 0;

/** Show a photograph at once, and upload it when its turn comes. */
function add(file, name = file.name) {
  const card = new Card({ file, name, onRetry: () => queue(card, file) });
  place(card);
  queue(card, file);
}

function queue(card, file) {
  card.setPhase("waiting", "Waiting for its turn");
  waiting.push([card, file]);
  uploadNext();
}

async function uploadNext() {
  if (uploading >= UPLOADS_AT_ONCE || !waiting.length) return;
  const [card, file] = waiting.shift();
  uploading += 1;
  try {
    card.setProgress(0);
    await addPhotograph(file, {
      onId: (id) => cards.set(id, card),
      onProgress: (fraction) => card.setProgress(fraction),
    });
    if (!card.row) card.setPhase("pending", "Row inserted, waiting for its event");
  } catch (error) {
    card.setError(error);
  } finally {
    uploading -= 1;
    uploadNext();
  }
}

function place(card) {
  gallery.prepend(card.element);
  document.getElementById("empty").hidden = true;
}

/** Bring the cards to where the rows are; rows may also come from another tab. */
function showRows({ images }) {
  for (const row of images.toReversed()) {
    if (!cards.has(row.id)) {
      const card = new Card({});
      cards.set(row.id, card);
      place(card);
    }
    const card = cards.get(row.id);
    card.setRow(row).catch((error) => card.setError(error));
  }
}

function showConnection(state) {
  const connection = document.getElementById("connection");
  connection.dataset.state = state;
  connection.textContent = state === "live" ? "Live" : "Reconnecting";
}

function takeFiles() {
  const drop = document.getElementById("drop");
  const input = document.getElementById("files");
  const addAll = (files) => [...files].forEach((file) => add(file));
  input.addEventListener("change", () => {
    addAll(input.files);
    input.value = "";
  });
  // Anywhere on the page: a photograph that misses the field must not replace the page.
  let depth = 0;
  const over = (change) => (drop.dataset.over = (depth += change) > 0);
  addEventListener("dragenter", () => over(1));
  addEventListener("dragleave", () => over(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    over(-depth);
    addAll(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => addAll(event.clipboardData.files));
}

async function offerSamples() {
  for (const { name, url } of await listSamples()) {
    const picture = Object.assign(new Image(), { src: url, alt: name, loading: "lazy" });
    const button = Object.assign(document.createElement("button"), { type: "button" });
    button.append(picture);
    button.addEventListener("click", async () => add(await (await fetch(url)).blob(), name));
    const item = document.createElement("li");
    item.append(button);
    document.getElementById("samples").append(item);
  }
}

function offerBackdrops() {
  const colour = document.getElementById("colour");
  const choose = () => {
    const { value } = document.querySelector("input[name=backdrop]:checked");
    gallery.dataset.backdrop = value;
    colour.hidden = value !== "colour";
    document.documentElement.style.setProperty("--chosen", colour.value);
  };
  document.getElementById("backdrops").addEventListener("input", choose);
  choose(); // a reloaded page may keep the former choice
}

setUpPanel();
takeFiles();
offerBackdrops();
offerSamples();
subscribe(watchImages, { onData: showRows, onState: showConnection });
const { upload_types: types, upload_formats: formats, max_upload_bytes: limit } = await session();
document.getElementById("files").accept = types.join();
document.getElementById("limits").textContent = `${formats}, up to ${limit / 2 ** 20} MB each`;
