// A video that is dropped or chosen: sent, waited for, its page shown.
const drop = get("drop"), file = get("file"), result = get("result");
const progress = get("progress"), bar = get("bar"), count = get("count"), link = get("open");
const nap = milliseconds => new Promise(done => setTimeout(done, milliseconds));
let current = 0;
const clear = () => { result.hidden = progress.hidden = true; get("frame").replaceChildren(); };
const fail = text => { clear(); say(text, { isError: true }); };
const forgetVideo = () => { current += 1; clear(); };

const send = video => {
  stopCamera(); forgetVideo();
  const mine = current;
  if (video.size > settings.mostBytes) return fail(`${video.name} is larger than ${settings.most}, the limit here.`);
  progress.hidden = false; bar.value = 0; count.textContent = ""; say(`Sending ${video.name}`);
  const request = new XMLHttpRequest();  // fetch does not tell how far it is
  const ifMine = act => event => { if (mine === current) act(event); };
  request.open("POST", `/videos?name=${encodeURIComponent(video.name)}`);
  request.setRequestHeader("content-type", "application/octet-stream");
  request.upload.onprogress = ifMine(event => { bar.value = 0.2 * event.loaded / event.total; });
  request.onerror = ifMine(() => fail("The server cannot be reached."));
  request.onload = ifMine(() => {
    let answer = {};
    try { answer = JSON.parse(request.responseText); } catch { /* told below */ }
    if (request.status !== 200) return fail(answer.error || `The server refused (${request.status}).`);
    wait(answer.key, video.name, mine);
  });
  request.send(video);
};

const wait = async (key, name, mine) => {
  say(`Reading ${name}`);
  while (mine === current) {
    let job;
    try { job = await (await fetch(`/videos/${key}`)).json(); } catch { job = { error: "the server cannot be reached" }; }
    if (mine !== current) return;
    if (job.error) return fail(`${name}: ${job.error}`);
    if (job.is_done) return show(key, name);
    count.textContent = `${job.num_read} frames`;
    bar.value = 0.2 + 0.8 * (job.num_frames ? Math.min(1, job.num_read / job.num_frames) : 0.5);
    await nap(300);
  }
};

const show = (key, name) => {
  progress.hidden = true; say(`${name} was read.`);
  const frame = document.createElement("iframe");
  frame.title = `What the net saw in ${name}`;
  frame.src = link.href = `/videos/${key}/page`;
  frame.addEventListener("load", () => {
    const body = frame.contentDocument.body;
    new ResizeObserver(() => { frame.style.height = `${body.offsetHeight}px`; }).observe(body);
  });
  get("frame").replaceChildren(frame); result.hidden = false;
};

file.addEventListener("change", () => { if (file.files.length) send(file.files[0]); file.value = ""; });
// The whole page takes a drop: a browser would leave it for a file that falls beside the box.
addEventListener("dragover", event => { event.preventDefault(); drop.classList.add("over"); });
addEventListener("dragleave", event => { if (!event.relatedTarget) drop.classList.remove("over"); });
addEventListener("drop", event => {
  event.preventDefault(); drop.classList.remove("over");
  if (event.dataTransfer.files.length) send(event.dataTransfer.files[0]);
});
