// What the reader chooses, and what is drawn. physics.js measures, networks.js reconstructs, reader.js reads files.
import { drawMask, measure, psnr } from "./physics.js";

const TRAINED = "trained";
const ERRORS = 3; // times that errors are enlarged
const at = (id) => document.getElementById(id);
const main = document.querySelector("main");

/** What is shown: the volume, the mask, and for the slice in view the images by name. */
export const shown = { name: "", volume: null, sampled: [], images: {}, ms: {} };
let about; // demo.json: the networks, and what they were trained on
let seed = 1;

// ---------------------------------------------------------------- what is measured

function chooseLines() {
  const pattern = at("pattern").value;
  const { height } = shown.volume;
  const trained = pattern === TRAINED;
  if (trained) at("acceleration").value = about.trained.acceleration;
  const fits = trained && height === about.trained.height;
  shown.sampled = fits
    ? Array.from({ length: height }, (_, k) => about.trained.lines.includes(k))
    : drawMask(height, Number(at("acceleration").value), trained ? "random" : pattern, seed);
  redraw();
}

/** In what this differs from the training data, a sentence. */
function unlike() {
  const { height, width } = shown.volume;
  const { trained } = about;
  const fits = height === trained.height && width === trained.width;
  const same = fits && count() === trained.lines.length && trained.lines.every((k) => shown.sampled[k]);
  const found = [
    !fits && `slices of ${height} x ${width} instead of ${trained.height} x ${trained.width}`,
    !same && `other lines than the ${trained.lines.length} of training`,
    shown.name && "an image that may show anything instead of one person's head",
  ].filter(Boolean);
  return found.length
    ? `Unlike in training: ${found.join("; ")}. Expect less of the networks.`
    : "These are the lines that the networks were trained with.";
}

const count = () => shown.sampled.filter(Boolean).length;

// ---------------------------------------------------------------- what is drawn

function draw(panel, image, text) {
  shown.images[panel] = image;
  const { height, width } = shown.volume;
  const canvas = at(panel).querySelector("canvas");
  Object.assign(canvas, { width, height });
  const pixels = new ImageData(width, height);
  const target = shown.images.full;
  const errors = at("errors").checked && panel !== "full";
  image.forEach((value, i) => {
    const grey = 255 * (errors ? ERRORS * Math.abs(value - target[i]) : value / shown.bright);
    pixels.data.set([grey, grey, grey, 255], 4 * i);
  });
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  caption(panel, text);
}

function caption(panel, [strong, ...rest]) {
  const bold = document.createElement("strong");
  bold.textContent = strong;
  at(panel)
    .querySelector("p")
    .replaceChildren(bold, ...rest.flatMap((text) => [document.createElement("br"), text]));
}

function drawLines() {
  const n = shown.sampled.length;
  const canvas = at("mask").querySelector("canvas");
  Object.assign(canvas, { width: shown.volume.width, height: n });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  for (let row = 0; row < n; row++) if (shown.sampled[lineAt(row)]) context.fillRect(0, row, canvas.width, 1);
  caption("mask", [`${count()} of ${n} lines`, `${(n / count()).toFixed(1)} times faster`]);
}

/** The line in a row of the picture, which has DC in the middle. */
const lineAt = (row) => (row + shown.sampled.length - (shown.sampled.length >> 1)) % shown.sampled.length;

const decibels = (image) => {
  const value = psnr(shown.images.full, image);
  return Number.isFinite(value) ? `${value.toFixed(2)} dB` : "no error";
};

// ---------------------------------------------------------------- networks

let worker;
function reconstruct(file, inputs) {
  worker ??= new Worker("networks.js", { type: "module" });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => (data.error ? reject(Error(data.error)) : resolve(data));
    worker.onerror = () => reject(Error("the networks cannot be loaded: expected WebAssembly, in a current browser"));
    worker.postMessage({ file, ...inputs });
  });
}

let [running, wanted] = [false, false];

