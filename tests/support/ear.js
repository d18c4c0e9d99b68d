// Put into every page before its own scripts: hears what the page plays, and reads what it sends and receives.
(() => {
  const ear = { taps: [], events: [], violations: [], micAt: null, nMics: 0 };
  window.__ear = ear;

  // --- what is played: each source is recorded by itself, with the time at which each piece came -----------

  const LOUD = 0.01; // of full scale, RMS: speech is far above it, comfort noise far below

  async function record(track, kind) {
    const tap = { kind, rate: 0, chunks: [], at: [], loud: [] };
    ear.taps.push(tap);
    const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
    for (;;) {
      const { done, value } = await reader.read().catch(() => ({ done: true }));
      if (done) return;
      const samples = new Float32Array(value.numberOfFrames);
      value.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
      tap.rate = value.sampleRate;
      value.close();
      let sum = 0;
      const pcm = new Int16Array(samples.length);
      for (let i = 0; i < samples.length; i++) {
        sum += samples[i] * samples[i];
        pcm[i] = Math.max(-1, Math.min(1, samples[i])) * 32767;
      }
      tap.chunks.push(pcm);
      tap.at.push(performance.now());
      tap.loud.push(Math.sqrt(sum / samples.length) > LOUD);
    }
  }

  const connect = AudioNode.prototype.connect;
  const outputs = new WeakMap(); // of contexts
  AudioNode.prototype.connect = function (target, ...rest) {
    if (target instanceof AudioDestinationNode) {
      let copy = outputs.get(target);
      if (!copy) {
        copy = this.context.createMediaStreamDestination();
        outputs.set(target, copy);
        record(copy.stream.getAudioTracks()[0], "context");
      }
      connect.call(this, copy, ...rest);
    }
    return connect.call(this, target, ...rest);
  };
  const disconnect = AudioNode.prototype.disconnect;
  AudioNode.prototype.disconnect = function (...from) {
    const copy = outputs.get(from[0]);
    if (copy) disconnect.call(this, copy, ...from.slice(1));
    return disconnect.apply(this, from);
  };

  const source = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, "srcObject");
  Object.defineProperty(HTMLMediaElement.prototype, "srcObject", {
    ...source,
    set(stream) {
      source.set.call(this, stream);
      for (const track of stream?.getAudioTracks() ?? []) record(track.clone(), "element");
    },
  });

  /** Milliseconds of loud sound since a time on the page's clock. */
  ear.loudMs = (sinceMs = 0) => {
    let ms = 0;
    for (const { rate, chunks, at, loud } of ear.taps) {
      chunks.forEach((pcm, i) => (ms += loud[i] && at[i] > sinceMs ? (pcm.length / rate) * 1000 : 0));
    }
    return ms;
  };

  /** How long ago the last loud sound was; infinite if there was none. */
  ear.silentMs = () => {
    const last = ear.taps.flatMap(({ at, loud }) => at.filter((_, i) => loud[i])).reduce((a, b) => Math.max(a, b), -1e9);
    return performance.now() - last;
  };

  /** Everything that was played, for Python: base64 of int16, and the page's time at each piece's end. */
  ear.played = () =>
    ear.taps.map(({ kind, rate, chunks, at }) => {
      const whole = new Int16Array(chunks.reduce((n, pcm) => n + pcm.length, 0));
      const ends = [];
      let n = 0;
      for (const pcm of chunks) {
        whole.set(pcm, n);
        ends.push((n += pcm.length));
      }
      let text = "";
      const bytes = new Uint8Array(whole.buffer);
      for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
      return { kind, rate, pcm: btoa(text), ends, at };
    });

  // --- what is said over the wire ---------------------------------------------------------------------------

  const note = (way, direction, data) => {
    if (typeof data !== "string") return;
    const event = JSON.parse(data);
    if (event.type === "input_audio_buffer.append" || event.type === "response.output_audio.delta") return;
    ear.events.push({ way, direction, at: performance.now(), event });
  };
  const watch = (port, way) => {
    const send = port.send.bind(port);
    port.send = (data) => {
      note(way, "sent", data);
      send(data);
    };
    port.addEventListener("message", ({ data }) => note(way, "got", data));
    return port;
  };
  const Socket = window.WebSocket;
  window.WebSocket = class extends Socket {
    constructor(...given) {
      super(...given);
      watch(this, "websocket");
    }
  };
  const channel = RTCPeerConnection.prototype.createDataChannel;
  RTCPeerConnection.prototype.createDataChannel = function (...given) {
    return watch(channel.apply(this, given), "webrtc");
  };

  // --- the microphone, and what the page's policy forbids ---------------------------------------------------

  const devices = navigator.mediaDevices;
  if (devices) {
    const open = devices.getUserMedia.bind(devices);
    devices.getUserMedia = async (...given) => {
      const stream = await open(...given);
      ear.micAt = performance.now();
      ear.nMics += 1;
      return stream;
    };
  }
  document.addEventListener("securitypolicyviolation", (event) => {
    ear.violations.push(`${event.effectiveDirective} forbids ${event.blockedURI} (${event.sourceFile}:${event.lineNumber})`);
  });
})();
