// What is measured of an image, and what a network is given of it, as in kdrecon/physics (sampling.py, fidelity.py).
// Lines are chosen along the rows, so that everything is a matrix along one axis and no Fourier transform is needed.
// Images are Float32Arrays of height x width, row by row; sampled[k] says whether line k was measured, DC at 0.

/** Random numbers in (0, 1), the same for the same seed (mulberry32). */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 2 ** 32;
  };
}

/** The frequency of each of n lines, DC at 0: 0, 1, ..., -2, -1. */
const frequencies = (n) => Array.from({ length: n }, (_, k) => (k < (n + 1) >> 1 ? k : k - n));

/**
 * Ways to choose lines: each says how early a line of frequency k is taken, smallest first.
 * "random" is the density that the published masks were drawn from, with a block round DC.
 */
const ORDERS = {
  random: (n, acceleration, seed) => {
    const draw = random(seed);
    const centre = Math.min(10, n >> 3);
    return (k) => {
      const density = Math.exp(-(k ** 2) / (2 * (n / 10) ** 2)) + 1 / (2 * acceleration);
      const drawn = -Math.log(draw()) / density;
      return k >= -(centre >> 1) && k < centre - (centre >> 1) ? -1 : drawn;
    };
  },
  regular: (n, acceleration) => (k) =>
    Math.abs(k) + (k === Math.round(Math.round(k / acceleration) * acceleration) ? 0 : n),
  centre: () => (k) => Math.abs(k + 0.5),
};

/** Which of n lines a mask of some kind samples at an acceleration: about n / acceleration of them. */
export function drawMask(n, acceleration, pattern, seed) {
  const order = ORDERS[pattern](n, acceleration, seed);
  const ranked = frequencies(n)
    .map((k, line) => [order(k), line])
    .sort((a, b) => a[0] - b[0]);
  const sampled = new Array(n).fill(false);
  for (const [, line] of ranked.slice(0, Math.max(Math.floor(n / acceleration), 1))) sampled[line] = true;
  return sampled;
}

/** Real and imaginary part of F^-1 diag(sampled) F along the rows, (n, n): its real part is the operator of data fidelity. */
export function operators(sampled) {
  const n = sampled.length;
  const lines = [...sampled.keys()].filter((k) => sampled[k]);
  const [re, im] = [Math.cos, Math.sin].map((wave) =>
    Array.from({ length: n }, (_, j) => lines.reduce((sum, k) => sum + wave((2 * Math.PI * ((j * k) % n)) / n), 0) / n),
  );
  const matrix = (response) =>
    Float32Array.from({ length: n * n }, (_, i) => response[(Math.floor(i / n) - (i % n) + n) % n]);
  return { real: matrix(re), imaginary: matrix(im) };
}

/** matrix (n, n) times image (n, width). */
function times(matrix, image, n, width) {
  const product = new Float32Array(n * width);
  const row = new Float64Array(width);
  for (let i = 0; i < n; i++) {
    row.fill(0);
    for (let k = 0; k < n; k++) {
      const factor = matrix[i * n + k];
      for (let j = 0, from = k * width; j < width; j++) row[j] += factor * image[from + j];
    }
    product.set(row, i * width);
  }
  return product;
}

/** The inputs of a network for an image that was measured on some lines; x_u is the zero-filled image. */
export function measure(image, height, width, sampled) {
  const { real, imaginary } = operators(sampled);
  const x_y = times(real, image, height, width);
  const x_u = times(imaginary, image, height, width).map((value, i) => Math.sqrt(value ** 2 + x_y[i] ** 2));
  return { x_u, x_y, operator: real };
}

/** Peak signal-to-noise ratio in dB; the peak is the target's maximum. */
export function psnr(target, image) {
  let peak = 0;
  let squares = 0;
  target.forEach((value, i) => {
    peak = Math.max(peak, value);
    squares += (value - image[i]) ** 2;
  });
  return 10 * Math.log10((peak ** 2 * target.length) / squares);
}
