// The visitor's microphone, and which devices there are.
import { microphoneTrouble, Trouble } from "../core/trouble";

export type Permission = "granted" | "denied" | "prompt" | "unknown";

/** Opens a microphone with echo cancellation. Throws a Trouble that says why not. */
export async function openMicrophone(deviceId = ""): Promise<MediaStream> {
  if (!globalThis.isSecureContext || !navigator.mediaDevices) throw new Trouble("insecure");
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: {
        echoCancellation: true,
        noiseSuppression: true,
        autoGainControl: true,
        channelCount: 1,
        ...(deviceId && { deviceId: { exact: deviceId } }),
      },
    });
  } catch (error) {
    throw microphoneTrouble(error);
  }
}

export function stop(stream: MediaStream | null): void {
  stream?.getTracks().forEach((track) => track.stop());
}

/** What the visitor has decided before. `onChange` hears of it when that changes. */
export async function microphonePermission(onChange: () => void): Promise<Permission> {
  try {
    const status = await navigator.permissions.query({ name: "microphone" as PermissionName });
    status.onchange = onChange;
    return status.state;
  } catch {
    return "unknown"; // Firefox and older Safari do not say
  }
}

export async function devices(kind: "audioinput" | "audiooutput"): Promise<MediaDeviceInfo[]> {
  const all = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
  return all.filter((device) => device.kind === kind && device.deviceId);
}
