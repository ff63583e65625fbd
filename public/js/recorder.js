// A source for uplink.js: the browser's MediaRecorder. H.264 where it has it, so that the server only
// wraps the picture anew; VP8 or VP9 otherwise, which the server encodes.

const TYPES = [
  ["video/webm;codecs=h264,opus", "h264"],
  ["video/x-matroska;codecs=avc1,opus", "h264"],
  ["video/webm;codecs=vp8,opus", "vp8"],
  ["video/webm;codecs=vp9,opus", "vp9"],
  ["video/webm", "vp8"],
];
const SLICE_MS = 100;
const KEY_FRAME_MS = 1000;

export function recorderType() {
  if (typeof MediaRecorder === "undefined") return null;
  return TYPES.find(([type]) => MediaRecorder.isTypeSupported(type)) ?? null;
}

/** settings: { kbit, audioKbit }; onCongested(): the line does not carry this bit rate. */
export function recorderSource(stream, settings, { onCongested, onFailed }) {
  return (send) => {
    const [mimeType, video] = recorderType();
    const audio = stream.getAudioTracks().length > 0 ? "opus" : "none";
    let recorder = null;
    let slow = 0;
    return {
      kbit: settings.kbit,
      query: new URLSearchParams({ video, audio, kbit: settings.kbit }),
      start() {
        recorder = new MediaRecorder(stream, {
          mimeType,
          videoBitsPerSecond: settings.kbit * 1000,
          audioBitsPerSecond: settings.audioKbit * 1000,
          videoKeyFrameIntervalDuration: KEY_FRAME_MS,
        });
        recorder.addEventListener("dataavailable", (event) => {
          if (event.data.size > 0) send(event.data);
        });
        recorder.addEventListener("error", () => onFailed());
        recorder.start(SLICE_MS);
      },
      stop() {
        if (recorder && recorder.state !== "inactive") recorder.stop();
        recorder = null;
      },
      /** A recorder's stream has no part that could be left out: three slow seconds, and it is asked to
       *  begin again with less. */
      congested(now) {
        slow = now ? slow + 1 : 0;
        if (slow === 3) onCongested();
      },
    };
  };
}
