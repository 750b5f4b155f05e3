"use strict";
const $ = id => document.getElementById(id);
const canvas = $("canvas"), pen = canvas.getContext("2d", { willReadFrequently: true });
const FIRST = ["guidance", "mask_guidance"];  // settings beside the seed; the others are below "More options"
const MOST_BYTES = 45e6, MOST_UNDO = 30;
let generators = [], offer = null, labels = new Uint8Array(0), before = [], file = null, stroke = null;

// The mask: one label a pixel. What the canvas shows is drawn from it and never read back.
function show() {
  const side = offer.size_px, picture = pen.createImageData(side, side);
  labels.forEach((label, place) => {
    picture.data.fill(offer.greys[label], 4 * place, 4 * place + 3);
    picture.data[4 * place + 3] = 255;
  });
  pen.putImageData(picture, 0, 0);
  $("hint").hidden = Boolean(file) || labels.some(label => label) || Boolean(stroke);
}

function resized(old, side) {
  const from = Math.sqrt(old.length), to = new Uint8Array(side * side);
  for (let y = 0; y < side && from; y++) for (let x = 0; x < side; x++) {
    const label = old[Math.floor((y + .5) * from / side) * from + Math.floor((x + .5) * from / side)];
    to[y * side + x] = label < offer.greys.length ? label : 0;
  }
  return to;
}

function paint(label, path, inside) {
  const side = offer.size_px, xs = path.map(point => point[0]), ys = path.map(point => point[1]), edge = width() + 1;
  const shape = new Path2D();
  path.forEach(([x, y], number) => number ? shape.lineTo(x, y) : shape.moveTo(x, y));
  if (path.length === 1) shape.lineTo(path[0][0] + .01, path[0][1]);
  Object.assign(pen, { lineWidth: width(), lineCap: "round", lineJoin: "round" });
  const [left, right] = [Math.min(...xs) - edge, Math.max(...xs) + edge].map(x => Math.min(side, Math.max(0, Math.round(x))));
  const [top, bottom] = [Math.min(...ys) - edge, Math.max(...ys) + edge].map(y => Math.min(side, Math.max(0, Math.round(y))));
  for (let y = top; y < bottom; y++) for (let x = left; x < right; x++)
    if (inside ? pen.isPointInPath(shape, x + .5, y + .5) : pen.isPointInStroke(shape, x + .5, y + .5)) labels[y * side + x] = label;
}

const tool = () => document.querySelector("input[name=tool]:checked").value;
const width = () => Math.max(1, $("width").value / 400 * offer.size_px);
const chosen = () => tool() === "erase" ? 0 : $("class").selectedIndex + 1;

function point(event) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width * offer.size_px, (event.clientY - box.top) / box.height * offer.size_px];
}

function remember() {
  before = [...before.slice(1 - MOST_UNDO), labels.slice()];
}

canvas.addEventListener("pointerdown", event => {
  if (!offer || file || event.button) return;
  canvas.setPointerCapture(event.pointerId);
  remember();
  stroke = [point(event)];
  if (tool() !== "outline") paint(chosen(), stroke, false);
  show();
});
canvas.addEventListener("pointermove", event => {
  if (!stroke) return;
  stroke.push(point(event));
  if (tool() !== "outline") paint(chosen(), stroke.slice(-2), false);
  show();
  if (tool() !== "outline") return;
  pen.beginPath();
  stroke.forEach(([x, y]) => pen.lineTo(x, y));
  Object.assign(pen, { strokeStyle: "#0ff", lineWidth: Math.max(1, offer.size_px / 128) });
  pen.stroke();
});
for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => {
  if (!stroke) return;
  if (tool() === "outline") paint(chosen(), stroke, true);
  stroke = null;
  show();
});
$("undo").addEventListener("click", () => { labels = before.pop() || labels; show(); });
$("clear").addEventListener("click", () => { remember(); labels = new Uint8Array(labels.length); useFile(null); });

// A file goes to the generator as it is; the canvas only shows it.
async function useFile(picked) {
  file = picked;
  if (!picked) $("file").value = "";
  $("file-name").hidden = !picked;
  show();
  if (!picked) return;
  $("file-name").textContent = `${picked.name} is used as it is; Clear goes back to drawing.`;
  try {
    const picture = await createImageBitmap(picked);
    Object.assign(pen, { imageSmoothingEnabled: false });
    pen.drawImage(picture, 0, 0, offer.size_px, offer.size_px);
  } catch {
    $("file-name").textContent += " This browser cannot show it.";
  }
}
$("file").addEventListener("change", () => useFile($("file").files[0] || null));

