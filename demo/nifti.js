// NIfTI files (.nii, .nii.gz), read as kdrecon/app/scans/nifti.py does: upright slices along the third stored axis.

const TYPES = {
  2: [1, "getUint8"],
  4: [2, "getInt16"],
  8: [4, "getInt32"],
  16: [4, "getFloat32"],
  64: [8, "getFloat64"],
  256: [1, "getInt8"],
  512: [2, "getUint16"],
  768: [4, "getUint32"],
};
const HEADER = { 348: 352, 540: 544 }; // what NIfTI-1 and NIfTI-2 begin with; bytes before the values
const HEADROOM = 2 ** 24; // bytes before the values

/** Whether a file begins as a NIfTI file does, in either order of bytes. */
export const isNifti = (view) =>
  view.byteLength >= 4 && [true, false].some((little) => view.getInt32(0, little) in HEADER);

/**
 * The slices of a NIfTI file: { count, height, width, images }, of a series the first volume alone.
 * stream gives its content, not compressed; of it nothing is read beyond what the header, within the limits, says.
 */
export async function readNifti(stream, mostValues) {
  const take = taking(stream);
  const start = await take(4);
  if (!isNifti(start)) throw Error("holds something else than a NIfTI file: expected .nii or .nii.gz");
  const header = readHeader(await take(HEADER[start.getInt32(0, true)] ?? HEADER[start.getInt32(0)]));
  const values = header.size.reduce((product, n) => product * n, 1);
  if (!(values <= mostValues)) {
    throw Error(
      `says that it is ${header.size.join(" x ")} voxels: expected at most ${mostValues.toLocaleString("en")}; cut it`,
    );
  }
  const content = await take(header.offset + values * header.bytes);
  const { offset, bytes, get, little, slope, intercept } = header;
  return upright((i) => content[get](offset + i * bytes, little) * slope + intercept, header);
}

/** What gives a view of the first bytes of a stream, as many as are asked for; each time more than before. */
function taking(stream) {
  const reader = stream.getReader();
  let [whole, rest] = [new Uint8Array(), new Uint8Array()]; // what was given, and what was read beyond it
  return async (needed) => {
    const grown = new Uint8Array(needed);
    grown.set(whole);
    for (let length = whole.length; length < needed;) {
      if (!rest.length) {
        const { done, value } = await reader.read().catch(() => ({ done: true })); // a damaged end is an early one
        if (done) throw Error(`ends after ${length} of ${needed} bytes: expected the whole file; get it again`);
        rest = value;
      }
      const part = rest.subarray(0, needed - length);
      grown.set(part, length);
      length += part.length;
      rest = rest.subarray(part.length);
    }
    whole = grown;
    return new DataView(whole.buffer);
  };
}

function readHeader(view) {
  const little = view.getInt32(0, true) in HEADER;
  const second = view.getInt32(0, little) === 540;
  const int16 = (at) => view.getInt16(at, little);
  const float = second ? (at) => view.getFloat64(at, little) : (at) => view.getFloat32(at, little);
  const long = (at) => Number(view.getBigInt64(at, little));
  const list = (n, read, at, step) => Array.from({ length: n }, (_, i) => read(at + i * step));
  const [dim, type, offset, slope, intercept] = second
    ? [list(8, long, 16, 8), int16(12), long(168), float(176), float(184)]
    : [list(8, int16, 40, 2), int16(70), view.getFloat32(108, little), float(112), float(116)];
  const size = dim.slice(1, 4);
  if (dim[0] < 3 || dim[0] > 4 || size.some((n) => n < 1)) {
    throw Error(`has ${dim[0]} axes, the first ${size.join(" x ")}: expected three or four axes, none of them empty`);
  }
  if (!TYPES[type]) throw Error(`holds values of type ${type}: expected plain numbers, not colours or complex values`);
  if (!(offset >= 0 && offset <= HEADROOM))
    throw Error(`says that its values begin at byte ${offset}: expected a place near the start`);
  const affine = second
    ? readAffine(
        view.getInt32(344, little),
        view.getInt32(348, little),
        list(8, float, 104, 8),
        list(3, float, 352, 8),
        list(12, float, 400, 8),
      )
    : readAffine(int16(252), int16(254), list(8, float, 76, 4), list(3, float, 256, 4), list(12, float, 280, 4));
  const [bytes, get] = TYPES[type];
  const scaled = slope && Number.isFinite(slope);
  return {
    little,
    size,
    bytes,
    get,
    affine,
    offset: Math.max(Math.floor(offset), HEADER[second ? 540 : 348]),
    slope: scaled ? slope : 1,
    intercept: scaled && Number.isFinite(intercept) ? intercept : 0,
  };
}

/** The directions of the stored axes, rows R, A, S: of the sform, the qform, or without either as Analyze files have them. */
function readAffine(qform, sform, pixdim, [b, c, d], rows) {
  if (sform > 0) return [rows.slice(0, 3), rows.slice(4, 7), rows.slice(8, 11)];
  if (qform <= 0)
    return [
      [-1, 0, 0],
      [0, 1, 0],
      [0, 0, 1],
    ];
  const a = Math.sqrt(Math.max(0, 1 - b * b - c * c - d * d));
  const z = pixdim[0] < 0 ? -1 : 1;
  return [
    [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c) * z],
    [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b) * z],
    [2 * (b * d - a * c), 2 * (c * d + a * b), (a * a + d * d - b * b - c * c) * z],
  ];
}

/** Slices as on a DICOM viewer: rows run down to posterior or inferior, columns to the patient's left or to posterior. */
function upright(value, { size, affine }) {
  const lengths = [0, 1, 2].map((axis) => Math.hypot(...affine.map((row) => row[axis])));
  const anatomy = lengths.map((length, axis) => {
    const along = affine.map((row) => row[axis] / length);
    const main = along.reduce((best, value, i) => (Math.abs(value) > Math.abs(along[best]) ? i : best), 0);
    return { main, sign: Math.sign(along[main]) };
  });
  if (anatomy.some(({ sign }) => !sign))
    throw Error("has an affine matrix that names no directions: expected one; repair the header");
  const [across, down] = anatomy[0].main <= anatomy[1].main ? [0, 1] : [1, 0];
  const wanted = { [across]: -1, [down]: -1, 2: 1 };
  const strides = [1, size[0], size[0] * size[1]];
  const place = (axis, i) => (anatomy[axis].sign === wanted[axis] ? i : size[axis] - 1 - i) * strides[axis];
  const [width, height, count] = [size[across], size[down], size[2]];
  const images = new Float32Array(count * height * width);
  for (let s = 0, to = 0; s < count; s++) {
    for (let i = 0; i < height; i++) {
      for (let j = 0, at = place(2, s) + place(down, i); j < width; j++) images[to++] = value(at + place(across, j));
    }
  }
  return { count, height, width, images };
}
