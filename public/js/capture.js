// Camera and microphone: asking for them, which there are, and how loud it is.

/** settings: { camera, microphone, width, height, fps, echo, noise, gain } → MediaStream, or throws with
 *  `key`, the name of the text for people. */
export async function capture(settings) {
  if (!navigator.mediaDevices?.getUserMedia) throw problem("unsupported");
  const video = {
    width: { ideal: settings.width }, height: { ideal: settings.height },
    frameRate: { ideal: settings.fps, max: settings.fps },
  };
  if (settings.camera) video.deviceId = { exact: settings.camera };
  const audio = settings.microphone !== "none" && {
    echoCancellation: settings.echo, noiseSuppression: settings.noise, autoGainControl: settings.gain,
  };
  if (audio && settings.microphone) audio.deviceId = { exact: settings.microphone };
  try {
    return await navigator.mediaDevices.getUserMedia({ video, audio });
  } catch (error) {
    if (error.name === "NotAllowedError" || error.name === "SecurityError") throw problem("camera_denied");
    if (error.name === "NotReadableError" || error.name === "AbortError") throw problem("camera_busy");
    throw problem("camera_missing");
  }
}

function problem(key) {
  return Object.assign(new Error(key), { key });
}

export function release(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

/** Fills the two menus with what there is; labels are known once the camera was allowed. */
export async function listDevices(camera, microphone, name) {
  const devices = await navigator.mediaDevices.enumerateDevices();
  for (const [select, kind] of [[camera, "videoinput"], [microphone, "audioinput"]]) {
    const chosen = select.value;
    for (const option of select.querySelectorAll("[data-device]")) option.remove();
    let number = 0;
    for (const device of devices) {
      if (device.kind !== kind || !device.deviceId) continue;
      number += 1;
      const option = new Option(device.label || `${name} ${number}`, device.deviceId);
      option.dataset.device = "";
      select.append(option);
    }
    select.value = chosen;
    if (select.selectedIndex < 0) select.value = "";
  }
}

/** Calls back ten times a second with the level in percent (0 is silence, −60 dB). */
export function watchLevel(stream, changed) {
  if (stream.getAudioTracks().length === 0) {
    changed(0);
    return () => {};
  }
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 2048;
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    let sum = 0;
    for (const sample of samples) sum += sample * sample;
    const decibel = 10 * Math.log10(sum / samples.length + 1e-12);
    changed(Math.round(Math.max(0, Math.min(100, ((decibel + 60) / 60) * 100))));
  }, 100);
  return () => {
    clearInterval(timer);
    context.close();
  };
}
