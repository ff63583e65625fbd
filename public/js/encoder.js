// A source for uplink.js: WebCodecs. Each frame leaves as soon as it is encoded, which saves the delay of
// MediaRecorder's slices, and when the line is slow frames are left out one by one instead of the bit
// rate for good.
import { blocks, header } from "./matroska.js";

const CODEC = "avc1.42E02A"; // constrained baseline, large enough for 1080p at 60
const KEY_FRAME_MS = 1000;
const SETTLE_MS = 700;
const BACKLOG = 3; // frames that wait for the encoder

export async function encoderWorks() {
  if (!("MediaStreamTrackProcessor" in window && "VideoEncoder" in window && "AudioEncoder" in window)) return false;
  try {
    const video = await VideoEncoder.isConfigSupported(configuration(1280, 720, { kbit: 2000, fps: 30 }));
    const audio = await AudioEncoder.isConfigSupported({ codec: "opus", sampleRate: 48000, numberOfChannels: 2 });
    return Boolean(video.supported && audio.supported);
  } catch {
    return false;
  }
}

function configuration(width, height, { kbit, fps }) {
  return {
    codec: CODEC, width, height, bitrate: kbit * 1000, framerate: fps, latencyMode: "realtime", avc: { format: "avc" },
  };
}

/** settings: { kbit, audioKbit, fps }; onFailed(): this browser cannot do it after all. */
export function encoderSource(stream, settings, { onFailed }) {
  return (send) => {
    const [picture] = stream.getVideoTracks();
    const [sound] = stream.getAudioTracks();
    let stopped = false;
    let skip = false;
    const copies = []; // of the tracks: ending ours must not end the preview's
    const encoders = [];
    const early = []; // blocks that wait until both tracks are described
    const described = { video: null, audio: null };
    let pack = null;

    function fail() {
      if (stopped) return;
      stop();
      onFailed();
    }

    function put(track, time, microseconds, key, data) {
      if (stopped) return;
      if (pack) {
        send(pack(track, time.of(microseconds), key, data));
        return;
      }
      early.push([track, time, microseconds, key, data]);
      if (!described.video || (sound && !described.audio)) return;
      // The picture begins with its key frame; sound from before it is of no use.
      const first = early.findIndex(([each]) => each === 1);
      if (first < 0) return;
      pack = blocks();
      send(header(described.video, described.audio));
      for (const block of early.slice(first)) put(...block);
    }

    // Camera and microphone count time from different beginnings. Both are put on the page's clock, by
    // the frame that came soonest after it was made; not by what the encoders give back, because they
    // may take long to begin, and the picture would stay behind the sound by that. A page that has just
    // begun is slow: it looks at what comes for a moment before it sends. Should a picture come sooner
    // even later, its clock is drawn near, half a frame with each frame. Time never goes back.
    function clock(draws) {
      let offset = Infinity;
      let last = 0;
      let sent = -1;
      return {
        saw(microseconds) {
          const now = performance.now() - began - microseconds / 1000;
          const most = pack ? (draws ? (microseconds - last) / 2000 : 0) : Infinity;
          if (now < offset) offset = Math.max(now, offset === Infinity ? now : offset - most);
          last = microseconds;
          return performance.now() - began >= SETTLE_MS;
        },
        of(microseconds) {
          sent = Math.max(sent + 1, Math.round(microseconds / 1000 + offset));
          return sent;
        },
      };
    }
    let began = 0;

    async function each(track, use) {
      const copy = track.clone();
      copies.push(copy);
      const reader = new MediaStreamTrackProcessor({ track: copy }).readable.getReader();
      try {
        for (;;) {
          const { value, done } = await reader.read();
          if (done) break;
          try {
            if (!stopped) use(value);
          } finally {
            value.close();
          }
          if (stopped) break;
        }
      } catch {
        fail();
      } finally {
        reader.cancel().catch(() => {});
      }
    }

    function bytes(chunk) {
      const data = new Uint8Array(chunk.byteLength);
      chunk.copyTo(data);
      return data;
    }

    function description(metadata) {
      const source = metadata.decoderConfig.description;
      return ArrayBuffer.isView(source)
        ? new Uint8Array(source.buffer.slice(source.byteOffset, source.byteOffset + source.byteLength))
        : new Uint8Array(source);
    }

    function sendPicture() {
      const time = clock(true);
      let shape = "";
      let lastKey = -Infinity;
      const encoder = new VideoEncoder({
        output(chunk, metadata) {
          if (metadata?.decoderConfig?.description && !described.video) {
            const { codedWidth, codedHeight } = metadata.decoderConfig;
            described.video = { width: codedWidth, height: codedHeight, description: description(metadata) };
          }
          put(1, time, chunk.timestamp, chunk.type === "key", bytes(chunk));
        },
        error: fail,
      });
      encoders.push(encoder);
      each(picture, (frame) => {
        if (!time.saw(frame.timestamp)) return;
        const now = `${frame.displayWidth}x${frame.displayHeight}`;
        if (!shape) {
          // H.264 with 4:2:0 has even sides.
          encoder.configure(configuration(frame.displayWidth & ~1, frame.displayHeight & ~1, settings));
          shape = now;
        } else if (now !== shape) {
          fail(); // a telephone was turned: another header, so another run
          return;
        }
        if (skip || encoder.encodeQueueSize > BACKLOG) return;
        const keyFrame = frame.timestamp - lastKey >= KEY_FRAME_MS * 1000;
        if (keyFrame) lastKey = frame.timestamp;
        encoder.encode(frame, { keyFrame });
      });
    }

    function sendSound() {
      const time = clock(false);
      let ready = false;
      let rate = 0;
      let channels = 0;
      const encoder = new AudioEncoder({
        output(chunk, metadata) {
          if (metadata?.decoderConfig?.description && !described.audio) {
            described.audio = { rate, channels, description: description(metadata) };
          }
          put(2, time, chunk.timestamp, true, bytes(chunk));
        },
        error: fail,
      });
      encoders.push(encoder);
      each(sound, (data) => {
        if (!time.saw(data.timestamp)) return;
        if (!ready) {
          rate = data.sampleRate;
          channels = data.numberOfChannels;
          encoder.configure({ codec: "opus", sampleRate: rate, numberOfChannels: channels, bitrate: settings.audioKbit * 1000 });
          ready = true;
        }
        encoder.encode(data);
      });
    }

    function stop() {
      stopped = true;
      for (const copy of copies) copy.stop();
      for (const encoder of encoders) if (encoder.state !== "closed") encoder.close();
    }

    return {
      kbit: settings.kbit,
      query: new URLSearchParams({ video: "h264", audio: sound ? "opus" : "none", kbit: settings.kbit }),
      start() {
        began = performance.now();
        sendPicture();
        if (sound) sendSound();
      },
      stop,
      congested(now) {
        skip = now;
      },
    };
  };
}