function choose() {
  offer = generators.find(generator => generator.name === $("generator").value);
  canvas.width = canvas.height = offer.size_px;
  [labels, before] = [resized(labels, offer.size_px), []];
  $("class").replaceChildren(...offer.classes.map(name => new Option(name)));
  $("class-row").hidden = offer.classes.length < 2;
  document.querySelectorAll("[data-setting]").forEach(input => input.parentElement.remove());
  for (const setting of offer.settings) {
    const input = document.createElement(setting.choices.length ? "select" : "input"), label = document.createElement("label");
    if (setting.choices.length) input.append(...setting.choices.map(choice => new Option(choice)));
    else Object.assign(input, { type: "text", inputMode: "decimal" });
    input.value = input.dataset.was = setting.value;
    input.dataset.setting = setting.name;
    label.append(setting.name.replaceAll("_", " ") + " ", input);
    label.title = setting.text;
    $(FIRST.includes(setting.name) ? "numbers" : "more").append(label);
  }
  useFile(file);
}
$("generator").addEventListener("change", choose);

function base64(bytes) {
  return new Promise(done => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.split(",")[1] || "");
    reader.readAsDataURL(new Blob([bytes]));
  });
}

async function wanted() {
  const settings = {};
  document.querySelectorAll("[data-setting]").forEach(input => {
    if (input.value.trim() !== input.dataset.was) settings[input.dataset.setting] = input.value.trim();
  });
  const form = { generator: offer.name, seed: $("seed").valueAsNumber, settings, reading: $("reading").value };
  return file ? { ...form, file: await base64(file), name: file.name } : { ...form, labels: await base64(labels) };
}

function say({ title, lines }) {
  const heading = document.createElement("p"), list = document.createElement("ul");
  heading.textContent = title;
  list.append(...lines.map(line => Object.assign(document.createElement("li"), { textContent: line })));
  $("problem").replaceChildren(heading, ...(lines.length ? [list] : []));
  $("problem").hidden = false;
  $("shown").hidden = true;
  document.querySelector("details").open ||= Boolean(file);  // where it can be said how a file is read
  $("problem").scrollIntoView({ block: "nearest" });
}

function present(made, form) {
  $("image").src = made.image;
  $("image-text").textContent = `${form.generator}, seed ${form.seed}`;
  for (const name of ["outlines", "nearest"]) {
    if (made[name].picture) $(name).src = made[name].picture; else $(name).removeAttribute("src");
    $(`${name}-text`).textContent = made[name].text;
  }
  $("notes").replaceChildren(...made.notes.map(note => Object.assign(document.createElement("li"), { textContent: note })));
  URL.revokeObjectURL($("download").href);
  const bytes = Uint8Array.from(atob(made.zip), letter => letter.charCodeAt(0));
  Object.assign($("download"), { href: URL.createObjectURL(new Blob([bytes], { type: "application/zip" })), download: made.file });
  $("command").textContent = made.command;
  $("mask-name").textContent = "file" in form ? made.mask : `${made.mask}, the mask of the pair`;
  [$("shown").hidden, $("problem").hidden] = [false, true];
}

async function ask(path, options) {
  try {
    const answer = await fetch(path, options), said = await answer.json();
    if (answer.ok) return said;
    say(said);
  } catch {
    say({ title: "The page gets no answer: its command has ended, or the way to it is cut.", lines: ["start siamese-pairs demo again"] });
  }
  return null;
}

$("form").addEventListener("submit", async event => {
  event.preventDefault();
  if (file && file.size > MOST_BYTES) return say({ title: `${file.name} is too large: at most ${MOST_BYTES / 1e6} MB are taken.`, lines: [] });
  const began = Date.now(), tick = () => { $("status").textContent = `Making the image: ${Math.round((Date.now() - began) / 1000)} s`; };
  const clock = setInterval(tick, 1000);
  [$("make").disabled, $("problem").hidden, $("status").hidden] = [true, true, false];
  tick();
  const form = await wanted();
  const made = await ask("pair", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(form) });
  clearInterval(clock);
  [$("make").disabled, $("status").hidden] = [false, true];
  if (made) present(made, form);
  if (made && matchMedia("(max-width: 60rem)").matches) $("result").scrollIntoView({ behavior: "smooth" });
});

ask("generators").then(said => {
  if (!said) return;
  generators = said.generators;
  $("generator").append(...generators.map(({ name }) => new Option(name)));
  for (const [name, why] of Object.entries(said.refused)) {
    $("generator").append(Object.assign(new Option(`${name} (not here)`), { disabled: true, title: why }));
  }
  choose();
  $("make").disabled = false;
});
