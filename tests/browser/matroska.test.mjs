// The packing of the direct way, without a browser.
import assert from "node:assert/strict";
import { test } from "node:test";
import { blocks, element, header, size } from "../../public/js/matroska.js";

test("sizes are written in the fewest bytes, and never as the unknown size", () => {
  assert.deepEqual(size(0), [0x80]);
  assert.deepEqual(size(126), [0xfe]);
  assert.deepEqual(size(127), [0x40, 0x7f]); // 0xff would mean: unknown
  assert.deepEqual(size(16382), [0x7f, 0xfe]);
  assert.deepEqual(size(16383), [0x20, 0x3f, 0xff]);
});

test("elements nest, and numbers take the bytes that they need", () => {
  assert.deepEqual([...element([0xd7], 1)], [0xd7, 0x81, 1]);
  assert.deepEqual([...element([0xd7], 0)], [0xd7, 0x81, 0]);
  assert.deepEqual([...element([0xb0], 1280)], [0xb0, 0x82, 5, 0]);
  assert.deepEqual([...element([0xe0], [element([0xb0], 1), element([0xba], 2)])], [0xe0, 0x86, 0xb0, 0x81, 1, 0xba, 0x81, 2]);
});

test("the header says which tracks there are", () => {
  const find = (bytes, word) => Buffer.from(bytes).includes(word);
  const video = { width: 640, height: 360, description: Uint8Array.of(1, 2, 3) };
  const both = header(video, { rate: 48000, channels: 1, description: Uint8Array.of(4) });
  assert.ok(find(both, "V_MPEG4/ISO/AVC") && find(both, "A_OPUS") && find(both, "matroska"));
  assert.ok(!find(header(video, null), "A_OPUS"));
});

test("a cluster begins with each key frame, after a second, and when time goes back", () => {
  const pack = blocks();
  const begins = (bytes) => Buffer.from(bytes).indexOf(Buffer.from([0x1f, 0x43, 0xb6, 0x75])) === 0;
  const data = Uint8Array.of(9);
  assert.equal(begins(pack(1, 0, true, data)), true);
  const inner = pack(1, 40, false, data);
  assert.equal(begins(inner), false);
  assert.deepEqual([...inner], [0xa3, 0x85, 0x81, 0, 40, 0, 9]);
  assert.deepEqual([...pack(2, 300, true, data)], [0xa3, 0x85, 0x82, 1, 44, 0x80, 9]); // sound
  assert.equal(begins(pack(1, 999, false, data)), false);
  assert.equal(begins(pack(1, 1000, false, data)), true);
  assert.equal(begins(pack(2, 990, true, data)), true);
  assert.equal(begins(pack(1, 1040, true, data)), true);
});
