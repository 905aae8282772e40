// The browser's camera: its newest frame is sent whenever the one before is answered.
const SHOWN_SECONDS = 30, LEAST_PEAK = 0.01, DRAWN_MILLISECONDS = 100;
const live = get("live"), picture = get("picture"), start = get("start");
const canvas = document.createElement("canvas");
const pixels = canvas.getContext("2d", { willReadFrequently: true });
const announce = makeAnnouncer(get("announced"));
let camera = null;  // { stream, key, moments, newest, sent, late, drawn, isBusy } while it is on
const slots = settings.colours.map((colour, place) => {
  const curve = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  curve.setAttribute("class", "curve"); curve.setAttribute("stroke", colour);
  const dash = settings.dashes[place % settings.dashes.length];
  if (dash) curve.setAttribute("stroke-dasharray", dash);
  get("curves").append(curve);
  const item = document.createElement("li"), swatch = document.createElement("span");
  const name = document.createElement("span"), share = document.createElement("span");
  swatch.className = "swatch"; share.className = "share"; swatch.style.borderColor = colour;
  swatch.style.borderTopStyle = ["solid", "dashed", "dotted"][place % settings.dashes.length];
  item.append(swatch, name, share); item.hidden = true; get("legend").append(item);
  return { curve, item, name, share, label: -1 };
});

const explain = error => ({
  NotAllowedError: "The browser may not use the camera. Allow it for this page (beside its address), then try again.",
  NotFoundError: "No camera was found. Connect one, then try again.",
  OverconstrainedError: "No camera was found. Connect one, then try again.",
  NotReadableError: "The camera cannot be read; another program may be using it.",
}[error.name] || `The camera cannot be used (${error.name}).`);

const post = async (address, body) => {
  let answer;
  try {
    answer = await fetch(address, { method: "POST", body, headers: { "content-type": "application/octet-stream" } });
  } catch { throw new Error("The server cannot be reached."); }
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(content.error || `The server refused (${answer.status}).`);
  return content;
};

const startCamera = async () => {
  if (!navigator.mediaDevices || !navigator.mediaDevices.getUserMedia) {
    return say("Browsers give a page their camera only over https, or on the server's own computer " +
      `under http://localhost:${location.port || 80}/.`, { isError: true });
  }
  start.disabled = true; say("Waiting for the camera: the browser may ask for permission.");
  let stream = null;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      video: { width: { ideal: 640 }, height: { ideal: 480 } }, audio: false });
    const { key } = await post("/cameras", "");
    camera = { stream, key, moments: [], newest: 0, sent: 0, late: 0, drawn: 0, isBusy: false };
  } catch (error) {
    if (stream) for (const track of stream.getTracks()) track.stop();
    start.disabled = false;
    return say(stream ? error.message : explain(error), { isError: true });
  }
  for (const track of stream.getTracks()) track.addEventListener("ended", () => stopCamera("The camera went off.", { isError: true }));
  forgetVideo();
  picture.srcObject = stream; live.hidden = false; get("sources").hidden = true;
  for (const slot of slots) slot.label = -1;
  say("The camera is on.", { isOn: true }); get("stop").focus({ preventScroll: true });
  eachFrame(camera);
};

// Without a text, as when a video is dropped, nothing is said.
const stopCamera = (text = "", how = {}) => {
  if (!camera) return;
  for (const track of camera.stream.getTracks()) track.stop();
  fetch(`/cameras/${camera.key}`, { method: "DELETE", keepalive: true }).catch(() => {});
  camera = null; picture.srcObject = null; live.hidden = true;
  get("sources").hidden = start.disabled = false;
  if (text) { say(text, how); start.focus(); }
};

const eachFrame = mine => {
  if (mine !== camera) return;
  const take = num => { if (mine === camera) { mine.newest = num; sendNewest(mine); eachFrame(mine); } };
  if (picture.requestVideoFrameCallback) picture.requestVideoFrameCallback((now, frame) => take(frame.presentedFrames));
  else requestAnimationFrame(() => take(picture.getVideoPlaybackQuality().totalVideoFrames));
};

