// Packs encoded H.264 and Opus into a Matroska stream without an end, chunk by chunk. (FLV would be the
// shorter way into RTMP, but it has no place for Opus, and browsers on Linux encode no AAC.)

const CLUSTER_MS = 1000;
const SEEK_PRE_ROLL_NS = 80000000; // what Opus asks for
const UNKNOWN = [0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
const text = new TextEncoder();

/** A size as EBML writes it: a leading one bit says how many bytes there are. */
export function size(value) {
  let length = 1;
  while (length < 8 && value >= 2 ** (7 * length) - 1) length += 1;
  const bytes = [];
  for (let i = length - 1; i >= 0; i -= 1) bytes.push(Math.floor(value / 256 ** i) % 256);
  bytes[0] |= 1 << (8 - length);
  return bytes;
}

function number(value) {
  const bytes = [];
  do {
    bytes.unshift(value % 256);
    value = Math.floor(value / 256);
  } while (value > 0);
  return Uint8Array.from(bytes);
}

function float(value) {
  const bytes = new DataView(new ArrayBuffer(8));
  bytes.setFloat64(0, value);
  return new Uint8Array(bytes.buffer);
}

function join(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** An element: its id as bytes, then its content: bytes, a number, a text, or a list of elements. */
export function element(id, content) {
  let body = content;
  if (typeof content === "number") body = number(content);
  else if (typeof content === "string") body = text.encode(content);
  else if (Array.isArray(content)) body = join(content);
  return join([id, size(body.length), body]);
}

const open = (id) => join([id, UNKNOWN]);

/** Everything before the first cluster. video: { width, height, description }; audio: null or
 *  { rate, channels, description }. */
export function header(video, audio) {
  const tracks = [element([0xae], [
    element([0xd7], 1), element([0x73, 0xc5], 1), element([0x83], 1), element([0x86], "V_MPEG4/ISO/AVC"),
    element([0x63, 0xa2], video.description),
    element([0xe0], [element([0xb0], video.width), element([0xba], video.height)]),
  ])];
  if (audio) {
    tracks.push(element([0xae], [
      element([0xd7], 2), element([0x73, 0xc5], 2), element([0x83], 2), element([0x86], "A_OPUS"),
      element([0x63, 0xa2], audio.description), element([0x56, 0xbb], SEEK_PRE_ROLL_NS),
      element([0xe1], [element([0xb5], float(audio.rate)), element([0x9f], audio.channels)]),
    ]));
  }
  return join([
    element([0x1a, 0x45, 0xdf, 0xa3], [element([0x42, 0x82], "matroska"), element([0x42, 0x87], 4), element([0x42, 0x85], 2)]),
    open([0x18, 0x53, 0x80, 0x67]),
    element([0x15, 0x49, 0xa9, 0x66], [
      element([0x2a, 0xd7, 0xb1], 1000000), element([0x4d, 0x80], "Footlight"), element([0x57, 0x41], "Footlight"),
    ]),
    element([0x16, 0x54, 0xae, 0x6b], tracks),
  ]);
}

/** Returns (track, ms, key, data) => bytes to send. Times are whole milliseconds from 0 on. */
export function blocks() {
  let cluster = -1;
  return (track, ms, key, data) => {
    const parts = [];
    // Within a cluster times are relative and may go back a little: sound and picture take turns.
    if (cluster < 0 || ms - cluster >= CLUSTER_MS || ms < cluster || (key && track === 1)) {
      cluster = ms;
      parts.push(open([0x1f, 0x43, 0xb6, 0x75]), element([0xe7], ms));
    }
    const relative = ms - cluster;
    parts.push(element([0xa3], [[0x80 | track, relative >> 8, relative & 0xff, key ? 0x80 : 0], data]));
    return join(parts);
  };
}
