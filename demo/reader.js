// Reads one file that was dropped in, beside the page: what is wrong with it is said in one line, and the page goes on.
// The file never leaves this worker; images do, (count, height, width), scaled by their maximum to [0, 1].
import { isNifti, readNifti } from "./nifti.js";

const MOST_VALUES = 2 ** 26; // of a file
const MOST_BYTES = 2 ** 28; // of an HDF5 file, which is in memory as a whole
const LARGEST = 256; // pixels along an axis that networks are given; larger images are averaged over blocks
const SMALLEST = 17;
// Images of an HDF5 file, and which of their axes are slices, rows and columns.
const ARRAYS = { volfs: [2, 0, 1], reconstruction_rss: [0, 1, 2], reconstruction_esc: [0, 1, 2] };

onmessage = async ({ data: file }) => {
  try {
    const read = await open(file);
    check(read);
    const found = scaled(binned(read));
    postMessage(found, [found.images.buffer]);
  } catch (error) {
    postMessage({ error: `${file.name} ${error instanceof Error ? error.message : error}` });
  }
};

async function open(file) {
  const start = new DataView(await file.slice(0, 32).arrayBuffer());
  const begins = (...bytes) => start.byteLength >= bytes.length && bytes.every((byte, i) => start.getUint8(i) === byte);
  if (begins(0x1f, 0x8b)) return readNifti(file.stream().pipeThrough(new DecompressionStream("gzip")), MOST_VALUES);
  if (isNifti(start)) return readNifti(file.stream(), MOST_VALUES);
  if (begins(0x89, 0x50, 0x4e, 0x47)) return readPng(file, start);
  if (begins(0x89, 0x48, 0x44, 0x46)) return readHdf5(file);
  throw Error("is none of the files that are read here: expected NIfTI (.nii, .nii.gz), HDF5 (.h5) or PNG");
}

/** The grey values of a picture, one slice. */
async function readPng(file, start) {
  const [width, height] = start.byteLength >= 24 ? [start.getUint32(16), start.getUint32(20)] : [0, 0];
  if (!(width * height <= MOST_VALUES / 4)) {
    throw Error(
      `says that it is ${height} x ${width} pixels: expected at most ${(MOST_VALUES / 4).toLocaleString("en")}; make it smaller`,
    );
  }
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" }).catch(() => {
    throw Error("is a damaged picture: expected a whole PNG file; save it again");
  });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  canvas.drawImage(bitmap, 0, 0);
  const { data } = canvas.getImageData(0, 0, bitmap.width, bitmap.height);
  const images = new Float32Array(data.length / 4);
  for (let i = 0; i < images.length; i++)
    images[i] = 0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2];
  return { count: 1, height: bitmap.height, width: bitmap.width, images };
}

/** Fully sampled images of an HDF5 file: a volume file's volfs, or what fastMRI files hold beside k-space. */
async function readHdf5(file) {
  if (file.size > MOST_BYTES) throw Error(`has ${file.size} bytes: expected at most ${MOST_BYTES}; cut it`);
  const h5wasm = await import("./vendor/hdf5_hl.js"); // four megabytes, for those who need it
  const library = await h5wasm.ready;
  library.FS.writeFile("dropped.h5", new Uint8Array(await file.arrayBuffer()));
  try {
    const opened = new h5wasm.File("dropped.h5", "r");
    const names = opened.keys();
    const name = Object.keys(ARRAYS).find((known) => names.includes(known));
    if (!name)
      throw Error(
        `holds no images (found: ${names.slice(0, 5).join(", ").slice(0, 80)}): expected ${Object.keys(ARRAYS).join(" or ")}`,
      );
    const stored = opened.get(name);
    const { shape, type } = stored.metadata ?? {};
    if (!shape || shape.length !== 3 || type > 1)
      throw Error(`holds ${name} of another form: expected real images, three axes`);
    const values = shape.reduce((product, n) => product * Number(n), 1);
    if (!(values <= MOST_VALUES))
      throw Error(
        `says that ${name} is ${shape.join(" x ")}: expected at most ${MOST_VALUES.toLocaleString("en")} values; cut it`,
      );
    library.activate_throwing_error_handler(); // without it, what cannot be read is 0
    return ordered(stored.value, shape.map(Number), ARRAYS[name]);
  } catch (error) {
    throw /: expected/.test(error?.message)
      ? error
      : Error("is a damaged HDF5 file: expected a whole one; get it again");
  }
}

function ordered(stored, shape, axes) {
  const strides = [shape[1] * shape[2], shape[2], 1];
  const [count, height, width] = axes.map((axis) => shape[axis]);
  const [through, down, across] = axes.map((axis) => strides[axis]);
  const images = new Float32Array(count * height * width);
  for (let s = 0, to = 0; s < count; s++) {
    for (let i = 0; i < height; i++) {
      for (let j = 0; j < width; j++) images[to++] = Number(stored[s * through + i * down + j * across]);
    }
  }
  return { count, height, width, images };
}

function check({ count, height, width, images }) {
  if (Math.min(height, width) < SMALLEST)
    throw Error(`has slices of ${height} x ${width}: expected at least ${SMALLEST} x ${SMALLEST}`);
  let [bad, lowest, highest] = [0, Infinity, -Infinity];
  for (const value of images) {
    if (!Number.isFinite(value)) bad++;
    lowest = Math.min(lowest, value);
    highest = Math.max(highest, value);
  }
  if (bad) throw Error(`holds ${bad} values that are NaN or infinite: expected none; repair the scan`);
  if (!(count && highest > lowest)) throw Error(`is constant (${lowest} everywhere): expected an image`);
  if (highest <= 0 || lowest < -0.1 * highest)
    throw Error(`spans ${lowest} to ${highest}: expected magnitudes, not negative`);
}

/** Slices that fit, each pixel the mean of a square of larger ones: a coarser scan. */
function binned({ count, height, width, images }) {
  const side = Math.ceil(Math.max(height, width) / LARGEST);
  if (side === 1) return { count, height, width, images };
  const [h, w] = [Math.floor(height / side), Math.floor(width / side)];
  if (Math.min(h, w) < SMALLEST)
    throw Error(`has slices of ${height} x ${width}: expected the sides to be less unlike`);
  const means = new Float32Array(count * h * w);
  for (let s = 0; s < count; s++) {
    for (let i = 0; i < h * side; i++) {
      for (let j = 0; j < w * side; j++) {
        const to = (s * h + Math.floor(i / side)) * w + Math.floor(j / side);
        means[to] += images[(s * height + i) * width + j] / side ** 2;
      }
    }
  }
  return { count, height: h, width: w, images: means };
}

function scaled(volume) {
  const highest = volume.images.reduce((most, value) => Math.max(most, value), 0);
  volume.images.forEach((value, i, images) => (images[i] = Math.max(value / highest, 0)));
  return volume;
}