/** Draw what is measured at once, and the networks' images as they come; a newer wish overtakes an older one. */
async function redraw() {
  const { volume } = shown;
  const { height, width } = volume;
  const slice = Number(at("slice").value);
  const image = volume.images.subarray(slice * height * width, (slice + 1) * height * width);
  shown.bright = image.reduce((most, value) => Math.max(most, value), 0) || 1;
  shown.inputs = { height, width, ...measure(image, height, width, shown.sampled) };
  at("factor").value = `${at("acceleration").value}x`;
  at("number").value = `${slice + 1} of ${volume.count}`;
  at("unlike").textContent = unlike();
  draw("full", image, [`${height} x ${width}`, shown.name || "slice of the sample"]);
  drawLines();
  draw("zero", shown.inputs.x_u, [decibels(shown.inputs.x_u), "missing lines are 0"]);

  main.setAttribute("aria-busy", "true");
  wanted = true;
  if (running) return;
  running = true;
  while (wanted) {
    wanted = false;
    for (const [panel, network] of [
      ["student-panel", at("student").value],
      ["teacher-panel", "teacher"],
    ]) {
      const { file, weights } = about.networks[network];
      try {
        const { image, ms } = await reconstruct(file, shown.inputs);
        if (wanted) break;
        shown.ms[panel] = ms;
        draw(panel, image, [decibels(image), `${ms.toFixed(0)} ms · ${Math.round(weights / 1000)} k weights`]);
      } catch (error) {
        say(error.message, true);
      }
    }
  }
  running = false;
  main.setAttribute("aria-busy", "false");
}

// ---------------------------------------------------------------- files

function say(text, wrong = false) {
  at("message").textContent = text;
  at("message").classList.toggle("wrong", wrong);
}

let reader;

/** Open a file in a worker of its own, which ends with it, or with the next one: a damaged file leaves nothing behind. */
function openFile(file, name = file.name) {
  say(`Reading ${file.name} ...`);
  reader?.terminate();
  reader = new Worker("reader.js", { type: "module" });
  const done = (error, volume) => {
    reader.terminate();
    say(error ?? "", Boolean(error));
    if (error) return;
    at("controls").inert = false;
    Object.assign(shown, { name, volume });
    Object.assign(at("slice"), { max: volume.count - 1, value: volume.count >> 1 });
    chooseLines();
  };
  reader.onmessage = ({ data }) => done(data.error, data);
  reader.onerror = () => done(`${file.name} cannot be read here: expected a smaller file, or a current browser`);
  reader.postMessage(file);
}

// ---------------------------------------------------------------- what the reader does

at("acceleration").oninput = () => {
  if (at("pattern").value === TRAINED) at("pattern").value = "random";
  chooseLines();
};
at("pattern").onchange = chooseLines;
at("again").onclick = () => {
  seed += 1;
  at("pattern").value = "random";
  chooseLines();
};
at("slice").oninput = redraw;
at("student").onchange = redraw;
at("errors").onchange = redraw;
at("controls").onsubmit = () => false;
at("file").onchange = ({ target }) => {
  if (target.files.length) openFile(target.files[0]);
  target.value = ""; // so that the same file can be chosen again
};

const lines = at("mask").querySelector("canvas");
let drawn = null; // what the pointer makes of the lines that it passes
lines.onpointerdown = lines.onpointermove = (event) => {
  if (event.type === "pointermove" && drawn === null) return;
  const line = lineAt(Math.min(Math.floor((event.offsetY / lines.clientHeight) * lines.height), lines.height - 1));
  drawn ??= !shown.sampled[line];
  if (shown.sampled[line] === drawn || (!drawn && count() === 1)) return;
  shown.sampled[line] = drawn;
  redraw();
};
window.onpointerup = window.onpointercancel = () => (drawn = null);

for (const kind of ["dragover", "dragleave", "drop"]) {
  window.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) openFile(event.dataTransfer.files[0]);
  });
}

about = await (await fetch("demo.json")).json();
for (const [key, { title, role }] of Object.entries(about.networks)) {
  if (role === "student") at("student").add(new Option(title, key));
}
openFile(new File([await (await fetch("sample.nii.gz")).blob()], "the sample"), "");
