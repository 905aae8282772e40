// The playhead follows the video, and the video the playhead.
const get = id => document.getElementById(id);
const { labels, known, seconds, shares, total } = JSON.parse(get("thoughts").textContent);
const video = get("video"), head = get("head"), slider = get("playhead"), track = get("track");
const listed = get("legend").querySelectorAll(".share");
const announce = makeAnnouncer(get("announced"));
const percent = share => `${(100 * share).toFixed(0)} %`;
if (self !== top) document.documentElement.classList.add("framed");

const place = time => {  // the last moment at or before this time
  let low = 0, high = seconds.length - 1;
  while (low < high) { const mid = (low + high + 1) >> 1; if (seconds[mid] <= time + 1e-3) low = mid; else high = mid - 1; }
  return low;
};

const show = (time, moment) => {
  const x = 1000 * Math.min(1, time / total);
  head.setAttribute("x1", x); head.setAttribute("x2", x);
  let best = 0;
  shares.forEach((row, i) => { if (row[moment] > shares[best][moment]) best = i; });
  listed.forEach((item, i) => { item.textContent = percent(shares[i][moment]); });  // drawn ones come first
  const nearest = `${labels[best]}, ${percent(shares[best][moment])}`;
  const what = known[moment] ? nearest : `none of these (nearest: ${nearest})`;
  const text = `${seconds[moment].toFixed(1)} s: ${what}`;
  slider.setAttribute("aria-valuetext", text);
  slider.value = moment;
  get("now").textContent = text;
  // The slider tells its value by itself while it is moved.
  if (document.activeElement !== slider) announce(known[moment] ? labels[best] : "none of these", what);
};

const seek = time => {
  if (video) { video.pause(); video.currentTime = Math.min(time + 1e-3, total); }
  show(time, place(time));
};
slider.addEventListener("input", () => seek(seconds[+slider.value]));
const point = event => {
  const box = track.getBoundingClientRect();
  seek(total * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
};
track.addEventListener("pointerdown", point);
track.addEventListener("pointermove", event => { if (event.buttons) point(event); });
if (video) {
  const follow = () => {
    show(video.currentTime, place(video.currentTime));
    if (!video.paused && !video.ended) requestAnimationFrame(follow);
  };
  for (const name of ["play", "seeked", "timeupdate"]) video.addEventListener(name, follow);
}
show(0, 0);
