// Runs the networks, beside the page so that it never waits: one message in, one image out.
import * as ort from "./vendor/ort.wasm.bundle.min.mjs";

ort.env.wasm.wasmPaths = { wasm: new URL("./vendor/ort-wasm-simd-threaded.wasm", import.meta.url).href };
ort.env.wasm.numThreads = 1; // as a plain web server allows
ort.env.logLevel = "error";
const sessions = {};

onmessage = async ({ data: { file, height, width, x_u, x_y, operator } }) => {
  try {
    const tensor = (values, ...shape) => new ort.Tensor("float32", values, shape);
    const feeds = {
      x_u: tensor(x_u, 1, 1, height, width),
      x_y: tensor(x_y, 1, 1, height, width),
      operator: tensor(operator, height, height),
    };
    if (!sessions[file]) {
      sessions[file] = await ort.InferenceSession.create(new URL(file, import.meta.url).href);
      await sessions[file].run(feeds); // the first call takes longer
    }
    const start = performance.now();
    const { x_rec } = await sessions[file].run(feeds);
    postMessage({ image: x_rec.data, ms: performance.now() - start });
  } catch (error) {
    postMessage({ error: `the network does not run here (${error.message})` });
  }
};