const sendNewest = async mine => {
  if (mine.isBusy || mine.newest === mine.sent || !picture.videoWidth) return;
  mine.late += mine.sent ? mine.newest - mine.sent - 1 : 0;
  mine.sent = mine.newest; mine.isBusy = true;
  const began = performance.now();
  try {
    const { data, width, height } = grab();
    // As a Blob it travels more than twice as fast as as an array.
    const { probabilities, is_known: known } = await post(`/cameras/${mine.key}/frames?width=${width}&height=${height}`, new Blob([data]));
    if (mine !== camera) return;
    mine.moments.push({ began, spent: performance.now() - began, shares: probabilities, known });
    if (began - mine.drawn >= DRAWN_MILLISECONDS) draw(mine);
  } catch (error) {
    if (mine === camera) stopCamera(error.message, { isError: true });
    return;
  }
  mine.isBusy = false;
  sendNewest(mine);
};

const grab = () => {
  const { videoWidth, videoHeight } = picture;
  const scale = Math.min(1, settings.mostSidePixels / Math.max(videoWidth, videoHeight));
  const width = Math.max(1, Math.round(scale * videoWidth)), height = Math.max(1, Math.round(scale * videoHeight));
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  pixels.imageSmoothingQuality = "high";
  pixels.drawImage(picture, 0, 0, width, height);
  return { data: pixels.getImageData(0, 0, width, height).data, width, height };
};

const percent = share => `${(100 * share).toFixed(0)} %`;

const draw = mine => {
  const last = mine.moments[mine.moments.length - 1];
  mine.drawn = last.began;
  while (last.began - mine.moments[0].began > 1000 * SHOWN_SECONDS) mine.moments.shift();
  const best = last.shares.indexOf(Math.max(...last.shares)), label = settings.labels[best];
  const share = percent(last.shares[best]), nearest = `The nearest label: ${label}, ${share}`;
  get("label").textContent = last.known ? label : "None of these";
  get("share").textContent = last.known ? share : "";
  get("nearest").hidden = last.known; get("nearest").textContent = nearest;
  if (last.known) announce(label, `${label}, ${share}`);
  else announce("none of these", `None of these. ${nearest}`);
  chooseLabels(mine.moments);
  for (const slot of slots) {
    slot.item.hidden = slot.label < 0;
    const shown = slot.label < 0 ? [] : mine.moments;
    slot.curve.setAttribute("points", shown.map(({ began, shares }) =>
      `${(1000 - (last.began - began) / SHOWN_SECONDS).toFixed(1)},${(200 * (1 - shares[slot.label])).toFixed(1)}`).join(" "));
    if (slot.label < 0) continue;
    slot.name.textContent = settings.labels[slot.label];
    slot.share.textContent = percent(last.shares[slot.label]);
  }
  const recent = mine.moments.filter(({ began }) => last.began - began < 2000);
  const seconds = (last.began - recent[0].began) / 1000;
  const each = recent.reduce((sum, { spent }) => sum + spent, 0) / recent.length;
  get("rate").textContent = seconds ? ((recent.length - 1) / seconds).toFixed(1) : "–";
  get("each").textContent = each.toFixed(0); get("late").textContent = mine.late;
};

// The labels with the highest peaks are shown, each in the same colour for as long as it is.
const chooseLabels = moments => {
  const peaks = settings.labels.map((_, label) => moments.reduce((peak, { shares }) => Math.max(peak, shares[label]), 0));
  const order = peaks.map((_, label) => label).sort((a, b) => peaks[b] - peaks[a]).slice(0, slots.length);
  const wanted = order.filter((label, place) => place === 0 || peaks[label] >= LEAST_PEAK);
  for (const slot of slots) if (!wanted.includes(slot.label)) slot.label = -1;
  for (const label of wanted) {
    if (slots.some(slot => slot.label === label)) continue;
    slots.find(slot => slot.label < 0).label = label;
  }
};

start.addEventListener("click", startCamera);
get("stop").addEventListener("click", () => stopCamera("The camera is off."));
addEventListener("pagehide", () => stopCamera());
